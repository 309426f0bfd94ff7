//! What becomes of jobs that fail for good.

use crate::api::queue::{Command, NewJob, Outcome, Receipt, Settled, State};
use crate::support::bench::{Bench, id, job};

fn poison(bench: &mut Bench, text: &str) {
    bench.push(vec![NewJob { max_attempts: 1, ..job(text) }]);
    let receipt = bench.pop(1).pop().unwrap().receipt;
    assert_eq!(bench.nack(&receipt, None), Settled::Dead);
}

#[test]
fn after_its_last_attempt_a_job_is_dead_with_cause_and_history() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let mut last = None;
    for attempt in 1..=3 {
        let receipt = bench.pop(1).pop().unwrap().receipt;
        let settled = bench.nack(&receipt, Some(0));
        assert_eq!(settled, if attempt < 3 { Settled::Done } else { Settled::Dead });
        last = Some(receipt);
    }
    assert_eq!(bench.pop_ids(1), [""; 0]);
    let dead = bench.peek(State::Dead).pop().unwrap();
    assert_eq!(dead.cause.as_deref(), Some("failed 3 times"));
    assert_eq!(dead.errors, ["it failed"; 3]);
    assert_eq!((dead.attempts, dead.payload.as_slice()), (3, b"a".as_slice()));
    assert_eq!(bench.nack(&last.unwrap(), Some(0)), Settled::Dead, "as before");
    assert_eq!(bench.stats().totals.died, 1, "exactly once");
}

#[test]
fn an_expired_lease_counts_as_a_failure() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    for _ in 0..3 {
        assert_eq!(bench.pop_ids(1), ["a"]);
        bench.now += 10_000;
    }
    assert_eq!(bench.pop_ids(1), [""; 0]);
    assert_eq!(bench.counts(), [0, 0, 0, 1]);
    assert_eq!(bench.stats().totals.expired, 3);
}

#[test]
fn a_job_without_a_limit_never_dies_of_failures() {
    let mut bench = Bench::default();
    bench.push(vec![NewJob { max_attempts: 0, ..job("a") }]);
    for _ in 0..50 {
        let receipt = bench.pop(1).pop().unwrap().receipt;
        assert_eq!(bench.nack(&receipt, Some(0)), Settled::Done);
    }
    assert_eq!(bench.pop(1).pop().unwrap().attempt, 51);
}

#[test]
fn a_rejected_job_dies_at_once() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let receipt = bench.pop(1).pop().unwrap().receipt;
    let reject = Command::Reject { receipts: vec![receipt], error: "no such user".to_owned() };
    assert_eq!(bench.settle(reject.clone()), Settled::Dead);
    assert_eq!(bench.settle(reject), Settled::Dead);
    let dead = bench.peek(State::Dead).pop().unwrap();
    assert_eq!(
        (dead.cause.as_deref(), dead.errors),
        (Some("rejected"), vec!["no such user".to_owned()])
    );
}

#[test]
fn a_job_whose_time_is_over_dies_instead_of_being_delivered() {
    let mut bench = Bench::default();
    bench.push(vec![NewJob { ttl_ms: 1_000, ..job("a") }, NewJob { ttl_ms: 1_000, ..job("b") }]);
    let a = bench.pop(1).pop().unwrap().receipt;
    bench.now = 1_000;
    assert_eq!(bench.pop_ids(1), [""; 0]);
    assert_eq!(bench.counts(), [0, 0, 1, 1], "a delivery that began may end well");
    assert_eq!(bench.nack(&a, None), Settled::Dead, "but is not tried again");
    assert!(
        bench.peek(State::Dead).iter().all(|job| job
            .cause
            .as_deref()
            .unwrap()
            .starts_with("expired"))
    );
}

#[test]
fn redriven_letters_begin_anew_at_the_tail() {
    let mut bench = Bench::default();
    for text in ["a", "b", "c"] {
        poison(&mut bench, text);
        bench.now += 1;
    }
    bench.push_all(&["new"]);
    let redrive =
        |ids: &[&str], max| Command::Redrive { ids: ids.iter().map(|t| id(t)).collect(), max };
    assert_eq!(bench.run(redrive(&["c", "nothing", "new"], 10)), Outcome::Moved(1));
    assert_eq!(bench.run(redrive(&[], 1)), Outcome::Moved(1));
    assert_eq!(bench.counts(), [3, 0, 0, 1]);
    let taken = bench.pop(3);
    let ids: Vec<_> = taken.iter().map(|job| job.receipt.id.as_str()).collect();
    assert_eq!(ids, ["new", "c", "a"]);
    assert!(taken.iter().all(|job| job.attempt == 1 && job.last_error.is_none()));
    let purge = Command::PurgeDead { ids: Vec::new(), max: 10 };
    assert_eq!(bench.run(purge), Outcome::Moved(1));
    assert_eq!(bench.audit(), [""; 0]);
}

#[test]
fn a_receipt_of_a_former_life_is_stale_after_a_redrive() {
    let mut bench = Bench::default();
    poison(&mut bench, "a");
    bench.run(Command::Redrive { ids: Vec::new(), max: 10 });
    assert_eq!(bench.nack(&Receipt { id: id("a"), token: 1 }, None), Settled::Stale);
}
