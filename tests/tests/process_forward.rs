//! Requests that a follower handed on when the leader stopped: the next leader answers them.

use std::time::Duration;

use dsync::CallOptions;
use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Command, Lookup, Outcome, RequestKey};
use dsync_tests::load::holdings::{acquire, call, name, open, request};
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::{Cluster, dsctl};
use rustix::process::Signal;
use tokio::time::sleep;

/// Long enough that no lease ends during a test.
const TTL_MS: u64 = 3_600_000;

/// Places of the leader and of one that follows it.
async fn leader_and_follower(cluster: &Cluster) -> (usize, usize) {
    let leader = cluster.wait_for_leader().await.at;
    cluster.wait_for_convergence().await;
    (leader, (leader + 1) % cluster.nodes.len())
}

/// The stopped leader keeps its connections and answers nothing. Less time than a request has on
/// its way to one leader: it ends well only if it goes on to the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquire_goes_on_to_the_next_leader() {
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = leader_and_follower(&cluster).await;
    let endpoint = cluster.node(follower).listen.clone();
    let arguments = |lock| ["lock", "acquire", lock, "--timeout", "9s", "-o", "json"];
    dsctl::run(&endpoint, &arguments("before")).await.ok();
    cluster.node(leader).signal(Signal::STOP);
    dsctl::run(&endpoint, &arguments("after")).await.ok();
    cluster.node(leader).signal(Signal::CONT);
    cluster.wait_for_convergence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_is_told_of_its_grant_by_the_next_leader() {
    let mut cluster = Cluster::start(3).await;
    let (leader, follower) = leader_and_follower(&cluster).await;
    let endpoint = cluster.node(follower).listen.clone();
    // A client goes to the leader itself once it knows it: one whose first request this is does not.
    let fresh = || client_of(vec![endpoint.clone()], "waiter");
    let client = fresh();
    let holders = open(&client, "holder", TTL_MS).await;
    let waiters = open(&client, "waiter", TTL_MS).await;
    let LockReply::Outcome(Outcome::Granted(grants)) =
        call(&client, request(holders, 1, acquire("x", "holder", 0))).await
    else {
        panic!("the lock is free");
    };
    call(&client, request(waiters, 1, acquire("x", "waiter", 3_600_000))).await;
    let waiting = {
        let client = fresh();
        let key = RequestKey::Session { session: waiters, seq: 1 };
        // Too little time for a second attempt of the client's own.
        let options = CallOptions { timeout: Duration::from_secs(6), ..CallOptions::default() };
        let wait = LockRequest::Await { key, wait_ms: 5_000 };
        tokio::spawn(async move { client.lock(wait, options).await.and_then(|a| a.result) })
    };
    // Time to reach the leader; too little of it makes the test easier, not wrong.
    sleep(Duration::from_millis(300)).await;
    cluster.node(leader).signal(Signal::STOP);
    let token = grants.first().map(|grant| grant.token);
    let release = Command::Release { lock: name("x"), token, owner: None, all: true };
    let released = call(&fresh(), request(holders, 2, release)).await;
    assert!(matches!(released, LockReply::Outcome(Outcome::Released { .. })), "{released:?}");
    let told = waiting.await.unwrap_or_else(|error| panic!("{error}"));
    let granted = matches!(&told, Ok(LockReply::Lookup(Lookup::Done(Outcome::Granted(_)))));
    assert!(granted, "{told:?}");
    cluster.node(leader).signal(Signal::CONT);
}
