//! How fast the machine is, printed and not judged: in a release build with
//! `cargo test --release -p dsync-core --test lock speed -- --nocapture`. The counts of what is
//! left at the end are judged.
#![expect(clippy::print_stderr, reason = "the figure is the point")]
#![expect(clippy::disallowed_methods, reason = "a test may look at the clock")]

use std::time::Instant;

use crate::api::lock::{
    At, Batch, Command, LockMachine, Mode, Outcome, Policy, Request, RequestKey, SessionId, Want,
};
use crate::support::history::name;

/// A debug build does a twentieth of it.
const SCALE: u64 = if cfg!(debug_assertions) { 1 } else { 20 };

#[derive(Debug, Default)]
struct Node {
    machine: LockMachine,
    index: u64,
    seqs: Vec<(SessionId, u64)>,
    batch: Batch,
}

impl Node {
    fn with_sessions(number: u128) -> Self {
        let mut node = Self::default();
        for nonce in 0..number {
            let (owner, meta) = (name("bench"), String::new());
            let command = Command::OpenSession { ttl_ms: 15_000, owner, meta, ephemeral: false };
            node.push(RequestKey::Detached(nonce), 0, command);
        }
        for outcome in node.flush() {
            let Outcome::SessionOpened { session, .. } = outcome else { panic!("{outcome:?}") };
            node.seqs.push((session, 0));
        }
        node
    }

    fn push(&mut self, key: RequestKey, first_outstanding: u64, command: Command) {
        self.batch.requests.push(Request { key, first_outstanding, command });
    }

    fn ask(&mut self, who: usize, command: Command) {
        let (session, seq) = &mut self.seqs[who];
        *seq += 1;
        let (session, seq) = (*session, *seq);
        self.push(RequestKey::Session { session, seq }, seq, command);
    }

    fn flush(&mut self) -> Vec<Outcome> {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: self.index };
        let applied = self.machine.apply(at, &self.batch);
        self.batch.requests.clear();
        self.batch.keep_alives.clear();
        applied.outcomes
    }

    fn bytes(&self) -> usize {
        postcard::to_stdvec(&self.machine.snapshot_ref()).unwrap().len()
    }
}

fn acquire(lock: &str, wait_ms: u64) -> Command {
    Command::Acquire {
        wants: vec![Want { lock: name(lock), mode: Mode::Exclusive }],
        owner: name("bench"),
        wait_ms,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

fn release(lock: &str) -> Command {
    Command::Release { lock: name(lock), token: None, owner: Some(name("bench")), all: false }
}

fn report(what: &str, number: u64, since: Instant) {
    let per_second = u128::from(number) * 1_000_000 / since.elapsed().as_micros().max(1);
    eprintln!("{what}: {number} in {:?}, {per_second}/s", since.elapsed());
}

#[test]
fn speed_of_a_million_acquires_and_releases_that_leave_nothing() {
    let mut node = Node::with_sessions(64);
    let rounds = 50_000 * SCALE / 64;
    let mut first = 0;
    let since = Instant::now();
    for round in 0..rounds {
        for who in 0..64 {
            node.ask(who, acquire(&format!("lock-{round}-{who}"), 0));
        }
        assert!(node.flush().iter().all(|o| matches!(o, Outcome::Granted(_))));
        for who in 0..64 {
            node.ask(who, release(&format!("lock-{round}-{who}")));
        }
        assert!(node.flush().iter().all(|o| matches!(o, Outcome::Released { .. })));
        node.batch.keep_alives.extend(node.seqs.iter().map(|(session, _)| *session));
        if round == 10 {
            first = node.bytes();
        }
    }
    report("acquire and release, batches of 64", rounds * 128, since);
    let counts = node.machine.counts();
    assert_eq!((counts.locks, counts.grants, counts.tickets), (0, 0, 0));
    // Sixty-four times a few counters that need more digits.
    assert!(node.bytes() <= first + 64 * 24, "{} bytes, {first} at first", node.bytes());
}

#[test]
fn speed_of_one_lock_through_many_waiters() {
    let mut node = Node::with_sessions(1_000);
    let since = Instant::now();
    for who in 0..1_000 {
        node.ask(who, acquire("one", 60_000));
        node.flush();
    }
    report("waiters queued at one lock", 1_000, since);
    let since = Instant::now();
    for who in 0..1_000 {
        node.ask(who, release("one"));
        assert!(matches!(node.flush().as_slice(), [Outcome::Released { .. }]));
    }
    report("hand-overs of one lock", 1_000, since);
    assert_eq!(node.machine.counts().locks, 0);
}

#[test]
fn speed_of_keep_alives() {
    let mut node = Node::with_sessions(10_000);
    let since = Instant::now();
    for _ in 0..2 * SCALE {
        node.batch.keep_alives.extend(node.seqs.iter().map(|(session, _)| *session));
        node.flush();
    }
    report("keep-alives of 10 000 sessions", 20_000 * SCALE, since);
    assert_eq!(node.machine.counts().sessions, 10_000);
}

/// Each waiter holds a lock that the next one wants: a search that has to go all the way.
#[test]
fn speed_of_a_long_chain_of_waiters() {
    let mut node = Node::with_sessions(1_000);
    for who in 0..1_000 {
        node.ask(who, acquire(&format!("own-{who}"), 0));
    }
    node.flush();
    let since = Instant::now();
    for who in (1..1_000).rev() {
        node.ask(who, acquire(&format!("own-{}", who - 1), 60_000));
    }
    assert!(node.flush().iter().all(|o| matches!(o, Outcome::Queued { .. })));
    report("links of a chain of waiters", 999, since);
    let since = Instant::now();
    node.ask(0, acquire("own-999", 60_000));
    assert!(matches!(node.flush().as_slice(), [Outcome::Deadlock(_)]));
    report("cycle of 1 000 found", 1, since);
}
