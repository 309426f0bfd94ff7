//! What was acknowledged survives: every process killed at once, and a disk that is wiped.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Command, Lookup, Outcome, Token};
use dsync_tests::load::holdings::{self, call, name, picture, request};
use dsync_tests::process::{Cluster, Leader, shape};
use tokio::time::{Instant, sleep};

/// Long enough that no lease ends during a test.
const TTL_MS: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_locks_and_two_hundred_waiters_survive_a_kill_of_all_nodes() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client("holdings");
    let holders = holdings::open(&client, "holders", TTL_MS).await;
    let waiters = holdings::open(&client, "waiters", TTL_MS).await;
    holdings::hold(&client, holders, "lock", 500).await;
    let queue = holdings::queue(&client, waiters, "lock-7", 200).await;
    let before = picture(&client).await;
    let contended = before.iter().find(|(lock, ..)| lock == "lock-7").cloned();
    let (_, held, waiting) = contended.unwrap_or_default();
    assert_eq!((before.len(), held.len(), waiting.len()), (500, 1, 200));

    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let client = cluster.client("after");
    let after = picture(&client).await;
    assert_eq!(before, after, "holders, tokens and the order of waiters");

    // The queue still moves, in its order and with rising tokens.
    let mut token = held.first().map_or(0, |(_, _, token)| *token);
    let largest = before.iter().flat_map(|(_, held, _)| held).map(|(_, _, t)| *t).max();
    for (at, key) in (0..).zip(queue.iter().take(3)) {
        let release = Command::Release {
            lock: name("lock-7"),
            token: Some(Token(token)),
            owner: None,
            all: true,
        };
        let (session, seq) = if at == 0 { (holders, 1_000) } else { (waiters, 1_000 + at) };
        let reply = call(&client, request(session, seq, release)).await;
        assert!(matches!(reply, LockReply::Outcome(Outcome::Released { .. })), "{reply:?}");
        let reply = call(&client, LockRequest::Await { key: *key, wait_ms: 5_000 }).await;
        let LockReply::Lookup(Lookup::Done(Outcome::Granted(grants))) = reply else {
            panic!("waiter {at} was answered by {reply:?}");
        };
        let granted = grants.first().map_or(0, |grant| grant.token.0);
        assert!(Some(granted) > largest && granted > token, "token {granted} after {largest:?}");
        token = granted;
    }
    cluster.wait_for_convergence().await;
}

fn follower(leader: &Leader) -> usize {
    (leader.at + 1) % 3
}

#[tokio::test]
async fn a_wiped_node_votes_again_under_a_new_id_and_then_another_may_fail() {
    let mut cluster = Cluster::start(3).await;
    let acquire = ["lock", "acquire", "kept", "--ttl", "1h", "-o", "json"];
    let held = cluster.dsctl(&acquire).await.ok();
    let leader = cluster.wait_for_leader().await;
    let wiped = follower(&leader);
    let old = cluster.raft_id(wiped).await;
    let name = cluster.node(wiped).name.clone();
    cluster.node(wiped).kill();
    cluster.node(wiped).wipe();
    cluster.node(wiped).spawn();
    cluster.wait_for_rejoin(&name, old).await;
    cluster.wait_for_convergence().await;

    // The third node fails: the wiped one's vote is what keeps the cluster going.
    let third = (wiped + 1) % 3;
    let third = if third == leader.at { (wiped + 2) % 3 } else { third };
    cluster.node(third).kill();
    cluster.wait_for_leader().await;
    let show = cluster.dsctl(&["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"], "{show:#}");
    cluster.dsctl(&["lock", "acquire", "new", "--timeout", "20s", "-o", "json"]).await.ok();
}

#[tokio::test]
async fn a_wiped_node_never_helps_a_stale_one_to_lead() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let (wiped, stale) = (follower(&leader), (leader.at + 2) % 3);
    // `stale` misses what the other two acknowledge.
    cluster.node(stale).kill();
    let acquire = ["lock", "acquire", "kept", "--ttl", "1h", "--timeout", "20s", "-o", "json"];
    let held = cluster.dsctl(&acquire).await.ok();
    cluster.kill_all();
    cluster.node(wiped).wipe();
    cluster.node(wiped).spawn();
    cluster.node(stale).spawn();
    // Of the acknowledged entry only the old leader has a copy: without it nobody may lead.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        assert_eq!(cluster.leader().await, None, "a leader without the committed entry");
        sleep(Duration::from_millis(100)).await;
    }
    let run = cluster.dsctl(&["raft", "leader", "--timeout", "2s", "-o", "json"]).await;
    shape::error(&run.expect(69).json(), 69);
    cluster.node(leader.at).spawn();
    cluster.wait_for_leader().await;
    let show = cluster.dsctl(&["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"], "{show:#}");
}

/// Without the log a node does not know what it promised: under its old raft id it would make a
/// leader of one that lacks what was acknowledged, and a token would be given twice.
#[tokio::test]
async fn a_node_without_its_log_does_not_vote_under_its_old_id() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let (lost, stale) = (follower(&leader), (leader.at + 2) % 3);
    cluster.node(stale).kill();
    let acquire = ["lock", "acquire", "kept", "--ttl", "1h", "--timeout", "20s", "-o", "json"];
    let held = cluster.dsctl(&acquire).await.ok();
    cluster.kill_all();
    let log = cluster.node(lost).data_dir.join("log");
    std::fs::remove_dir_all(&log).unwrap_or_else(|e| panic!("{e}"));
    cluster.node(stale).spawn();
    for _ in 0..2 {
        let node = cluster.node(lost);
        node.spawn();
        let code = node.exit_code(Duration::from_secs(30)).await;
        assert_eq!(code, 70, "{}", node.tail(20));
        let said = node.logged();
        assert!(said.contains(&format!("{} holds no log", log.display())), "{said}");
        assert!(said.contains("move the whole data directory away"), "{said}");
    }
    assert_eq!(cluster.leader().await, None, "one of three leads");
    // As the text says: it joins anew, and what was acknowledged is there.
    cluster.node(lost).wipe();
    cluster.node(lost).spawn();
    cluster.node(leader.at).spawn();
    cluster.wait_for_leader().await;
    cluster
        .wait_until("the wiped node to vote again", async || {
            let leader = cluster.leader().await?;
            let views = cluster.raft().await;
            let view = views.get(leader.at)?.as_ref()?;
            (view.voters.len() == 3 && view.learners.is_empty() && !view.joint).then_some(())
        })
        .await;
    let show = cluster.dsctl(&["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"], "{show:#}");
}

#[tokio::test]
async fn leadership_can_be_handed_to_each_node_in_turn() {
    let cluster = Cluster::start(3).await;
    cluster.dsctl(&["lock", "acquire", "kept", "--ttl", "1h", "-o", "json"]).await.ok();
    for at in 0..3 {
        let to = cluster.nodes.get(at).map(|n| n.name.clone()).unwrap_or_default();
        cluster
            .wait_until("the leadership to arrive", async || {
                let run = cluster.dsctl(&["raft", "transfer", &to, "-o", "json"]).await;
                let leader = cluster.leader().await?;
                (leader.at == at && run.code == 0).then_some(())
            })
            .await;
    }
    cluster.dsctl(&["lock", "validate", "kept", "--token", "1"]).await.expect(0);
}
