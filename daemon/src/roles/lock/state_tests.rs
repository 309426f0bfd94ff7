//! Tests of what a node tells those who watch.

use std::time::Duration;

use dsync::api::{Head, LockReply, LockRequest};
use dsync_core::lock::{
    At, Batch, Command, Event, Holding, Mode, Outcome, Policy, Request, RequestKey, SessionId,
    Token, Want,
};
use dsync_core::name::Name;

use super::LockState;
use crate::dev::{lock_node, start_node};
use crate::raft::Machine as _;
use crate::telemetry::{Metrics, Recent};

const LONG: Duration = Duration::from_secs(60);

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn open() -> Request {
    let command = Command::OpenSession {
        ttl_ms: 3_600_000,
        owner: name("o"),
        meta: String::new(),
        ephemeral: false,
    };
    Request { key: RequestKey::Detached(1), first_outstanding: 0, command }
}

fn of(session: SessionId, seq: u64, command: Command) -> Request {
    Request { key: RequestKey::Session { session, seq }, first_outstanding: seq, command }
}

fn acquire(lock: &str, mode: Mode) -> Command {
    Command::Acquire {
        wants: vec![Want { lock: name(lock), mode }],
        owner: name("o"),
        wait_ms: 0,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

/// A state and the index of its last entry.
struct Log {
    state: LockState,
    index: u64,
    session: SessionId,
}

impl Log {
    fn new() -> Self {
        let state = LockState::new(Metrics::new());
        let mut log = Self { state, index: 0, session: SessionId(0) };
        let Outcome::SessionOpened { session, .. } = log.apply(vec![open()]).remove(0) else {
            panic!("no session");
        };
        log.session = session;
        log
    }

    fn apply(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: 1 };
        self.state.apply(at, Batch { requests, ..Batch::default() }).outcomes
    }

    /// One entry with so many grants.
    fn grant(&mut self, from: u64, count: u64, prefix: &str) {
        let session = self.session;
        let one = |seq| of(session, seq, acquire(&format!("{prefix}{seq}"), Mode::Exclusive));
        let outcomes = self.apply((from..from + count).map(one).collect());
        assert!(outcomes.iter().all(|o| matches!(o, Outcome::Granted(_))));
    }

    /// All events from there on in pages of ten, and the gaps told on the way.
    fn read(&self, mut from: u64) -> (Vec<Event>, usize) {
        let (mut all, mut gaps) = (Vec::new(), 0);
        while from <= self.index {
            let (items, next, gap) = self.state.events(from, 10);
            assert!(next > from, "no way on from {from}");
            all.extend(items);
            gaps += usize::from(gap);
            from = next;
        }
        (all, gaps)
    }
}

#[test]
fn an_entry_with_more_events_than_a_page_tells_of_the_gap() {
    let mut log = Log::new();
    log.grant(1, 5, "a");
    log.grant(11, 11, "b");
    log.grant(31, 5, "c");
    let (items, next, gap) = log.state.events(2, 10);
    assert_eq!((items.len(), next, gap), (5, 3, false), "the entry that fits comes alone");
    let (items, next, gap) = log.state.events(3, 10);
    assert_eq!((items.len(), next, gap), (10, 4, true), "the eleventh is missing");
    let (items, next, gap) = log.state.events(4, 10);
    assert_eq!((items.len(), next, gap), (5, 5, false));
}

#[test]
fn entries_that_fit_lose_nothing() {
    let mut log = Log::new();
    for (n, count) in (0..).zip([10, 1, 9, 10, 3, 3, 3, 3, 10]) {
        log.grant(1 + 100 * n, count, "l");
    }
    let (items, gaps) = log.read(1);
    assert_eq!((items.len(), gaps), (52, 0));
    assert!(items.is_sorted_by_key(|event| event.index));
}

#[test]
fn a_page_of_events_ends_by_size_too() {
    let mut log = Log::new();
    let long = "x".repeat(240);
    for n in 0..30 {
        log.grant(1 + 100 * n, 100, &long);
    }
    let (items, next, gap) = log.state.events(1, 1_000_000);
    let size = postcard::to_stdvec(&items).unwrap().len();
    assert!(size < 600 * 1024 && items.len() > 1_000 && next < 30 && !gap, "{size}");
    log.grant(10_001, 1_000, &long);
    log.grant(20_001, 1_000, &long);
    let requests = vec![of(log.session, 30_000, Command::CloseSession)];
    log.apply(requests);
    let (items, next, gap) = log.state.events(log.index, 1_000_000);
    assert!(gap && next == log.index + 1 && !items.is_empty());
}

#[test]
fn an_upgrade_wakes_who_watches_the_token_before() {
    let mut log = Log::new();
    let session = log.session;
    log.apply(vec![of(session, 1, acquire("x", Mode::Shared))]);
    let lock = name("x");
    let (holding, mut change) = log.state.holding(&lock, Token(1), 0);
    assert_eq!(holding, Holding::Held);
    assert!(
        change.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Empty)
    );
    let (to, wait_ms) = (Mode::Exclusive, 0);
    let convert = Command::Convert { lock: lock.clone(), token: Token(1), to, wait_ms };
    let outcome = log.apply(vec![of(session, 2, convert)]).remove(0);
    let Outcome::Converted(grant) = outcome else { panic!("{outcome:?}") };
    let woken =
        change.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Closed);
    assert!(woken && grant.token > Token(1));
    assert_eq!(log.state.holding(&lock, Token(1), 0).0, Holding::Gone);
    let (holding, mut change) = log.state.holding(&lock, grant.token, 0);
    assert_eq!(holding, Holding::Held);
    log.apply(vec![of(session, 3, acquire("x", Mode::Exclusive))]);
    assert!(
        change.try_recv().is_err_and(|e| e == tokio::sync::oneshot::error::TryRecvError::Empty)
    );
}

#[tokio::test]
async fn a_dropped_poll_leaves_no_watcher() {
    let folder = tempfile::TempDir::new().unwrap();
    let port = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let recent = Recent::default();
    let node = start_node(lock_node(0, &[port], folder.path()), &recent).await.unwrap();
    let role = node.service().parts().role.lock().unwrap().clone();
    let ask = async |request| role.call(&Head::default(), request, LONG).await.result.unwrap();
    let opened = ask(LockRequest::Do(open())).await;
    let LockReply::Outcome(Outcome::SessionOpened { session, .. }) = opened else {
        panic!("{opened:?}");
    };
    let granted = ask(LockRequest::Do(of(session, 1, acquire("x", Mode::Exclusive)))).await;
    let LockReply::Outcome(Outcome::Granted(grants)) = granted else { panic!("{granted:?}") };
    let token = grants.first().unwrap().token;
    let known = Holding::Held;
    let watch = LockRequest::Holding { lock: name("x"), token, known, wait_ms: 5_000 };
    let watched = || role.engine().peek(|state| state.is_watched());
    let begun = async {
        while !watched() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        told = ask(watch) => panic!("nothing happened, yet it told {told:?}"),
        () = begun => {}
    }
    assert!(!watched(), "the poll is gone, its watcher is not");
    node.stop().await;
}
