//! The state of queues in the nodes' own log: the same on all nodes, whole in a snapshot, whole in a
//! backup.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::dev::lock_node;
use dsd::raft::EngineOptions;
use dsd::run::real_host;
use dsd::telemetry::{Recent, Telemetry};
use dsync::CallOptions;
use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync_core::config::NodeConfig;
use dsync_core::node::Role;
use dsync_core::queue::{
    Command, JobView, NewJob, PAYLOAD_MAX, Pushed, Receipt, Settled, State, Totals,
};
use dsync_tests::jobs::hand::{ids, job, receipts};
use dsync_tests::jobs::{Hand, Load, Mix};
use dsync_tests::process::cluster::{ELECTION_PATIENCE, client_of};
use dsync_tests::process::ports::Ports;
use dsync_tests::process::{Cluster, Plan};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const LONG: Duration = Duration::from_secs(3_600);
const NONE: Duration = Duration::ZERO;
/// Entries between two snapshots.
const EVERY: u64 = 40;

async fn wait_until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + ELECTION_PATIENCE;
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {ELECTION_PATIENCE:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// The hash of the state that all have, if all have applied the same. Ends the test if it differs.
fn one_state(views: &[RaftStatus]) -> Option<u64> {
    let first = views.first()?;
    let same =
        |view: &RaftStatus| view.applied == first.applied && view.applied == view.last_log_index;
    if !views.iter().all(same) {
        return None;
    }
    let hashes: Vec<u64> = views.iter().map(|view| view.state_hash).collect();
    assert!(hashes.iter().all(|hash| *hash == first.state_hash), "{hashes:x?}");
    Some(first.state_hash)
}

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
    let journal = load.finish(&cluster.client("judge"), &queue, Duration::from_secs(60)).await;
    let dead = dsync_tests::jobs::dead_ids(&cluster.client("judge"), &queue).await;
    let found = journal.judge(&dead, true);
    assert!(found.broken.is_empty(), "{:#?}", found.broken);
    let hash = same_everywhere(&cluster).await;
    println!("{} jobs, state {hash:016x}", found.pushed);
    assert_ne!(hash, before);
    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    same_everywhere(&cluster).await;
    Hand::new(cluster.client("audit"), "orders").audit().await;
}

/// Three nodes in this process: a snapshot every 40 entries is a setting that `dsd` does not offer.
struct Local {
    nodes: Vec<Option<RunningNode>>,
    configs: Vec<NodeConfig>,
    _folder: TempDir,
    _ports: Ports,
}

impl Local {
    async fn start() -> Self {
        let (folder, mut ports) = (TempDir::new().unwrap(), Ports::claim());
        let addresses = [ports.take(), ports.take(), ports.take()];
        let config = |at| NodeConfig {
            role: Role::Queue,
            node_id: format!("node-queue-{}", at + 1),
            ..lock_node(at, &addresses, folder.path())
        };
        let configs = (0..3).map(config).collect();
        let nodes = vec![None, None, None];
        let mut local = Self { nodes, configs, _folder: folder, _ports: ports };
        for at in 0..3 {
            local.run(at).await;
        }
        local.leader().await;
        local
    }

    async fn run(&mut self, at: usize) {
        let engine = EngineOptions { snapshot_every: EVERY, ..EngineOptions::default() };
        let host = Host { engine, ..real_host(1) };
        let (config, telemetry) = (self.configs[at].clone(), Telemetry::new(Recent::default()));
        let node = RunningNode::start(config, Vec::new(), telemetry, host).await;
        self.nodes[at] = Some(node.unwrap());
    }

    async fn stop(&mut self, at: usize) {
        self.nodes[at].take().unwrap().stop().await;
    }

    fn hand(&self, queue: &str) -> Hand {
        let endpoints = self.configs.iter().map(|config| config.advertise.clone()).collect();
        Hand::new(client_of(endpoints, "state"), queue)
    }

    async fn ask(&self, at: usize, request: AdminRequest) -> Option<AdminReply> {
        self.nodes[at].as_ref()?;
        let options = CallOptions {
            timeout: Duration::from_secs(5),
            target: Some(self.configs[at].node_id.clone()),
            ..CallOptions::default()
        };
        let client = client_of(vec![self.configs[at].advertise.clone()], "state");
        client.admin(request, options).await.ok()?.result.ok()
    }

    async fn status(&self, at: usize) -> Option<RaftStatus> {
        let reply = self.ask(at, AdminRequest::RaftStatus).await?;
        let AdminReply::Raft(status) = reply else { return None };
        Some(*status)
    }

    async fn leader(&self) -> usize {
        wait_until("a leader", async || {
            for at in 0..3 {
                let Some(view) = self.status(at).await else { continue };
                let fresh = view.quorum_ack_age_ms.is_some_and(|age| age < 1_000);
                if view.state == "leader" && fresh {
                    return Some(at);
                }
            }
            None
        })
        .await
    }

    async fn converge(&self) -> Vec<RaftStatus> {
        wait_until("one state on all nodes", async || {
            let mut views = Vec::new();
            for at in 0..3 {
                views.push(self.status(at).await?);
            }
            one_state(&views).map(|_| views)
        })
        .await
    }

    /// Hands leadership to that node.
    async fn lead(&self, at: usize) {
        let to = self.configs[at].node_id.clone();
        let client = self.hand("q").client().clone();
        wait_until("the leadership to arrive", async || {
            let options = CallOptions { timeout: Duration::from_secs(5), ..CallOptions::default() };
            let request = AdminRequest::RaftTransfer { to: to.clone() };
            drop(client.admin(request, options).await);
            (self.leader().await == at).then_some(())
        })
        .await;
    }

    /// Far more entries than a snapshot leaves in the log, one after the other.
    async fn make_history(&self) {
        let hand = self.hand("history");
        for number in 0..EVERY {
            hand.create([job(&format!("h-{}-{number}", rand::random::<u32>()), "h")]).await;
            let taken = hand.take(LONG, NONE).await;
            assert_eq!(hand.ack(vec![taken.receipt]).await, [Settled::Done]);
        }
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
    let mut local = Local::start().await;
    let hand = local.hand("q");
    let behind = (local.leader().await + 1) % 3;
    let last = local.status(behind).await.unwrap().last_log_index;
    local.stop(behind).await;
    let (leased, done) = fill(&hand).await;
    local.make_history().await;
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
    std::fs::remove_dir_all(&local.configs[wiped].data_dir).unwrap();
    local.make_history().await;
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
