//! Callers that mean harm, or know no better: the node lives and serves the next good one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use dsd::server::Limits;
use dsync::NodeConnection;
use dsync::api::{AdminReply, AdminRequest, Head, LockRequest, NodeRequest, NodeResponse};
use dsync::dial::{self, Class};
use dsync::net::{Network, TcpNetwork};
use dsync::preamble::Plane;
use dsync_core::lock::RequestKey;
use dsync_tests::wire::{
    Counting, Raw, TestServer, frame, hail, many_descriptors, name, net, request_frame,
};
use tokio::io::AsyncWriteExt;

const LONG: Duration = Duration::from_secs(60);

async fn assert_serves(server: &TestServer) {
    let client = NodeConnection::open(&net(), &server.address, &hail(Plane::Client), LONG).await;
    let reply = client.unwrap().admin(Head::default(), AdminRequest::Ping, LONG).await.unwrap();
    assert_eq!(reply.result, Ok(AdminReply::Pong));
}

fn ping() -> NodeRequest {
    NodeRequest::Admin { head: Head::default(), request: AdminRequest::Ping }
}

async fn until(done: impl Fn() -> bool) {
    let check = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, check).await.unwrap();
}

/// Trap 7: 2 000 connections that say nothing, and a client among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_keep_nobody_out() {
    many_descriptors();
    // Nobody is thrown out for being slow here: only for making place.
    let server = TestServer::with(Limits { greet: LONG * 10, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..2_000 {
        silent.push(Raw::silent(&server.address).await.unwrap());
    }
    assert_serves(&server).await;
    until(|| server.counters.read().accepted == 2_001).await;
    let counters = server.counters.read();
    assert!(counters.ungreeted <= 256 && counters.evicted >= 2_000 - 256, "{counters:?}");
    drop(silent);
    until(|| server.counters.read().ungreeted == 0).await;
}

#[tokio::test]
async fn a_connection_that_does_not_greet_in_time_is_closed() {
    let limits = Limits { greet: Duration::from_millis(100), ..Limits::default() };
    let server = TestServer::with(limits).await;
    let mut silent = Raw::silent(&server.address).await.unwrap();
    let mut slow = Raw::silent(&server.address).await.unwrap();
    slow.send(b"DSYNC/1 plane=cli").await.unwrap();
    assert!(silent.until_closed().await.is_empty() && slow.until_closed().await.is_empty());
    assert_eq!(server.counters.read().silent, 2);
}

/// One byte at a time: the greeting and then a request, as slow as the limits allow.
#[tokio::test]
async fn a_slow_caller_is_served_and_an_idle_one_is_closed() {
    let limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
    let server = TestServer::with(limits).await;
    let mut raw = Raw::greeted(&server.address).await;
    let message = postcard::to_stdvec(&ping()).unwrap();
    for byte in request_frame(1, (30, 0), &message) {
        raw.send(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.reply().await.unwrap().request_id, 1);
    // Bytes are no message: a caller that drips them is idle all the same.
    let dripping = async {
        for byte in request_frame(2, (30, 0), &[0; 4_000]) {
            if raw.socket.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, dripping).await.unwrap();
    until(|| server.counters.read().stalled == 1).await;
    assert_serves(&server).await;
}

/// A cluster in which nothing happens keeps its connections.
#[tokio::test]
async fn an_idle_node_keeps_its_connection() {
    let idle = Duration::from_millis(200);
    let server = TestServer::with(Limits { idle, ..Limits::default() }).await;
    let mut nodes = Vec::new();
    for plane in [Plane::Peer, Plane::Bulk, Plane::Forward] {
        let mut raw = Raw::silent(&server.address).await.unwrap();
        let line = format!("DSYNC/1 plane={plane} id=node-2 ver=0.1.0\r\n");
        raw.send(line.as_bytes()).await.unwrap();
        assert!(raw.line().await.unwrap().starts_with("DSYNC/1 OK "), "{plane}");
        nodes.push(raw);
    }
    let mut client = Raw::greeted(&server.address).await;
    assert!(client.until_closed().await.is_empty());
    tokio::time::sleep(5 * idle).await;
    let counters = server.counters.read();
    assert_eq!((counters.stalled, counters.peers, counters.clients), (1, 2, 1), "{counters:?}");
    nodes[2].request(1, &ping()).await.unwrap();
    assert_eq!(nodes[2].reply().await.unwrap().request_id, 1);
}

/// 10 000 requests, and no reply read: reading stops, nothing is piled up, the writer gives up.
#[tokio::test]
async fn replies_that_nobody_reads() {
    let limits = Limits { write_stall: Duration::from_millis(300), ..Limits::default() };
    let server = TestServer::with(limits).await;
    let mut raw = Raw::greeted(&server.address).await;
    let list = LockRequest::List { prefix: String::new(), waiting: false, after: None, limit: 400 };
    let list = NodeRequest::Lock { head: Head::default(), request: list };
    let message = postcard::to_stdvec(&list).unwrap();
    let flood = async {
        for id in 0..10_000 {
            if raw.send(&request_frame(id, (30, 0), &message)).await.is_err() {
                break;
            }
        }
    };
    tokio::time::timeout(LONG, flood).await.unwrap();
    // The kernel's own timeout would come after 20 s.
    let stalled = until(|| server.counters.read().stalled == 1);
    tokio::time::timeout(Duration::from_secs(15), stalled).await.unwrap();
    let begun = server.service.seen.begun.load(SeqCst);
    assert!(begun < 1_000, "{begun} of 10 000 were begun, 80 KB each");
    assert_serves(&server).await;
}

#[tokio::test]
async fn requests_in_flight_have_a_limit() {
    let server = TestServer::with(Limits { in_flight_client: 8, ..Limits::default() }).await;
    let mut raw = Raw::greeted(&server.address).await;
    let wait = LockRequest::Await { key: RequestKey::Detached(1), wait_ms: 200 };
    let wait = NodeRequest::Lock { head: Head::default(), request: wait };
    for id in 0..20 {
        raw.request(id, &wait).await.unwrap();
    }
    for _ in 0..20 {
        raw.reply().await.unwrap();
    }
    let seen = &server.service.seen;
    assert_eq!(seen.most.load(SeqCst), 8);
    assert_eq!(seen.ended.load(SeqCst), 20, "the rest had its turn");
}

#[tokio::test]
async fn a_duplicate_id_and_a_cancel_of_nothing_are_harmless() {
    let server = TestServer::start().await;
    let mut raw = Raw::greeted(&server.address).await;
    let wait = LockRequest::Await { key: RequestKey::Detached(1), wait_ms: 300 };
    let wait = NodeRequest::Lock { head: Head::default(), request: wait };
    let wait = request_frame(1, (30, 0), &postcard::to_stdvec(&wait).unwrap());
    let cancel = postcard::to_stdvec(&(1_u32, [0_u8; 16], 0_u64, 1_u32, 99_u64)).unwrap();
    raw.send(&[wait.clone(), wait, frame(&cancel)].concat()).await.unwrap();
    assert_eq!(raw.reply().await.unwrap().request_id, 1);
    raw.request(2, &ping()).await.unwrap();
    assert_eq!(raw.reply().await.unwrap().request_id, 2);
    assert_eq!(server.service.seen.begun.load(SeqCst), 1);
}

/// Strays are answered in their own words.
#[tokio::test]
async fn strays_get_a_readable_answer() {
    let server = TestServer::start().await;
    let cases: [(&[u8], &str); 7] = [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        (b"*1\r\n$4\r\nPING\r\n", "-ERR this is dsd node-1, a dsync node, not Redis"),
        (b"INFO\r\n", "-ERR this is dsd node-1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\u{15}\u{3}\u{1}"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "DSYNC/1 ERR malformed this is dsd node-1"),
        (b"DSYNC/7 plane=client id=a ver=1\r\n", "DSYNC/1 ERR version it speaks version 7"),
        (b"DSYNC/1 plane=king id=a ver=1\r\n", "DSYNC/1 ERR malformed there is no plane \"king\""),
    ];
    for (bytes, begin) in cases {
        let mut raw = Raw::silent(&server.address).await.unwrap();
        raw.send(bytes).await.unwrap();
        let said = raw.until_closed().await;
        let said = String::from_utf8_lossy(&said);
        assert!(said.starts_with(begin), "{said:?} to {}", bytes.escape_ascii());
    }
    let long = [b"DSYNC/1 plane=client id=".as_slice(), &vec![b'x'; 70_000]].concat();
    let mut raw = Raw::silent(&server.address).await.unwrap();
    let _sent = raw.send(&long).await;
    assert!(raw.until_closed().await.len() < 600);
    assert_eq!(server.counters.read().foreign, 6);
    assert_serves(&server).await;
}

#[tokio::test]
async fn more_connections_than_seats_are_told() {
    let server = TestServer::with(Limits { clients: 2, ..Limits::default() }).await;
    let first = Raw::greeted(&server.address).await;
    let _second = Raw::greeted(&server.address).await;
    let report = dial::check(&net(), &server.address, &hail(Plane::Client), LONG).await;
    assert_eq!(report.class, Class::Busy.as_str());
    let told = "2 connections of clients are open";
    assert!(report.detail.contains(told), "{}", report.detail);
    for plane in [Plane::Forward, Plane::Peer, Plane::Bulk] {
        let report = dial::check(&net(), &server.address, &hail(plane), LONG).await;
        assert_eq!(report.class, "ok", "a node on {plane}");
    }
    drop(first);
    until(|| server.counters.read().clients == 1).await;
    let report = dial::check(&net(), &server.address, &hail(Plane::Client), LONG).await;
    assert_eq!((report.class.as_str(), report.node.as_deref()), ("ok", Some("node-1")));
}

#[tokio::test]
async fn a_stop_lets_the_last_requests_finish() {
    // Longer than the test may take: it ends because all is answered, not because time is up.
    let server = TestServer::with(Limits { drain: LONG * 10, ..Limits::default() }).await;
    let client = NodeConnection::open(&net(), &server.address, &hail(Plane::Client), LONG).await;
    let client = client.unwrap();
    let key = RequestKey::Detached(1);
    let wait = LockRequest::Await { key, wait_ms: 200 };
    let call = {
        let client = client.clone();
        tokio::spawn(async move { client.lock(Head::default(), wait, LONG).await })
    };
    let _silent = Raw::silent(&server.address).await.unwrap();
    server.service.seen.until(|seen| seen.begun.load(SeqCst) == 1).await;
    let address = server.address.clone();
    tokio::time::timeout(LONG, server.finish()).await.unwrap();
    assert!(call.await.unwrap().unwrap().result.is_ok(), "it was answered");
    tokio::time::timeout(LONG, client.closed()).await.unwrap();
    let report = dial::check(&net(), &address, &hail(Plane::Client), LONG).await;
    assert_eq!(report.class, Class::Refused.as_str());
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_finish() {
    let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
    let server = TestServer::with(limits).await;
    let mut raw = Raw::greeted(&server.address).await;
    let wait = LockRequest::Await { key: RequestKey::Detached(1), wait_ms: 600_000 };
    raw.request(1, &NodeRequest::Lock { head: Head::default(), request: wait }).await.unwrap();
    server.service.seen.until(|seen| seen.begun.load(SeqCst) == 1).await;
    let seen = Arc::clone(&server.service.seen);
    tokio::time::timeout(LONG, server.finish()).await.unwrap();
    assert_eq!(seen.dropped.load(SeqCst), 1);
    assert!(raw.until_closed().await.is_empty());
}

/// Trap 9: replies that become ready together leave in one write.
#[tokio::test]
async fn pipelined_replies_join_one_write() {
    let writes = Arc::new(AtomicU64::new(0));
    let listener = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
    let listener = Box::new(Counting::new(listener, Arc::clone(&writes)));
    let server = TestServer::on(listener, "node-1", Limits::default());
    let mut raw = Raw::greeted(&server.address).await;
    let before = writes.load(SeqCst);
    let get = LockRequest::Get { lock: name("a") };
    let get = postcard::to_stdvec(&NodeRequest::Lock { head: Head::default(), request: get });
    let get = get.unwrap();
    let all: Vec<u8> = (0..100).flat_map(|id| request_frame(id, (30, 0), &get)).collect();
    raw.send(&all).await.unwrap();
    for _ in 0..100 {
        let reply = raw.reply().await.unwrap();
        assert!(matches!(reply.message, Ok(NodeResponse::Lock(_))));
    }
    let writes = writes.load(SeqCst) - before;
    assert!(writes <= 10, "{writes} writes for 100 replies");
}
