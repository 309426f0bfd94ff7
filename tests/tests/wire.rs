//! The nine traps of the wire, each shown closed over real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Head, LockReply, LockRequest, NodeRequest, NodeResponse,
};
use dsync::peer::{Destination, RaftCall, RaftReply, Vote};
use dsync::preamble::Plane;
use dsync::{CallError, NodeConnection, PeerConnection};
use dsync_core::lock::RequestKey;
use dsync_core::node::ClusterId;
use dsync_core::{Code, Effect};
use dsync_tests::wire::{Raw, TestServer, frame, hail, name, net, request_frame};

/// Far longer than anything here takes: a test that needs it has failed.
const LONG: Duration = Duration::from_secs(60);

async fn connect(server: &TestServer) -> NodeConnection {
    NodeConnection::open(&net(), &server.address, &hail(Plane::Client), LONG).await.unwrap()
}

async fn assert_serves(server: &TestServer) {
    let reply = connect(server).await.admin(Head::default(), AdminRequest::Ping, LONG).await;
    assert_eq!(reply.unwrap().result, Ok(AdminReply::Pong));
}

fn get(lock: &str) -> LockRequest {
    LockRequest::Get { lock: name(lock) }
}

fn wait(wait_ms: u64) -> LockRequest {
    LockRequest::Await { key: RequestKey::Detached(1), wait_ms }
}

fn ping() -> NodeRequest {
    NodeRequest::Admin { head: Head::default(), request: AdminRequest::Ping }
}

fn is_pong(reply: NodeResponse) -> bool {
    matches!(reply, NodeResponse::Admin(answer) if answer.result == Ok(AdminReply::Pong))
}

/// A call that waits for a minute, begun on a connection of its own task.
async fn long_call(
    connection: &NodeConnection,
    server: &TestServer,
) -> tokio::task::JoinHandle<Result<dsync::api::Answer<LockReply>, CallError>> {
    let begun = server.service.seen.begun.load(SeqCst);
    let connection = connection.clone();
    let call =
        tokio::spawn(async move { connection.lock(Head::default(), wait(60_000), LONG).await });
    server.service.seen.until(|seen| seen.begun.load(SeqCst) > begun).await;
    call
}

/// Trap 1: such a deadline panicked the task of the connection.
#[tokio::test]
async fn hostile_deadlines_are_served() {
    let server = TestServer::start().await;
    let mut raw = Raw::greeted(&server.address).await;
    let message = postcard::to_stdvec(&ping()).unwrap();
    let deadlines = [(u64::MAX, 0), (u64::MAX, u32::MAX), (94_608_000, 0), (0, 0), (5, u32::MAX)];
    for (id, deadline) in (1..).zip(deadlines) {
        raw.send(&request_frame(id, deadline, &message)).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert!(reply.request_id == id && is_pong(reply.message.unwrap()), "{deadline:?}");
    }
}

/// Trap 2: the handlers of a client that vanished ran on.
#[tokio::test]
async fn a_client_that_dies_takes_its_handlers_along() {
    let server = TestServer::start().await;
    let mut raw = Raw::greeted(&server.address).await;
    let request = NodeRequest::Lock { head: Head::default(), request: wait(60_000) };
    for id in 0..3 {
        raw.request(id, &request).await.unwrap();
    }
    server.service.seen.until(|seen| seen.begun.load(SeqCst) == 3).await;
    drop(raw);
    server.service.seen.until(|seen| seen.dropped.load(SeqCst) == 3).await;
    let counted = async {
        while server.counters.read().dropped < 3 || server.counters.read().clients > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, counted).await.unwrap();
    assert_eq!(server.counters.read().in_flight, 0);
}

/// Trap 3: a cancelled call drops its handler, and no other.
#[tokio::test]
async fn a_cancelled_call_drops_its_handler() {
    let server = TestServer::start().await;
    let connection = connect(&server).await;
    let (first, second) =
        (long_call(&connection, &server).await, long_call(&connection, &server).await);
    first.abort();
    server.service.seen.until(|seen| seen.dropped.load(SeqCst) == 1).await;
    assert!(!second.is_finished() && !connection.is_closed());
    let late = connection.lock(Head::default(), wait(60_000), Duration::from_millis(20)).await;
    assert_eq!(late.unwrap_err(), CallError::TimedOut(Duration::from_millis(20)));
    server.service.seen.until(|seen| seen.dropped.load(SeqCst) == 2).await;
    second.abort();
}

/// Trap 4: the caller of a handler that panicked waited for its whole deadline.
#[tokio::test]
async fn a_panic_is_answered_at_once() {
    let server = TestServer::start().await;
    let connection = connect(&server).await;
    let other = long_call(&connection, &server).await;
    let head = Head { request_id: 0xbeef, ..Head::default() };
    let hour = Duration::from_secs(3_600);
    let call = connection.lock(head, get("panic"), hour);
    let answer = tokio::time::timeout(LONG, call).await.unwrap().unwrap();
    let fault = answer.result.unwrap_err();
    assert_eq!((fault.code, fault.effect), (Code::Internal, Effect::Unknown));
    assert!(fault.message.contains("beef"), "it names the request: {fault}");
    assert_eq!((answer.served_by.as_str(), &answer.address), ("node-1", &server.address));
    assert_eq!(server.counters.read().panics, 1);
    assert!(!other.is_finished(), "other calls of the connection go on");
    other.abort();
    assert_serves(&server).await;
}

/// Trap 5: one reply over the limit, or one unknown method, ended the connection for all.
#[tokio::test]
async fn an_oversize_reply_is_a_fault_and_the_connection_lives() {
    let server = TestServer::start().await;
    let connection = connect(&server).await;
    let other = long_call(&connection, &server).await;
    let list =
        |limit| LockRequest::List { prefix: String::new(), waiting: false, after: None, limit };
    let answer = connection.lock(Head::default(), list(10_000), LONG).await.unwrap();
    let fault = answer.result.unwrap_err();
    assert_eq!(
        (fault.code, fault.effect, fault.retryable),
        (Code::LimitReached, Effect::Done, false)
    );
    let answer = connection.lock(Head::default(), list(100), LONG).await.unwrap();
    assert!(matches!(answer.result, Ok(LockReply::Locks { items, .. }) if items.len() == 100));
    assert!(!other.is_finished());
    other.abort();
}

#[tokio::test]
async fn an_oversize_request_is_refused_before_it_is_sent() {
    let server = TestServer::start().await;
    let connection = connect(&server).await;
    let other = long_call(&connection, &server).await;
    let head = Head { target: Some("x".repeat(2 << 20)), ..Head::default() };
    let error = connection.admin(head, AdminRequest::Ping, LONG).await.unwrap_err();
    assert!(error.not_executed() && matches!(error, CallError::TooLarge(_)), "{error}");
    assert!(!other.is_finished() && !connection.is_closed());
    other.abort();
    // Between nodes the same request is small.
    let forward = hail(Plane::Forward);
    let node = NodeConnection::open(&net(), &server.address, &forward, LONG).await.unwrap();
    let head = Head { target: Some("x".repeat(2 << 20)), ..Head::default() };
    assert!(node.admin(head, AdminRequest::Ping, LONG).await.is_ok());
}

#[tokio::test]
async fn an_unknown_method_or_variant_fails_alone() {
    let server = TestServer::start().await;
    let mut raw = Raw::greeted(&server.address).await;
    raw.request(1, &NodeRequest::Lock { head: Head::default(), request: wait(60_000) })
        .await
        .unwrap();
    let mut variant = postcard::to_stdvec(&ping()).unwrap();
    *variant.last_mut().unwrap() = 200;
    variant.push(1);
    for (id, message) in [(2, vec![9, 1, 2, 3]), (3, variant), (4, vec![])] {
        raw.send(&request_frame(id, (30, 0), &message)).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert_eq!(reply.request_id, id);
        assert!(reply.message.unwrap_err().detail.contains("cannot read the request"));
    }
    raw.request(5, &ping()).await.unwrap();
    assert!(is_pong(raw.reply().await.unwrap().message.unwrap()));
    assert_eq!(server.service.seen.dropped.load(SeqCst), 0, "the waiting call goes on");
}

/// Trap 6: what is known about a call that failed.
#[tokio::test]
async fn a_broken_connection_says_what_is_known() {
    let server = TestServer::start().await;
    let connection = connect(&server).await;
    let call = long_call(&connection, &server).await;
    drop(server);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Lost(_)) && !error.not_executed(), "{error}");
    tokio::time::timeout(LONG, connection.closed()).await.unwrap();
    let error = connection.admin(Head::default(), AdminRequest::Ping, LONG).await.unwrap_err();
    assert_eq!(error, CallError::NotSent);
}

#[tokio::test]
async fn the_planes_serve_what_they_are_for() {
    let server = TestServer::start().await;
    let open = |plane| {
        let address = server.address.clone();
        async move { PeerConnection::open(&net(), &address, &hail(plane), LONG).await.unwrap() }
    };
    let to = Destination { cluster: ClusterId(7), to: 1, from: 2 };
    let vote = Vote { term: u64::MAX, node: None, committed: false };
    let call = RaftCall::Vote { vote, last: None, pre: true, transfer: false };
    let mut peers = Vec::new();
    for plane in [Plane::Peer, Plane::Bulk] {
        let peer = open(plane).await;
        assert_eq!(peer.greeting().cluster, Some(ClusterId(7)));
        assert_eq!(peer.raft(to, call.clone(), LONG).await.unwrap(), Ok(RaftReply::Appended));
        let refused = peer.raft(Destination { to: 0, ..to }, call.clone(), LONG).await.unwrap();
        assert_eq!(refused.unwrap_err().code, Code::Conflict);
        peers.push(peer);
    }
    assert_eq!(server.counters.read().peers, 2);
    // A request of the wrong plane is refused, one by one.
    let address = &server.address;
    let crossed = NodeConnection::open(&net(), address, &hail(Plane::Peer), LONG).await.unwrap();
    let error = crossed.lock(Head::default(), get("a"), LONG).await.unwrap_err();
    assert!(matches!(error, CallError::Unreadable(_)), "{error}");
    // Handlers know who asks.
    let node = connect(&server).await;
    let done = node.admin(Head::default(), AdminRequest::Directory, LONG).await.unwrap();
    assert_eq!(done.result, Ok(AdminReply::Done("test on client".into())));
}

#[tokio::test]
async fn a_frame_that_does_not_decode_ends_its_connection_only() {
    let server = TestServer::start().await;
    let good = connect(&server).await;
    let other = long_call(&good, &server).await;
    let random: Vec<u8> =
        (0..1_u32 << 20).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let body = postcard::to_stdvec(&ping()).unwrap();
    let mut altered = request_frame(1, (30, 0), &body);
    *altered.last_mut().unwrap() ^= 1;
    let bad: [&[u8]; 7] = [
        &altered,
        &frame(&[]),
        &[0xff; 8],
        &[0, 0x10, 0, 1],
        &frame(&[7, 7, 7]),
        &frame(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        &random,
    ];
    for bytes in bad {
        let mut raw = Raw::greeted(&server.address).await;
        // The node may close before all is sent.
        let _sent = raw.send(bytes).await;
        assert!(raw.until_closed().await.is_empty());
    }
    assert_eq!(server.counters.read().bad_frames, 7);
    assert!(!other.is_finished());
    other.abort();
    assert_serves(&server).await;
}

/// Lengths inside a message that claim up to 2^64-1 bytes.
#[tokio::test]
async fn claimed_lengths_allocate_nothing() {
    let server = TestServer::start().await;
    let mut raw = Raw::greeted(&server.address).await;
    for (id, claim) in (1..).zip([1_u64 << 32, 1 << 40, u64::MAX]) {
        // Lock, a head with an empty request id and no target, List with a prefix of that length.
        let mut message = vec![0, 0, 0, 0, 4];
        message.extend(postcard::to_stdvec(&claim).unwrap());
        raw.send(&request_frame(id, (30, 0), &message)).await.unwrap();
        let reply = raw.reply().await.unwrap();
        assert!(reply.request_id == id && reply.message.is_err());
    }
}
