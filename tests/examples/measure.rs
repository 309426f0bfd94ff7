//! Figures that need a cluster of their own: `measure failover|restart|handoff|sessions [N]`.
//!
//! Run by `tests/bench`, in a release build. Prints one line per figure.
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::panic, clippy::expect_used, reason = "a bench fails by panicking")]

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::{Command, Lookup, Outcome, Token};
use dsync_tests::load::holdings::{self, acquire, call, name, request};
use dsync_tests::process::Cluster;
use dsync_tests::process::stats::Usage;
use futures::StreamExt;
use tokio::time::{Instant, sleep};

/// A lease that outlives every measurement.
const TTL_MS: u64 = 3_600_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let count = arguments.next().and_then(|text| text.parse().ok());
    match what.as_str() {
        "failover" => failover(count.unwrap_or(50)).await,
        "restart" => restart(count.unwrap_or(100_000)).await,
        "handoff" => handoff(count.unwrap_or(100)).await,
        "sessions" => sessions(count.unwrap_or(10_000)).await,
        _ => {
            println!("usage: measure failover|restart|handoff|sessions [N]");
            std::process::exit(64);
        }
    }
}

/// From the kill of the leader to the next acquire that is acknowledged, again and again.
async fn failover(kills: u64) {
    let mut cluster = Cluster::start(3).await;
    let session = holdings::open(&cluster.client("opener"), "failover", TTL_MS).await;
    let mut times = Vec::new();
    for round in 1..=kills {
        let leader = cluster.wait_for_leader().await;
        // Dials anew, as a client does that was not connected to the leader only.
        let client = cluster.client("failover");
        call(&client, LockRequest::Get { lock: name("warm") }).await;
        let begin = Instant::now();
        cluster.node(leader.at).kill();
        let lock = format!("failover-{round}");
        until_granted(&client, &request(session, round, acquire(&lock, "x", 0))).await;
        times.push(begin.elapsed());
        cluster.node(leader.at).spawn();
        cluster.wait_for_convergence().await;
    }
    times.sort();
    let ms = |at: usize| times.get(at).map_or(0, Duration::as_millis);
    let last = times.len() - 1;
    println!(
        "failover kills={kills} p50={}ms p99={}ms max={}ms (kill -9 of the leader to the next acknowledged acquire)",
        ms(last / 2),
        ms(last * 99 / 100),
        ms(last)
    );
}

/// Repeats one request until it is granted: its repetitions are one request.
async fn until_granted(client: &Client, request: &LockRequest) {
    loop {
        let timeout = Duration::from_millis(500);
        let options = CallOptions { timeout, request_id: 1, ..CallOptions::default() };
        let answer = client.lock(request.clone(), options).await.and_then(|a| a.result);
        match answer {
            Ok(LockReply::Outcome(Outcome::Granted(_))) => return,
            Ok(other) => panic!("an acquire of a free lock was answered by {other:?}"),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

/// How long a cluster takes to come back with so many locks held.
async fn restart(locks: u64) {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client("restart");
    let begin = Instant::now();
    // A session holds at most 10 000.
    for part in 0..locks.div_ceil(10_000) {
        let session = holdings::open(&client, "restart", TTL_MS).await;
        let count = 10_000.min(locks - part * 10_000);
        holdings::hold(&client, session, &format!("part-{part}"), count).await;
    }
    println!("restart: {locks} locks taken in {} ms", begin.elapsed().as_millis());
    cluster.kill_all();
    let begin = Instant::now();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let client = cluster.client("after");
    call(&client, LockRequest::Get { lock: name("part-0-0") }).await;
    let took = begin.elapsed().as_millis();
    let held = holdings::list(&client).await.len();
    println!(
        "restart locks={held} of {locks}, all three nodes killed and started: {took} ms to the first answer"
    );
}

/// One lock handed on through a queue of waiters, each of which releases as soon as it holds.
async fn handoff(waiters: u64) {
    let cluster = Cluster::start(3).await;
    let client = cluster.client("handoff");
    let first = holdings::open(&client, "first", TTL_MS).await;
    let LockReply::Outcome(Outcome::Granted(grants)) =
        call(&client, request(first, 1, acquire("h", "first", 0))).await
    else {
        panic!("a free lock was not granted")
    };
    let mut sessions = Vec::new();
    for i in 0..waiters {
        let session = holdings::open(&client, &format!("waiter-{i}"), TTL_MS).await;
        call(&client, request(session, 1, acquire("h", "waiter", 3_600_000))).await;
        sessions.push(session);
    }
    let waits = sessions.into_iter().map(|session| {
        let client = client.clone();
        async move {
            let key = dsync_core::lock::RequestKey::Session { session, seq: 1 };
            loop {
                let reply = call(&client, LockRequest::Await { key, wait_ms: 5_000 }).await;
                if let LockReply::Lookup(Lookup::Done(Outcome::Granted(grants))) = reply {
                    let token = grants.first().map(|g| g.token);
                    call(&client, request(session, 2, release(token))).await;
                    return;
                }
            }
        }
    });
    let waits = tokio::spawn(futures::future::join_all(waits));
    // Time for all of them to be waiting.
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    call(&client, request(first, 2, release(grants.first().map(|g| g.token)))).await;
    waits.await.expect("the waiters end");
    let took = begin.elapsed();
    println!(
        "handoff waiters={waiters} total={}ms per hand-off={}us",
        took.as_millis(),
        took.as_micros() / u128::from(waiters.max(1))
    );
}

fn release(token: Option<Token>) -> Command {
    Command::Release { lock: name("h"), token, owner: None, all: true }
}

/// What so many live sessions cost the leader: each keeps itself alive every third of its lease.
async fn sessions(count: u64) {
    let cluster = Cluster::start(3).await;
    let client = cluster.client("sessions");
    let ttl_ms = 15_000;
    let opening = (0..count).map(|i| {
        let client = client.clone();
        async move { holdings::open(&client, &format!("session-{i}"), ttl_ms).await }
    });
    let begin = Instant::now();
    let open: Vec<_> = futures::stream::iter(opening).buffer_unordered(256).collect().await;
    println!("sessions: {} opened in {} ms", open.len(), begin.elapsed().as_millis());
    let leader = cluster.wait_for_leader().await;
    let pids: Vec<u32> =
        cluster.nodes.iter().filter_map(dsync_tests::process::node::Node::pid).collect();
    let before: Vec<Usage> = pids.iter().map(|pid| Usage::of(*pid)).collect();
    let seconds = 15;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let keeping = open.into_iter().enumerate().map(|(i, session)| {
        let client = client.clone();
        async move {
            // Spread over the period, as sessions of many programs are.
            sleep(Duration::from_millis(u64::try_from(i).unwrap_or(0) % (ttl_ms / 3))).await;
            let mut lost = 0;
            while Instant::now() < end {
                let options =
                    CallOptions { timeout: Duration::from_secs(5), ..CallOptions::default() };
                let answer = client.lock(LockRequest::KeepAlive { session }, options).await;
                lost += u64::from(answer.and_then(|a| a.result).is_err());
                sleep(Duration::from_millis(ttl_ms / 3)).await;
            }
            lost
        }
    });
    let watched = tokio::spawn(futures::future::join_all(keeping));
    tokio::time::sleep_until(end).await;
    let cpu = |pid: u32, before: Usage| {
        let ticks = Usage::of(pid).cpu_ticks - before.cpu_ticks;
        // Ticks of 10 ms over the seconds are percent of a core.
        ticks / seconds
    };
    for (at, (pid, before)) in pids.into_iter().zip(before).enumerate() {
        let role = if at == leader.at { "leader" } else { "follower" };
        println!(
            "sessions={count} {role}: {}% of a core, {} MiB resident",
            cpu(pid, before),
            Usage::of(pid).resident_kib / 1024
        );
    }
    let lost: u64 = watched.await.expect("the sessions end").iter().sum();
    println!("sessions={count} keep-alives that failed: {lost}");
}
