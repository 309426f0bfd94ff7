//! The client over real sockets: finding nodes, repeating, telling errors apart.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dsd::server::Limits;
use dsync::api::{AdminReply, AdminRequest, Answer, LockReply, LockRequest};
use dsync::net::{Network, TcpNetwork};
use dsync::{CallOptions, Client, ClientConfig};
use dsync_core::lock::{Command, Request, RequestKey};
use dsync_core::node::{ClusterId, Role};
use dsync_core::{Code, Effect, Fault};
use dsync_tests::wire::{TestServer, answering, name, net};

const LONG: Duration = Duration::from_secs(60);

fn client(endpoints: &[&str]) -> Client {
    let config = ClientConfig {
        endpoints: endpoints.iter().map(ToString::to_string).collect(),
        connect_timeout: Duration::from_secs(5),
        name: String::new(),
    };
    Client::new(config, net())
}

fn within(timeout: Duration) -> CallOptions {
    CallOptions { timeout, ..CallOptions::default() }
}

async fn ping(client: &Client) -> Result<Answer<AdminReply>, Fault> {
    client.admin(AdminRequest::Ping, within(LONG)).await
}

fn get(lock: &str) -> LockRequest {
    LockRequest::Get { lock: name(lock) }
}

fn command(key: u128) -> LockRequest {
    let owner = name("me");
    LockRequest::Do(Request {
        key: RequestKey::Detached(key),
        first_outstanding: 0,
        command: Command::OpenSession { ttl_ms: 1, owner, meta: String::new(), ephemeral: false },
    })
}

/// An address where nobody listens.
async fn nobody() -> String {
    TcpNetwork.listen("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let server = TestServer::start().await;
    let client = client(&[&nobody().await, &server.address]);
    for _ in 0..3 {
        assert_eq!(ping(&client).await.unwrap().served_by, "node-1");
    }
    assert_eq!(server.counters.read().accepted, 1, "one connection carries all");
}

#[tokio::test]
async fn every_endpoint_is_listed_with_its_reason() {
    let redis = answering(b"-ERR unknown command 'DSYNC/1', with args beginning with: \r\n").await;
    let (dead, bad) = (nobody().await, "no-port");
    let fault = ping(&client(&[&dead, &redis, bad]).fail_fast()).await.unwrap_err();
    assert_eq!(
        (fault.code, fault.effect, fault.retryable),
        (Code::Unavailable, Effect::None, true)
    );
    for part in
        [format!("{dead}: connection refused"), format!("{redis}: Redis"), "has no :port".into()]
    {
        assert!(fault.message.contains(&part), "{fault} should say {part}");
    }
    let fault = ping(&client(&[])).await.unwrap_err();
    assert_eq!(fault.code, Code::InvalidArgument);
}

/// Servers that are no dsd, or not ours, are told apart at once, without waiting for the timeout.
#[tokio::test]
async fn foreign_servers_are_told_apart() {
    let cases: [(&[u8], Code, &str); 8] = [
        (b"-NOAUTH Authentication required.\r\n", Code::Incompatible, "Redis answers there"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Code::Incompatible, "an HTTP server answers there"),
        (&[0x15, 3, 1, 0, 2, 2, 0x46], Code::Incompatible, "a TLS server answers there"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Code::Incompatible, "an SSH server answers there"),
        (b"220 mail.example.org ESMTP\r\n", Code::Incompatible, "something unknown"),
        (b"DSYNC/2 OK id=a\r\n", Code::Incompatible, "version 2 of the greeting"),
        (
            b"DSYNC/1 OK id=a role=lock cluster=- proto=2..3 ver=9.0.0\r\n",
            Code::Incompatible,
            "too new: it speaks protocol 2 to 3",
        ),
        (
            b"DSYNC/1 OK id=a role=lock cluster=- proto=0..0 ver=0.0.1\r\n",
            Code::Incompatible,
            "too old: it speaks protocol 0 to 0",
        ),
    ];
    for (bytes, code, words) in cases {
        let address = answering(bytes).await;
        let client = client(&[&address]);
        let fault = tokio::time::timeout(LONG / 2, ping(&client)).await.unwrap().unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.message.contains(words) && !fault.retryable, "{fault} should say {words}");
    }
}

#[tokio::test]
async fn a_silent_server_and_one_that_hangs_up() {
    let silent = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut config = client(&[&address]).config().clone();
    config.connect_timeout = Duration::from_millis(100);
    let fault = ping(&Client::new(config, net()).fail_fast()).await.unwrap_err();
    assert!(fault.message.contains("did not answer within 100 ms"), "{fault}");
    let closing = answering(b"").await;
    let fault = ping(&client(&[&closing]).fail_fast()).await.unwrap_err();
    assert!(fault.message.contains("dropped without an answer"), "{fault}");
}

/// A frozen node takes connections and says nothing: the next one is dialed beside it.
#[tokio::test]
async fn a_person_does_not_wait_for_an_endpoint_that_says_nothing() {
    let silent = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let server = TestServer::start().await;
    let mut config = client(&[&address, &server.address]).config().clone();
    // No attempt is given up within the call.
    config.connect_timeout = 2 * LONG;
    let client = Client::new(config, net()).fail_fast();
    assert_eq!(ping(&client).await.unwrap().served_by, "node-1");
    assert_eq!(ping(&client).await.unwrap().served_by, "node-1");
    assert_eq!(server.counters.read().accepted, 1, "the connection stays in use");
}

#[tokio::test]
async fn another_cluster_is_refused() {
    let (ours, theirs) = (TestServer::start().await, TestServer::start().await);
    theirs.cluster.send_replace(Some(ClusterId(8)));
    let expecting = client(&[&theirs.address]).expect_cluster(Role::Lock, ClusterId(7));
    let fault = ping(&expecting).await.unwrap_err();
    assert_eq!(fault.code, Code::WrongCluster);
    assert!(fault.message.contains("cluster 0000000000000008"), "{fault}");
    // Without an expectation the first one met counts.
    let client = client(&[&ours.address, &theirs.address]);
    assert!(ping(&client).await.is_ok());
    ours.finish().await;
    let fault = client.admin(AdminRequest::Ping, within(Duration::from_millis(500))).await;
    assert!(fault.unwrap_err().message.contains("cluster 0000000000000008"));
}

#[tokio::test]
async fn the_node_in_charge_is_reached_directly() {
    let (follower, leader) = (TestServer::start().await, TestServer::named("leader").await);
    let answers_of = |server: &TestServer| server.service.seen.begun.load(SeqCst);
    *follower.service.who.lock() = ("leader".into(), leader.address.clone());
    let client = client(&[&follower.address]);
    let reach = async {
        while answers_of(&leader) == 0 {
            client.lock(get("a"), within(LONG)).await.unwrap().result.unwrap();
        }
    };
    tokio::time::timeout(LONG, reach).await.unwrap();
    let by_follower = answers_of(&follower);
    client.lock(get("a"), within(LONG)).await.unwrap().result.unwrap();
    assert_eq!(answers_of(&follower), by_follower);
    // The leader dies: back to the endpoint, within one call.
    leader.finish().await;
    *follower.service.who.lock() = ("node-1".into(), follower.address.clone());
    assert_eq!(client.lock(get("a"), within(LONG)).await.unwrap().served_by, "node-1");
}

#[tokio::test]
async fn an_address_that_is_not_what_the_node_says_is_not_used() {
    let (follower, other) = (TestServer::start().await, TestServer::named("other").await);
    let client = client(&[&follower.address]);
    for address in [nobody().await, other.address.clone()] {
        *follower.service.who.lock() = ("leader".into(), address);
        for _ in 0..50 {
            assert!(client.lock(get("a"), within(LONG)).await.unwrap().result.is_ok());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(other.service.seen.begun.load(SeqCst), 0);
}

#[tokio::test]
async fn what_was_not_executed_is_tried_again_in_time() {
    let server = TestServer::start().await;
    let client = client(&[&server.address]);
    let answer = client.lock(get("unavailable"), within(Duration::from_millis(300))).await.unwrap();
    let fault = answer.result.unwrap_err();
    assert_eq!((fault.code, fault.effect), (Code::Unavailable, Effect::None));
    assert!(server.service.seen.begun.load(SeqCst) > 2);
}

/// What the one node says that can be reached comes before the silence of the others.
#[tokio::test]
async fn the_fault_of_a_node_is_told_before_those_of_the_way() {
    let server = TestServer::start().await;
    let (dead, gone) = (nobody().await, nobody().await);
    let client = client(&[&server.address, &dead, &gone]);
    let told = client.lock(get("unavailable"), within(Duration::from_millis(500))).await;
    let fault = told.and_then(|answer| answer.result).unwrap_err();
    assert_eq!((fault.code, fault.effect), (Code::Unavailable, Effect::None));
    assert!(fault.message.starts_with("no leader"), "{fault}");
}

/// A node that takes a command and dies before it answers: another one is asked with the same key.
#[tokio::test]
async fn what_may_have_been_executed_is_repeated_with_its_key() {
    let deaf = answering_and_hanging_up().await;
    let server = TestServer::start().await;
    let client = client(&[&deaf, &server.address]);
    let answer = client.lock(command(77), within(LONG)).await.unwrap();
    assert!(matches!(answer.result, Ok(LockReply::Outcome(_))));
    assert_eq!(server.service.done.lock().get(&RequestKey::Detached(77)), Some(&1));
}

#[tokio::test]
async fn a_doubt_names_the_request() {
    let deaf = answering_and_hanging_up().await;
    let client = client(&[&deaf]);
    let options = CallOptions { request_id: 0xfeed, ..within(Duration::from_millis(200)) };
    let fault = client.lock(command(1), options).await.unwrap_err();
    assert_eq!((fault.effect, fault.retryable), (Effect::Unknown, true));
    assert!(fault.message.contains("feed"), "{fault}");
    // What must not be done twice is not repeated.
    let request = AdminRequest::RaftReplace { node: "a".into() };
    let fault = client.admin(request, within(LONG)).await.unwrap_err();
    assert_eq!(fault.effect, Effect::Unknown);
}

async fn answering_and_hanging_up() -> String {
    answering(b"DSYNC/1 OK id=deaf role=lock cluster=- proto=1..1 ver=0.1.0\r\n").await
}

#[tokio::test]
async fn many_calls_at_once_share_few_connections_and_waits_do_not_stand_before_calls() {
    let server = TestServer::with(Limits { in_flight_client: 128, ..Limits::default() }).await;
    let client = client(&[&server.address]);
    let wait = || LockRequest::Await { key: RequestKey::Detached(1), wait_ms: 60_000 };
    let waits: Vec<_> = (0..500)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.lock(wait(), within(LONG)).await })
        })
        .collect();
    server.service.seen.until(|seen| seen.begun.load(SeqCst) == 500).await;
    let calls = (0..500).map(|_| ping(&client));
    assert!(futures::future::join_all(calls).await.into_iter().all(|answer| answer.is_ok()));
    let open = server.counters.read().clients;
    assert!(open <= 12, "{open} connections");
    waits.iter().for_each(tokio::task::JoinHandle::abort);
    server.service.seen.until(|seen| seen.dropped.load(SeqCst) == 500).await;
}

#[tokio::test]
async fn a_restarted_node_is_found_again() {
    let listener = TcpNetwork.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = TestServer::on(listener, "node-1", Limits::default());
    let client = client(&[&address]);
    assert!(ping(&client).await.is_ok());
    server.finish().await;
    let again = {
        let (client, address) = (client.clone(), address.clone());
        tokio::join!(async move { ping(&client).await }, async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let listener = TcpNetwork.listen(&address).await.unwrap();
            TestServer::on(listener, "node-1", Limits::default())
        })
    };
    assert!(again.0.is_ok());
    drop(Arc::new(again.1));
}
