//! One rule a test.

use crate::api::queue::{Backoff, Command, NewJob, Pushed, Receipt, Settled, State, backoff_ms};
use crate::support::bench::{Bench, id, job, name};

#[test]
fn higher_priorities_go_first_and_equals_in_the_order_of_their_push() {
    let mut bench = Bench::default();
    let jobs = [("a", 0), ("b", 9), ("c", 0), ("d", 5), ("e", 9)];
    bench.push(
        jobs.iter().map(|(text, priority)| NewJob { priority: *priority, ..job(text) }).collect(),
    );
    assert_eq!(bench.pop_ids(3), ["b", "e", "d"]);
    assert_eq!(bench.pop_ids(9), ["a", "c"]);
    assert_eq!(bench.pop_ids(9), [""; 0]);
}

#[test]
fn an_id_is_one_job_until_the_window_after_its_acknowledgement_ends() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let twice = |bench: &mut Bench| bench.push(vec![job("a")]).pop().unwrap();
    let duplicate = |state| Pushed::Duplicate { state };
    assert_eq!(twice(&mut bench), duplicate(State::Ready));
    let taken = bench.pop(1).pop().unwrap();
    assert_eq!(twice(&mut bench), duplicate(State::Leased));
    assert_eq!(bench.ack(&taken.receipt), Settled::Done);
    assert_eq!(twice(&mut bench), duplicate(State::Done));
    bench.now += 119_999;
    assert_eq!(twice(&mut bench), duplicate(State::Done));
    bench.now += 1;
    assert_eq!(twice(&mut bench), Pushed::Created);
    assert_eq!(bench.stats().totals.duplicates, 4);
}

#[test]
fn a_repeated_pop_gives_the_same_deliveries_while_their_leases_last() {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b", "c"]);
    let first = bench.pop_request(7, 2, 1_000).jobs;
    bench.now += 400;
    let mut again = bench.pop_request(7, 2, 1_000).jobs;
    assert!(again.iter().all(|job| job.lease_ms == 600), "what is left, not a new lease");
    for job in &mut again {
        job.lease_ms = 1_000;
        job.age_ms = 0;
    }
    assert_eq!(first, again);
    bench.ack(&first.first().unwrap().receipt);
    assert_eq!(bench.pop_request(7, 2, 1_000).jobs.len(), 1, "what is done is not given again");
    bench.now += 600;
    let after = bench.pop_request(7, 2, 1_000).jobs;
    let ids: Vec<_> = after.iter().map(|job| job.receipt.id.as_str()).collect();
    assert_eq!(ids, ["b", "c"], "its leases are over: it is a new pop");
}

#[test]
fn an_empty_answer_is_not_remembered() {
    let mut bench = Bench::default();
    assert_eq!(bench.pop_request(1, 1, 1_000).jobs, []);
    bench.push_all(&["a"]);
    assert_eq!(bench.pop_request(1, 1, 1_000).jobs.len(), 1);
}

#[test]
fn a_lost_lease_makes_its_receipt_stale_for_every_command() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let old = bench.pop(1).pop().unwrap().receipt;
    bench.now += 10_000;
    let new = bench.pop(1).pop().unwrap();
    assert_eq!((new.attempt, new.last_error.as_deref()), (2, Some("the lease of worker ran out")));
    let receipts = || vec![old.clone()];
    let error = String::new;
    for command in [
        Command::Ack { receipts: receipts() },
        Command::Nack { receipts: receipts(), delay_ms: None, error: error() },
        Command::Reject { receipts: receipts(), error: error() },
        Command::Release { receipts: receipts() },
        Command::Extend { receipts: receipts(), lease_ms: 1_000 },
    ] {
        assert_eq!(bench.settle(command), Settled::Stale);
    }
    assert_eq!(bench.ack(&new.receipt), Settled::Done);
}

#[test]
fn a_repeated_command_on_a_receipt_answers_as_before() {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b", "c"]);
    let taken = bench.pop(3);
    let [a, b, c] = [0, 1, 2].map(|at: usize| taken.get(at).unwrap().receipt.clone());
    for _ in 0..2 {
        assert_eq!(bench.ack(&a), Settled::Done);
        assert_eq!(bench.nack(&b, None), Settled::Done);
        assert_eq!(bench.settle(Command::Release { receipts: vec![c.clone()] }), Settled::Done);
    }
    assert_eq!(bench.counts(), [1, 1, 0, 0]);
    assert_eq!(bench.stats().totals.failed, 1);
    assert_eq!(bench.ack(&b), Settled::Stale, "something else was done with it");
    let unknown = Receipt { id: id("x"), token: 1 };
    assert_eq!(bench.ack(&unknown), Settled::Stale);
}

#[test]
fn an_expired_lease_brings_the_job_to_the_head_of_its_priority() {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b"]);
    bench.pop(1);
    bench.push_all(&["c"]);
    bench.now += 9_999;
    assert_eq!(bench.machine.next_deadline(), Some(10_000));
    bench.tick();
    assert_eq!(bench.counts(), [2, 0, 1, 0], "not early");
    bench.now += 1;
    bench.tick();
    assert_eq!(bench.pop_ids(3), ["a", "b", "c"]);
}

#[test]
fn an_extended_lease_runs_anew_from_the_extension() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let receipt = bench.pop(1).pop().unwrap().receipt;
    bench.now += 9_000;
    let extend = Command::Extend { receipts: vec![receipt.clone()], lease_ms: 5_000 };
    assert_eq!(bench.settle(extend), Settled::Done);
    bench.now += 4_999;
    bench.tick();
    assert_eq!(bench.counts(), [0, 0, 1, 0]);
    assert_eq!(bench.ack(&receipt), Settled::Done);
}

#[test]
fn a_failed_job_pauses_longer_each_time_and_comes_back_at_the_head() {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b"]);
    for attempt in 1..=2 {
        let receipt = bench.pop(1).pop().unwrap().receipt;
        assert_eq!(receipt.id, id("a"));
        assert_eq!(bench.nack(&receipt, None), Settled::Done);
        let pause = backoff_ms(job("a").backoff, &id("a"), attempt);
        let plain = 1_000 << (attempt - 1);
        assert!((plain * 3 / 4..=plain * 5 / 4).contains(&pause), "{pause} after {attempt}");
        bench.now += pause - 1;
        bench.tick();
        assert_eq!(bench.counts(), [1, 1, 0, 0], "not early");
        bench.now += 1;
    }
    assert_eq!(bench.pop_ids(1), ["a"]);
}

#[test]
fn a_backoff_has_its_limit_and_differs_between_jobs() {
    let backoff = Backoff { base_ms: 1_000, max_ms: 60_000 };
    let pauses: Vec<u64> = (1..=40).map(|n| backoff_ms(backoff, &id("a"), n)).collect();
    assert!(pauses.iter().all(|ms| *ms <= 75_000), "{pauses:?}");
    let others: std::collections::BTreeSet<u64> =
        (0..50).map(|n| backoff_ms(backoff, &id(&format!("job-{n}")), 1)).collect();
    assert!(others.len() > 25, "{others:?}");
    assert_eq!(backoff_ms(Backoff { base_ms: 0, max_ms: 9 }, &id("a"), 3), 0);
}

#[test]
fn a_delayed_job_is_never_early() {
    let mut bench = Bench::default();
    bench.push(vec![NewJob { delay_ms: 500, ..job("late") }, job("now")]);
    assert_eq!(bench.pop_ids(2), ["now"]);
    let popped = bench.pop_request(99, 1, 1_000);
    assert_eq!(popped.next_ms, Some(500));
    bench.now = 499;
    assert_eq!(bench.pop_ids(1), [""; 0]);
    bench.now = 500;
    assert_eq!(bench.pop_ids(1), ["late"]);
}

#[test]
fn a_released_job_is_not_counted_and_comes_back_first() {
    let mut bench = Bench::default();
    bench.push_all(&["a", "b"]);
    for _ in 0..10 {
        let taken = bench.pop(1).pop().unwrap();
        assert_eq!((taken.receipt.id.as_str(), taken.attempt), ("a", 1));
        bench.settle(Command::Release { receipts: vec![taken.receipt] });
    }
}

#[test]
fn jobs_that_come_back_together_keep_their_order() {
    let names = ["a", "b", "c"];
    let mut bench = Bench::default();
    bench.push(["a", "b", "c", "d"].map(|id| NewJob { max_attempts: 0, ..job(id) }).to_vec());
    let receipts = |bench: &mut Bench| bench.pop(3).into_iter().map(|job| job.receipt).collect();
    let taken = receipts(&mut bench);
    bench.settle(Command::Release { receipts: taken });
    let taken = receipts(&mut bench);
    let error = String::new();
    bench.settle(Command::Nack { receipts: taken, delay_ms: Some(0), error: error.clone() });
    let taken = receipts(&mut bench);
    bench.settle(Command::Nack { receipts: taken, delay_ms: Some(70), error });
    bench.now += 70;
    assert_eq!(bench.pop_ids(3), names);
    bench.now += 60_000;
    assert_eq!(bench.pop_ids(4), ["a", "b", "c", "d"]);
}

#[test]
fn a_pop_that_acknowledges_at_once_leaves_no_lease() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    let pop = Command::Pop { request: 1, max: 5, lease_ms: 1_000, ack: true, consumer: name("w") };
    bench.run(pop);
    assert_eq!(bench.counts(), [0, 0, 0, 0]);
    assert_eq!(bench.push(vec![job("a")]), [Pushed::Duplicate { state: State::Done }]);
}

#[test]
fn a_paused_queue_takes_jobs_and_gives_none() {
    let mut bench = Bench::default();
    bench.push_all(&["a"]);
    bench.run(Command::Pause { reason: "deploy".to_owned() });
    bench.push_all(&["b"]);
    let popped = bench.pop_request(1, 1, 1_000);
    assert_eq!((popped.jobs.len(), popped.paused.as_deref()), (0, Some("deploy")));
    assert_eq!(bench.stats().paused.as_deref(), Some("deploy"));
    bench.run(Command::Resume);
    assert_eq!(bench.pop_ids(2), ["a", "b"]);
}

#[test]
fn a_purge_takes_all_but_the_dead_and_makes_receipts_stale() {
    let mut bench = Bench::default();
    bench.push_all(&["dead", "leased", "ready"]);
    let dead = bench.pop(1).pop().unwrap().receipt;
    bench.settle(Command::Reject { receipts: vec![dead], error: String::new() });
    let leased = bench.pop(1).pop().unwrap().receipt;
    bench.push(vec![NewJob { delay_ms: 1_000, ..job("delayed") }]);
    bench.run(Command::Purge);
    assert_eq!(bench.counts(), [0, 0, 0, 1]);
    assert_eq!(bench.ack(&leased), Settled::Stale);
    bench.push_all(&["leased"]);
    assert_eq!(bench.audit(), [""; 0]);
}
