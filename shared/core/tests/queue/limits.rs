//! Limits of a queue, and what is refused whatever the state is.

use crate::api::Code;
use crate::api::queue::{
    BATCH_MAX, Command, Limits, NewJob, Outcome, Overflow, PAYLOAD_MAX, Pushed, State, check,
};
use crate::support::bench::{Bench, job, name};

fn limit(bench: &mut Bench, limits: Limits) {
    assert_eq!(bench.run(Command::Limit { limits }), Outcome::Set);
}

#[test]
fn a_full_queue_refuses_and_says_so() {
    let mut bench = Bench::default();
    limit(&mut bench, Limits { max_jobs: 2, ..Limits::default() });
    let done = bench.push(vec![job("a"), job("b"), job("c"), job("a")]);
    let [Pushed::Created, Pushed::Created, Pushed::Refused(why), Pushed::Duplicate { .. }] =
        done.as_slice()
    else {
        panic!("{done:?}")
    };
    assert_eq!(why, "the queue is full: 2 jobs");
    let receipt = bench.pop(1).pop().unwrap().receipt;
    assert!(matches!(bench.push(vec![job("c")]).as_slice(), [Pushed::Refused(_)]), "leased counts");
    bench.ack(&receipt);
    assert_eq!(bench.push(vec![job("c")]), [Pushed::Created]);
}

#[test]
fn a_full_queue_that_drops_the_oldest_keeps_it_as_a_dead_letter() {
    let mut bench = Bench::default();
    limit(&mut bench, Limits { max_jobs: 2, overflow: Overflow::DropOldest, ..Limits::default() });
    let jobs = [("a", 5), ("b", 0), ("c", 0)];
    bench.push(
        jobs.iter().map(|(text, priority)| NewJob { priority: *priority, ..job(text) }).collect(),
    );
    assert_eq!(bench.counts(), [2, 0, 0, 1]);
    let dead = bench.peek(State::Dead).pop().unwrap();
    assert_eq!(dead.id.as_str(), "b");
    assert!(dead.cause.unwrap().starts_with("dropped"));
    bench.pop(2);
    assert!(matches!(bench.push(vec![job("d")]).as_slice(), [Pushed::Refused(_)]), "none is ready");
}

#[test]
fn no_more_are_in_flight_than_allowed() {
    let mut bench = Bench::default();
    limit(&mut bench, Limits { max_in_flight: 2, ..Limits::default() });
    bench.push_all(&["a", "b", "c"]);
    let taken = bench.pop(3);
    assert_eq!((taken.len(), bench.pop(1).len()), (2, 0));
    bench.ack(&taken.first().unwrap().receipt);
    assert_eq!(bench.pop_ids(3), ["c"]);
}

#[test]
fn deliveries_keep_to_the_rate_and_its_burst() {
    let mut bench = Bench::default();
    bench.now = 1_000_000;
    limit(&mut bench, Limits { rate_per_s: 10, burst: 3, ..Limits::default() });
    let ids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    bench.push(ids.iter().map(|text| job(text)).collect());
    assert_eq!(bench.pop(20).len(), 3, "a burst after a pause");
    let popped = bench.pop_request(99, 20, 1_000);
    assert_eq!((popped.jobs.len(), popped.next_ms), (0, Some(100)));
    bench.now += 99;
    assert_eq!(bench.pop(20).len(), 0);
    bench.now += 1;
    assert_eq!(bench.pop(20).len(), 1);
    let mut given = 0;
    for _ in 0..100 {
        bench.now += 10;
        given += bench.pop(20).len();
    }
    assert_eq!(given, 10, "in one second");
}

#[test]
fn another_window_for_ids() {
    let mut bench = Bench::default();
    limit(&mut bench, Limits { dedup_ms: 0, ..Limits::default() });
    bench.push_all(&["a"]);
    let receipt = bench.pop(1).pop().unwrap().receipt;
    bench.ack(&receipt);
    assert_eq!(bench.push(vec![job("a")]), [Pushed::Created]);
}

#[test]
fn what_breaks_a_rule_is_refused_by_name() {
    let pop =
        |max, lease_ms| Command::Pop { request: 1, max, lease_ms, ack: false, consumer: name("w") };
    let push = |job| Command::Push { jobs: vec![job] };
    let cases = [
        (push(NewJob { priority: 10, ..job("a") }), "priority 10"),
        (push(NewJob { payload: vec![0; PAYLOAD_MAX + 1], ..job("a") }), "524289"),
        (push(NewJob { delay_ms: u64::MAX, ..job("a") }), "the delay is"),
        (push(NewJob { headers: vec![(String::new(), String::new())], ..job("a") }), "header name"),
        (push(NewJob { headers: vec![("x".into(), "y".repeat(9_000))], ..job("a") }), "9001"),
        (Command::Push { jobs: vec![job("a"); BATCH_MAX + 1] }, "1001"),
        (pop(0, 1_000), "a pop of 0 jobs"),
        (pop(1, 99), "a lease of 99 ms"),
        (pop(1, u64::MAX), "a lease of"),
    ];
    for (command, word) in cases {
        let fault = check(&command).unwrap_err();
        assert!(fault.message.contains(word), "{}", fault.message);
        assert!(matches!(fault.code, Code::InvalidArgument | Code::LimitReached));
        let mut bench = Bench::default();
        assert_eq!(
            bench.run(command),
            Outcome::Invalid(fault.message),
            "the machine is safe without"
        );
    }
    let largest = NewJob { payload: vec![7; PAYLOAD_MAX], ..job("a") };
    assert_eq!(check(&push(largest)), Ok(()));
}
