//! The bytes of every message of the queue service, and of its log entries and snapshots, as they
//! are for ever: a change of an existing line breaks running clusters; new lines go at the end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use dsync::api::*;
use dsync_core::lock::At;
use dsync_core::name::Name;
use dsync_core::queue::*;
use dsync_tests::variants;
use dsync_tests::wire::golden::{golden, hex};

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn id() -> JobId {
    JobId::parse("j").unwrap()
}

fn receipts() -> Vec<Receipt> {
    vec![Receipt { id: id(), token: 300 }]
}

fn job() -> NewJob {
    NewJob {
        id: id(),
        payload: vec![0, 255],
        priority: 9,
        delay_ms: 1,
        max_attempts: 5,
        backoff: Backoff { base_ms: 2, max_ms: 3 },
        ttl_ms: 4,
        headers: vec![("h".into(), "v".into())],
    }
}

fn limits() -> Limits {
    Limits {
        max_jobs: 1,
        overflow: Overflow::DropOldest,
        max_in_flight: 2,
        rate_per_s: 3,
        burst: 4,
        dedup_ms: 5,
    }
}

fn commands_all() -> Vec<Command> {
    let (max, lease_ms, error) = (7, 30_000, "e".to_owned());
    vec![
        Command::Push { jobs: vec![job()] },
        Command::Pop { request: u128::MAX, max, lease_ms, ack: true, consumer: name("c") },
        Command::Ack { receipts: receipts() },
        Command::Nack { receipts: receipts(), delay_ms: Some(1), error: error.clone() },
        Command::Reject { receipts: receipts(), error },
        Command::Release { receipts: receipts() },
        Command::Extend { receipts: receipts(), lease_ms },
        Command::Pause { reason: "r".into() },
        Command::Resume,
        Command::Purge,
        Command::Limit { limits: limits() },
        Command::Redrive { ids: vec![id()], max },
        Command::PurgeDead { ids: vec![id()], max },
        Command::GiveBack { request: 1 },
        Command::Delete,
    ]
}

#[test]
fn commands() {
    insta::assert_snapshot!(golden(
        &commands_all(),
        variants!(Command: Push Pop Ack Nack Reject Release Extend Pause Resume Purge Limit Redrive PurgeDead GiveBack Delete)
    ));
}

fn delivery() -> Delivery {
    Delivery {
        receipt: Receipt { id: id(), token: 300 },
        payload: vec![1],
        priority: 2,
        attempt: 3,
        max_attempts: 4,
        lease_ms: 5,
        age_ms: 6,
        headers: vec![("h".into(), "v".into())],
        last_error: Some("e".into()),
    }
}

#[test]
fn outcomes() {
    let popped = Popped { jobs: vec![delivery()], paused: Some("p".into()), next_ms: Some(9) };
    let pushed = vec![
        Pushed::Created,
        Pushed::Duplicate { state: State::Done },
        Pushed::Refused("full".into()),
    ];
    let samples = [
        Outcome::Pushed(pushed),
        Outcome::Popped(popped),
        Outcome::Settled(vec![Settled::Done, Settled::Dead, Settled::Stale]),
        Outcome::Set,
        Outcome::Moved(300),
        Outcome::Invalid("i".into()),
        Outcome::LimitReached("l".into()),
    ];
    insta::assert_snapshot!(golden(
        &samples,
        variants!(Outcome: Pushed Popped Settled Set Moved Invalid LimitReached)
    ));
}

#[test]
fn queries() {
    let queue = name("q");
    let samples = [
        Query::Queues { prefix: "p".into(), after: Some(name("a")), limit: 9 },
        Query::Stats { queue: queue.clone() },
        Query::Peek { queue: queue.clone(), state: State::Dead, skip: 1, limit: 2 },
        Query::Job { queue: queue.clone(), id: id() },
        Query::Audit { queue },
    ];
    insta::assert_snapshot!(golden(&samples, variants!(Query: Queues Stats Peek Job Audit)));
}

fn stats() -> Stats {
    Stats {
        queue: name("q"),
        ready: 1,
        delayed: 2,
        leased: 3,
        dead: 4,
        oldest_ms: Some(5),
        bytes: 6,
        paused: Some("p".into()),
        limits: limits(),
        totals: Totals {
            pushed: 1,
            duplicates: 2,
            refused: 3,
            delivered: 4,
            acked: 5,
            failed: 6,
            expired: 7,
            died: 8,
            redriven: 9,
            purged: 10,
        },
    }
}

fn view() -> JobView {
    JobView {
        id: id(),
        state: State::Leased,
        priority: 1,
        attempts: 2,
        max_attempts: 3,
        age_ms: 4,
        time_ms: 5,
        consumer: Some(name("c")),
        errors: vec!["e".into()],
        cause: Some("x".into()),
        headers: vec![("h".into(), "v".into())],
        payload: vec![7],
        payload_bytes: 8,
    }
}

#[test]
fn answers_to_queries() {
    let samples = [
        Seen::Queues { items: vec![stats()], more: true },
        Seen::Stats(Some(stats())),
        Seen::Jobs { items: vec![view()], more: false },
        Seen::Job(Some(view())),
        Seen::Audit(vec!["a".into()]),
    ];
    insta::assert_snapshot!(golden(&samples, variants!(Seen: Queues Stats Jobs Job Audit)));
}

#[test]
fn requests_and_replies() {
    let requests = [
        QueueRequest::Do {
            queue: name("q"),
            command: Command::Resume,
            wait_ms: 300,
            durability: Some(Durability::Replica),
        },
        QueueRequest::Read(Query::Stats { queue: name("q") }),
        QueueRequest::Ring { queue: Some(name("q")) },
    ];
    let member =
        RingMember { node: "n".into(), address: "a:1".into(), partitions: 256, live: true };
    let ring = Ring {
        store: "redis".into(),
        members: vec![member],
        partition: Some(251),
        owner: Some("n".into()),
    };
    let replies = [
        QueueReply::Outcome { outcome: Outcome::Set, durability: Durability::Quorum },
        QueueReply::Seen { seen: Seen::Stats(None), owner: Some("n".into()), store: "raft".into() },
        QueueReply::Ring(ring),
    ];
    let head = Head { request_id: 300, hops: 1, target: None };
    let request = NodeRequest::Queue { head, request: requests[2].clone() };
    let result = Ok(replies[0].clone());
    let answer = Answer { served_by: "n".into(), address: "a:1".into(), result };
    let services = [
        hex(&postcard::to_stdvec(&request).unwrap()),
        hex(&postcard::to_stdvec(&NodeResponse::Queue(answer)).unwrap()),
    ];
    insta::assert_snapshot!(
        [
            golden(&requests, variants!(QueueRequest: Do Read Ring)),
            golden(&replies, variants!(QueueReply: Outcome Seen Ring)),
            services.join("\n"),
        ]
        .concat()
    );
}

/// A snapshot is on disk as it is for ever: what one version wrote the next one reads.
#[test]
fn log_entries_and_snapshots() {
    let requests = commands_all()
        .into_iter()
        .filter(|command| !matches!(command, Command::Purge | Command::Pause { .. }))
        .map(|command| Request { queue: name("q"), command });
    let batch = Batch { requests: requests.collect() };
    let mut machine = QueueMachine::new();
    machine.apply(At { index: 1, term: 1, t_ms: 1_000 }, &batch);
    let again = Batch {
        requests: vec![Request {
            queue: name("q"),
            command: Command::Push { jobs: vec![NewJob { id: JobId::random(7), ..job() }] },
        }],
    };
    machine.apply(At { index: 2, term: 1, t_ms: 2_000 }, &again);
    let bytes = postcard::to_stdvec(&machine.snapshot_ref()).unwrap();
    let snapshot: Snapshot = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(QueueMachine::restore(snapshot).unwrap(), machine);
    let entry = hex(&postcard::to_stdvec(&batch).unwrap());
    insta::assert_snapshot!([entry, hex(&bytes)].join("\n"));
}
