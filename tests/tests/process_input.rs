//! Whatever comes in, the node lives, grows little, and serves the next good call.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use dsync::api::LockRequest;
use dsync::{CallOptions, Client};
use dsync_core::lock::{
    Command, Mode, Outcome, Policy, Request, RequestKey, SessionId, Token, Want,
};
use dsync_tests::load::holdings::{self, name};
use dsync_tests::process::panics::panics;
use dsync_tests::process::stats::Usage;
use dsync_tests::process::{Cluster, Plan};
use dsync_tests::wire::frame;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a node may grow by while it is fed rubbish.
const GROWTH_KIB: u64 = 50 * 1024;

const HAIL: &[u8] = b"DSYNC/1 plane=client id=tester ver=0.1.0\r\n";
const PEER_HAIL: &[u8] = b"DSYNC/1 plane=peer id=stranger ver=0.1.0\r\n";

/// Sends the bytes and waits until the node closes, answers, or a moment has passed.
async fn send(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A node that closes early is free to: what counts is that it lives on.
    drop(stream.write_all(bytes).await);
    let mut answer = vec![0; 1024];
    let read = timeout(Duration::from_millis(300), stream.read(&mut answer)).await;
    answer.truncate(read.ok().and_then(Result::ok).unwrap_or(0));
    answer
}

/// A frame whose checksum is that of another body.
fn altered(body: &[u8]) -> Vec<u8> {
    let mut bytes = frame(body);
    bytes[7] ^= 1;
    bytes
}

fn raw_inputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = SmallRng::seed_from_u64(7);
    let mut noise = vec![0; 1 << 20];
    random.fill_bytes(&mut noise);
    let mut inputs = vec![
        ("nothing", Vec::new()),
        ("half a greeting", b"DSYNC/1 pla".to_vec()),
        ("a greeting without an end", vec![b'x'; 10_000]),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a Redis command", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        ("an SSH greeting", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        (
            "a TLS greeting",
            [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &noise[..500]].concat(),
        ),
        ("another version", b"DSYNC/9 plane=client id=x ver=9\r\n".to_vec()),
        ("an unknown plane", b"DSYNC/1 plane=backdoor id=x ver=9\r\n".to_vec()),
        (
            "a name with control characters",
            b"DSYNC/1 plane=client id=\x1b[31m\0 ver=9\r\n".to_vec(),
        ),
        ("a megabyte of noise", noise.clone()),
    ];
    for hail in [HAIL, PEER_HAIL] {
        for (what, body) in [
            ("an empty frame", frame(b"")),
            ("nothing but a length of nothing", 0_u32.to_be_bytes().to_vec()),
            ("the largest length", u32::MAX.to_be_bytes().to_vec()),
            ("a length just over the limit", ((16 << 20) + 1_u32).to_be_bytes().to_vec()),
            ("half a frame", frame(b"hello")[..10].to_vec()),
            ("half a header", frame(b"hello")[..5].to_vec()),
            ("an altered frame", altered(b"hello")),
            ("a frame of noise", frame(&noise[..1000])),
            ("a frame of zeros", frame(&[0; 100])),
            ("a frame of ones", frame(&[0xff; 100])),
            ("noise after the greeting", noise[..100_000].to_vec()),
        ] {
            inputs.push((what, [hail, &body].concat()));
        }
    }
    inputs
}

#[tokio::test]
async fn rubbish_on_the_port_does_no_harm() {
    let cluster = Cluster::start(1).await;
    let address = cluster.endpoints();
    let pid = cluster.nodes[0].pid().unwrap();
    for (_, bytes) in raw_inputs() {
        send(&address, &bytes).await;
    }
    let before = Usage::of(pid);
    for (what, bytes) in raw_inputs() {
        send(&address, &bytes).await;
        let run = cluster.dsctl(&["node", "ping", &address, "-o", "json"]).await;
        assert_eq!(run.code, 0, "after {what}: {run}");
    }
    let after = Usage::of(pid);
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < GROWTH_KIB, "grew by {grown} KiB");
    cluster.nodes[0].assert_no_panic();
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
}

#[tokio::test]
async fn strangers_are_told_what_this_is() {
    let cluster = Cluster::start(1).await;
    let address = cluster.endpoints();
    let http = send(&address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let http = String::from_utf8_lossy(&http).into_owned();
    assert!(http.to_lowercase().contains("dsync"), "{http:?}");
    let redis = send(&address, b"PING\r\n").await;
    let redis = String::from_utf8_lossy(&redis).into_owned();
    assert!(redis.to_lowercase().contains("dsync"), "{redis:?}");
}

#[tokio::test]
async fn cut_and_altered_bytes_of_good_calls_do_no_harm() {
    // A proxy that alters every third piece stands between the client and the node.
    let plan = Plan { size: 1, proxied: true, seed: 11, ..Plan::default() };
    let cluster = Cluster::start_plan(plan).await;
    let rule = dsync_tests::process::proxy::Rule {
        corrupt: 0.3,
        reset: 0.1,
        ..dsync_tests::process::proxy::Rule::default()
    };
    cluster.faults.set_both("client", "node-lock-1", rule);
    let through = cluster.nodes[0].advertise.clone();
    let client = dsync_tests::process::cluster::client_of(vec![through], "altered");
    for i in 0..100 {
        let options = CallOptions { timeout: Duration::from_millis(300), ..CallOptions::default() };
        // Most fail, and how is the client's matter; the node must not care.
        drop(client.lock(LockRequest::Get { lock: name(&format!("x-{i}")) }, options).await);
    }
    let corrupted = cluster.faults.fired().corrupted.load(std::sync::atomic::Ordering::Relaxed);
    assert!(corrupted > 5, "only {corrupted} pieces were altered");
    cluster.faults.heal();
    cluster.nodes[0].assert_no_panic();
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
}

/// Requests that a hostile or broken client may make: each is answered, none has an effect.
fn hostile(session: SessionId, random: &mut SmallRng) -> Vec<(&'static str, Command)> {
    let want = |lock: &str, mode| Want { lock: name(lock), mode };
    let acquire = |wants: Vec<Want>, wait_ms| Command::Acquire {
        wants,
        owner: name("hostile"),
        wait_ms,
        policy: Policy::Detect,
        age: u64::MAX,
        max_hold_ms: u64::MAX,
    };
    let many = (0..65).map(|i| want(&format!("g-{i}"), Mode::Exclusive)).collect();
    let twice = vec![want("g", Mode::Exclusive), want("g", Mode::Shared)];
    vec![
        ("no lock", acquire(Vec::new(), 0)),
        ("65 locks", acquire(many, 0)),
        ("one lock twice", acquire(twice, 0)),
        ("no permits", acquire(vec![want("p", Mode::Permits { take: 0, of: 0 })], 0)),
        ("too many permits", acquire(vec![want("p", Mode::Permits { take: 3, of: 2 })], 0)),
        ("an endless wait", acquire(vec![want("w", Mode::Exclusive)], u64::MAX)),
        (
            "a token that never was",
            Command::Release {
                lock: name("a"),
                token: Some(Token(u64::MAX)),
                owner: None,
                all: true,
            },
        ),
        (
            "neither token nor owner",
            Command::Release { lock: name("a"), token: None, owner: None, all: false },
        ),
        (
            "a lease of 584 million years",
            Command::Renew { lock: name("a"), token: Token(1), ttl_ms: Some(u64::MAX) },
        ),
        (
            "cancelling what is unknown",
            Command::Cancel { target: RequestKey::Detached(random.random()) },
        ),
        (
            "cancelling oneself",
            Command::Cancel { target: RequestKey::Session { session, seq: u64::MAX } },
        ),
        (
            "conversion of nothing",
            Command::Convert {
                lock: name("a"),
                token: Token(0),
                to: Mode::Permits { take: 1, of: 0 },
                wait_ms: u64::MAX,
            },
        ),
        (
            "force with a megabyte of reason",
            Command::ForceRelease {
                lock: name("a"),
                token: Token(1),
                actor: name("hostile"),
                reason: "x".repeat(500_000),
            },
        ),
    ]
}

/// Sends a request that is bound to be refused and tells what came back.
async fn refused(client: &Client, request: LockRequest) -> String {
    let options = CallOptions { timeout: Duration::from_secs(10), ..CallOptions::default() };
    match client.lock(request, options).await.and_then(|a| a.result) {
        Ok(dsync::api::LockReply::Outcome(Outcome::Granted(grants))) => {
            panic!("granted: {grants:?}")
        }
        Ok(reply) => format!("{reply:?}"),
        Err(fault) => format!("{fault:?}"),
    }
}

#[tokio::test]
async fn requests_that_break_a_rule_are_answered_and_change_nothing() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client("hostile");
    let session = holdings::open(&client, "hostile", 60_000).await;
    let mut random = SmallRng::seed_from_u64(3);
    for (seq, (what, command)) in (1..).zip(hostile(session, &mut random)) {
        let answer = refused(&client, holdings::request(session, seq, command)).await;
        println!("{what}: {answer:.120}");
    }
    for ttl_ms in [0, u64::MAX] {
        let command = Command::OpenSession {
            ttl_ms,
            owner: name("hostile"),
            meta: "x".repeat(5_000),
            ephemeral: false,
        };
        let key = RequestKey::Detached(random.random());
        let request = Request { key, first_outstanding: u64::MAX, command };
        refused(&client, LockRequest::Do(request)).await;
    }
    for request in [
        LockRequest::KeepAlive { session: SessionId(u64::MAX) },
        LockRequest::Await { key: RequestKey::Detached(1), wait_ms: u64::MAX },
        LockRequest::List {
            prefix: "x".repeat(1_000),
            waiting: true,
            after: None,
            limit: u32::MAX,
        },
        LockRequest::Sessions { after: SessionId(u64::MAX), limit: 0 },
        LockRequest::Events { from_index: u64::MAX, wait_ms: u64::MAX },
        LockRequest::Validate { lock: name("a"), token: Token(u64::MAX) },
    ] {
        refused(&client, request).await;
    }
    assert_eq!(holdings::list(&client).await, [], "something is held or waited for");
    for node in &cluster.nodes {
        node.assert_no_panic();
    }
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
}

/// In the environment of the process that shall panic.
const ON_PURPOSE: &str = "DSYNC_TEST_PANIC";

/// What a panic looks like in a log is for dsd to say: the tests that look for one have to know it.
#[test]
fn a_panic_is_found_in_what_dsd_logs() {
    if std::env::var_os(ON_PURPOSE).is_some() {
        let config = dsd::dev::lock_node(0, &[1], std::path::Path::new(""));
        dsd::telemetry::init(&config).unwrap();
        assert!(std::panic::catch_unwind(|| panic!("no such seat")).is_err());
        return;
    }
    // The hook is the process's: this test runs itself in another one.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_is_found_in_what_dsd_logs", "--nocapture"])
        .env(ON_PURPOSE, "1")
        .output();
    let said = String::from_utf8_lossy(&output.unwrap().stderr).into_owned();
    assert_eq!(panics(&said).len(), 1, "{said}");
    assert!(panics(&said)[0].contains("no such seat"), "{said}");
}
