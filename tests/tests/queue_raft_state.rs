//! The state of queues in the nodes' own log: the same on all nodes, whole in a snapshot, whole in a
//! backup.
#![expect(
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::time::Duration;

use dsd::raft::EngineOptions;
use dsync::api::RaftStatus;
use dsync_core::node::Role;
use dsync_core::queue::{
    Command, JobView, NewJob, PAYLOAD_MAX, Pushed, Receipt, Settled, State, Totals,
};
use dsync_tests::jobs::hand::{ids, job, receipts};
use dsync_tests::jobs::{Hand, Load, Mix};
use dsync_tests::process::local::{Local, one_state, wait_until};
use dsync_tests::process::{Cluster, Plan};
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(3_600);
const NONE: Duration = Duration::ZERO;
/// Entries between two snapshots.
const EVERY: u64 = 40;

async fn start_processes() -> Cluster {
    let lines = "STORE=raft\n".to_owned();
    Cluster::start_plan(Plan { role: Some(Role::Queue), lines, ..Plan::default() }).await
}

async fn same_everywhere(cluster: &Cluster) -> u64 {
    cluster
        .wait_until("one state on all nodes", async || {
            let views: Option<Vec<RaftStatus>> = cluster.raft().await.into_iter().collect();
            one_state(&views?)
        })
        .await
}

/// Load of every kind, and a node that dies in the middle: afterwards all nodes have one state.
#[tokio::test]
async fn all_nodes_have_one_state_after_load() {
    let mut cluster = start_processes().await;
    let before = same_everywhere(&cluster).await;
    let queue = dsync_core::name::Name::parse("queue", "orders").unwrap();
    let pause = Duration::from_millis(5);
    let mix = Mix { producers: 4, consumers: 6, jobs: 3_000, rough: true, pause };
    let load = Load::start(|name| cluster.client(name), &queue, 11, mix);
    sleep(Duration::from_millis(800)).await;
    let follower = (cluster.wait_for_leader().await.at + 1) % 3;
    cluster.node(follower).kill();
    sleep(Duration::from_millis(800)).await;
    cluster.spawn_all().await;
    let found = load.judge(&cluster.client("judge"), &queue, true).await;
    let hash = same_everywhere(&cluster).await;
    println!("{} jobs, state {hash:016x}", found.pushed);
    assert_ne!(hash, before);
    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    same_everywhere(&cluster).await;
    Hand::new(cluster.client("audit"), "orders").audit().await;
}

/// A snapshot every 40 entries is a setting that `dsd` does not offer.
async fn start() -> Local {
    Local::start(Role::Queue, EngineOptions { snapshot_every: EVERY, ..EngineOptions::default() })
        .await
}

/// Far more entries than a snapshot leaves in the log, one after the other.
async fn make_history(local: &Local) {
    let hand = Hand::new(local.client(), "history");
    for number in 0..EVERY {
        hand.create([job(&format!("h-{}-{number}", rand::random::<u32>()), "h")]).await;
        let taken = hand.take(LONG, NONE).await;
        assert_eq!(hand.ack(vec![taken.receipt]).await, [Settled::Done]);
    }
}

/// Jobs in every state; gives the receipt of a leased one and of one that was acknowledged.
async fn fill(hand: &Hand) -> (Receipt, Receipt) {
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(PAYLOAD_MAX).collect();
    hand.create([job("done", ""), job("leased", "l"), job("bad", "b")]).await;
    let done = hand.take(LONG, NONE).await.receipt;
    assert_eq!(hand.ack(vec![done.clone()]).await, [Settled::Done]);
    let leased = hand.take(LONG, NONE).await.receipt;
    let bad = hand.take(LONG, NONE).await.receipt;
    let reject = Command::Reject { receipts: vec![bad], error: "never".to_owned() };
    assert_eq!(hand.settle(reject).await, [Settled::Dead]);
    hand.create([NewJob { delay_ms: 3_600_000, ..job("later", "z") }]).await;
    for number in 0..5 {
        hand.create([NewJob { priority: number % 3, ..job(&format!("r{number}"), large.clone()) }])
            .await;
    }
    (leased, done)
}

/// What can be seen of a queue, but for times, which go on.
async fn picture(hand: &Hand) -> (Vec<JobView>, Totals) {
    let mut all = Vec::new();
    for state in [State::Ready, State::Delayed, State::Leased, State::Dead] {
        let jobs = hand.peek(state, 0, 100).await.0;
        all.extend(jobs.into_iter().map(|job| JobView { age_ms: 0, time_ms: 0, ..job }));
    }
    (all, hand.stats().await.totals)
}

/// A node that leads after a snapshot knows all of it, and goes on.
async fn serves(hand: &Hand, leased: &Receipt, done: &Receipt) {
    hand.audit().await;
    let taken = hand.pop(1, LONG, NONE).await;
    assert_eq!(ids(&taken), ["r2"], "the highest priority");
    assert!(taken[0].payload.len() == PAYLOAD_MAX && taken[0].payload[255] == 255);
    assert!(taken[0].receipt.token > leased.token, "tokens go on rising");
    let release = Command::Release { receipts: vec![taken[0].receipt.clone()] };
    assert_eq!(hand.settle(release).await, [Settled::Done]);
    let extend = Command::Extend { receipts: vec![leased.clone()], lease_ms: 3_600_000 };
    assert_eq!(hand.settle(extend).await, [Settled::Done], "the lease goes on");
    assert_eq!(hand.ack(vec![done.clone()]).await, [Settled::Done], "as before");
    let again = hand.push([job("done", "")]).await;
    assert_eq!(again, [Pushed::Duplicate { state: State::Done }], "the window is kept");
}

/// One node misses so much that only a snapshot helps, another one is wiped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_has_every_job() {
    let mut local = start().await;
    let hand = Hand::new(local.client(), "q");
    let behind = (local.leader().await + 1) % 3;
    let last = local.status(behind).await.unwrap().last_log_index;
    local.stop(behind).await;
    let (leased, done) = fill(&hand).await;
    make_history(&local).await;
    let before = picture(&hand).await;
    assert_eq!(before.0.len(), 8);
    let leader = local.leader().await;
    wait_until("the log to be purged", async || {
        local.status(leader).await.filter(|view| view.purged > last)
    })
    .await;
    local.run(behind).await;
    let views = local.converge().await;
    assert!(views[behind].snapshot > last && views[behind].purged > last, "{:?}", views[behind]);
    local.lead(behind).await;
    assert_eq!(picture(&hand).await, before);
    serves(&hand, &leased, &done).await;

    let wiped = (behind + 1) % 3;
    let old = local.status(wiped).await.unwrap().id;
    local.stop(wiped).await;
    local.wipe(wiped);
    make_history(&local).await;
    let before = picture(&hand).await;
    local.run(wiped).await;
    wait_until("the wiped node to vote again", async || {
        let view = local.status(local.leader().await).await?;
        let clean = view.voters.len() == 3 && view.learners.is_empty() && !view.joint;
        (clean && view.voters.iter().all(|(_, _, id)| *id != old)).then_some(())
    })
    .await;
    local.converge().await;
    local.lead(wiped).await;
    assert_eq!(picture(&hand).await, before);
    serves(&hand, &leased, &done).await;

    // And what all of them have on disk.
    for at in 0..3 {
        local.stop(at).await;
    }
    for at in 0..3 {
        local.run(at).await;
    }
    local.leader().await;
    local.converge().await;
    serves(&hand, &leased, &done).await;
}

/// `dsctl raft snapshot`: what a backup has comes back, what came later is gone.
#[tokio::test]
async fn a_backup_brings_the_queues_back() {
    let cluster = start_processes().await;
    let hand = Hand::new(cluster.client("hand"), "q");
    let (leased, _) = fill(&hand).await;
    let file = cluster.folder().join("backup");
    let file = file.to_str().unwrap();
    cluster.dsctl(&["raft", "snapshot", "save", file]).await.expect(0);
    let kept = picture(&hand).await;
    hand.create([job("new", "")]).await;
    assert_eq!(hand.ack(vec![leased.clone()]).await, [Settled::Done]);
    let later = hand.pop(3, LONG, NONE).await;
    assert_eq!(hand.moved(Command::PurgeDead { ids: Vec::new(), max: 9 }).await, 1);
    hand.at("other").create([job("x", "")]).await;
    cluster.dsctl(&["raft", "snapshot", "restore", file, "--yes"]).await.expect(0);
    assert_eq!(picture(&hand).await, kept);
    assert_eq!(hand.at("other").try_stats().await, None, "it came later");
    let settled = hand.ack(receipts(&later)).await;
    assert!(!settled.is_empty() && settled.iter().all(|one| *one == Settled::Stale), "{settled:?}");
    let taken = hand.take(LONG, NONE).await;
    let largest = later.iter().map(|job| job.receipt.token).max().unwrap();
    assert!(taken.receipt.token > largest, "no token comes twice");
    assert_eq!(hand.ack(vec![leased]).await, [Settled::Done], "it was leased in the backup");
    hand.audit().await;
    same_everywhere(&cluster).await;
}
