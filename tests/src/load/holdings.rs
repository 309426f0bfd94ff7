//! Many locks held and waited for, and a picture of them that can be compared.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::{
    Command, LockView, Mode, Outcome, Policy, Request, RequestKey, SessionId, Want,
};
use dsync_core::name::Name;
use futures::StreamExt;

/// Requests under way at once.
const AT_ONCE: usize = 64;

/// One lock without its times: name, holders as (owner, session, token), waiters in order.
pub type Picture = (String, Vec<(String, u64, u64)>, Vec<(String, u64)>);

/// One call with a generous time limit; any failure ends the test.
pub async fn call(client: &Client, request: LockRequest) -> LockReply {
    let options = CallOptions { timeout: Duration::from_secs(60), ..CallOptions::default() };
    let answer = client.lock(request.clone(), options).await;
    answer.and_then(|a| a.result).unwrap_or_else(|fault| panic!("{request:?}: {fault:?}"))
}

/// A name.
pub fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a test's own name")
}

/// Opens a session that needs no keep-alive for the length of a test.
pub async fn open(client: &Client, owner: &str, ttl_ms: u64) -> SessionId {
    let command =
        Command::OpenSession { ttl_ms, owner: name(owner), meta: String::new(), ephemeral: false };
    let key = RequestKey::Detached(rand::random());
    let request = LockRequest::Do(Request { key, first_outstanding: 0, command });
    match call(client, request).await {
        LockReply::Outcome(Outcome::SessionOpened { session, .. }) => session,
        other => panic!("opening a session was answered by {other:?}"),
    }
}

/// The request number `seq` of a session.
pub fn request(session: SessionId, seq: u64, command: Command) -> LockRequest {
    let key = RequestKey::Session { session, seq };
    LockRequest::Do(Request { key, first_outstanding: 1, command })
}

/// An exclusive acquire under its own owner label.
pub fn acquire(lock: &str, owner: &str, wait_ms: u64) -> Command {
    Command::Acquire {
        wants: vec![Want { lock: name(lock), mode: Mode::Exclusive }],
        owner: name(owner),
        wait_ms,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

/// Takes `count` locks `prefix-0…`, each by an owner of its own, all in one session.
pub async fn hold(client: &Client, session: SessionId, prefix: &str, count: u64) {
    let calls = (0..count).map(|i| async move {
        let lock = format!("{prefix}-{i}");
        let command = acquire(&lock, &format!("holder-{i}"), 0);
        let reply = call(client, request(session, i + 1, command)).await;
        assert!(matches!(reply, LockReply::Outcome(Outcome::Granted(_))), "{lock}: {reply:?}");
    });
    futures::stream::iter(calls).buffer_unordered(AT_ONCE).collect::<()>().await;
}

/// Queues `count` owners on one lock; they wait for at most an hour. Gives their request keys in
/// the order of the queue.
pub async fn queue(client: &Client, session: SessionId, lock: &str, count: u64) -> Vec<RequestKey> {
    for i in 0..count {
        let command = acquire(lock, &format!("waiter-{i}"), 3_600_000);
        let reply = call(client, request(session, i + 1, command)).await;
        assert!(matches!(reply, LockReply::Outcome(Outcome::Queued { .. })), "{lock}: {reply:?}");
    }
    (1..=count).map(|seq| RequestKey::Session { session, seq }).collect()
}

/// Every lock, in order of name.
pub async fn list(client: &Client) -> Vec<LockView> {
    let mut all: Vec<LockView> = Vec::new();
    loop {
        let after = all.last().map(|view| view.name.clone());
        let request =
            LockRequest::List { prefix: String::new(), waiting: false, after, limit: 1_000 };
        let LockReply::Locks { items, more } = call(client, request).await else {
            panic!("a listing was answered by something else");
        };
        all.extend(items);
        if !more {
            return all;
        }
    }
}

/// Who holds and who waits, without the times, which pass.
pub async fn picture(client: &Client) -> Vec<Picture> {
    list(client)
        .await
        .into_iter()
        .map(|view| {
            let holders = view
                .holders
                .iter()
                .map(|h| (h.owner.to_string(), h.session.0, h.token.0))
                .collect();
            let waiters = view.waiters.iter().map(|w| (w.owner.to_string(), w.session.0)).collect();
            (view.name.to_string(), holders, waiters)
        })
        .collect()
}
