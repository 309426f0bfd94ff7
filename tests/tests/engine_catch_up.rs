//! A node that is so far behind that the log it misses is gone gets a snapshot, and then serves.
//!
//! The nodes run in this process, on loopback and real files: a snapshot every 40 entries instead
//! of every 20 000 is a setting that `dsd` does not offer.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::dev::lock_node;
use dsd::raft::EngineOptions;
use dsd::run::real_host;
use dsd::telemetry::{Recent, Telemetry};
use dsync::api::{AdminReply, AdminRequest, LockReply, LockRequest, RaftStatus};
use dsync::{CallOptions, Client};
use dsync_core::config::NodeConfig;
use dsync_core::lock::{Command, Event, EventKind, Outcome, Token};
use dsync_tests::load::holdings::{self, acquire, call, name, picture, request};
use dsync_tests::process::cluster::{ELECTION_PATIENCE, client_of};
use dsync_tests::process::ports::Ports;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Entries between two snapshots.
const EVERY: u64 = 40;
/// Long enough that no lease ends during a test.
const TTL_MS: u64 = 3_600_000;

/// Three nodes in this process.
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
        let configs = (0..3).map(|at| lock_node(at, &addresses, folder.path())).collect();
        let nodes = vec![None, None, None];
        let mut local = Self { nodes, configs, _folder: folder, _ports: ports };
        for at in 0..3 {
            local.run(at).await;
        }
        local.leader().await;
        local
    }

    async fn run(&mut self, at: usize) {
        let host = Host {
            engine: EngineOptions { snapshot_every: EVERY, ..EngineOptions::default() },
            ..real_host(1)
        };
        let telemetry = Telemetry::new(Recent::default());
        let config = self.configs[at].clone();
        self.nodes[at] =
            Some(RunningNode::start(config, Vec::new(), telemetry, host).await.unwrap());
    }

    async fn stop(&mut self, at: usize) {
        self.nodes[at].take().unwrap().stop().await;
    }

    fn client(&self) -> Client {
        client_of(self.configs.iter().map(|c| c.advertise.clone()).collect(), "catch-up")
    }

    async fn status(&self, at: usize) -> Option<RaftStatus> {
        self.nodes[at].as_ref()?;
        let config = &self.configs[at];
        let options = CallOptions {
            timeout: Duration::from_secs(2),
            target: Some(config.node_id.clone()),
            ..CallOptions::default()
        };
        let client = client_of(vec![config.advertise.clone()], "catch-up");
        let answer = client.admin(AdminRequest::RaftStatus, options).await.ok()?;
        let AdminReply::Raft(status) = answer.result.ok()? else { return None };
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

    /// Waits until all nodes have applied the same, and compares what came of it.
    async fn converge(&self) -> Vec<RaftStatus> {
        wait_until("one state on all nodes", async || {
            let mut views = Vec::new();
            for at in 0..3 {
                views.push(self.status(at).await?);
            }
            let same = views.windows(2).all(|v| v[0].applied == v[1].applied);
            let all = views.iter().all(|v| v.applied == v.last_log_index);
            if same && all {
                let hashes: Vec<u64> = views.iter().map(|v| v.state_hash).collect();
                assert!(hashes.windows(2).all(|h| h[0] == h[1]), "{hashes:x?}");
            }
            (same && all).then_some(views)
        })
        .await
    }

    /// Hands leadership to that node.
    async fn lead(&self, at: usize) {
        let to = self.configs[at].node_id.clone();
        wait_until("the leadership to arrive", async || {
            let options = CallOptions { timeout: Duration::from_secs(5), ..CallOptions::default() };
            let request = AdminRequest::RaftTransfer { to: to.clone() };
            let moved = self.client().admin(request, options).await;
            drop(moved);
            (self.leader().await == at).then_some(())
        })
        .await;
    }
}

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

async fn events(client: &Client, from_index: u64) -> (Vec<Event>, u64, bool) {
    let reply = call(client, LockRequest::Events { from_index, wait_ms: 2_000 }).await;
    let LockReply::Events { items, next_index, gap } = reply else { panic!("{reply:?}") };
    (items, next_index, gap)
}

/// Far more entries than a snapshot leaves in the log, one after the other.
async fn make_history(client: &Client) {
    let session = holdings::open(client, "history", TTL_MS).await;
    for seq in 1..=3 * EVERY {
        let lock = format!("made-{}", seq % 7);
        let owner = format!("maker-{seq}");
        let reply = call(client, request(session, seq, acquire(&lock, &owner, TTL_MS))).await;
        let taken =
            matches!(reply, LockReply::Outcome(Outcome::Granted(_) | Outcome::Queued { .. }));
        assert!(taken, "{reply:?}");
    }
}

fn purged_past(view: &RaftStatus, index: u64) {
    assert!(view.purged > index, "{} purged up to {}, not {index}", view.node, view.purged);
}

/// What a watcher, the holders and the next ones see of a node that leads after a snapshot.
async fn serves(client: &Client, watched: u64, held: &[holdings::Picture]) {
    assert_eq!(picture(client).await, held, "holders, tokens and waiters");
    let (_, next, gap) = events(client, watched).await;
    assert!(gap, "events up to the snapshot are not known here");
    let session = holdings::open(client, "later", TTL_MS).await;
    let reply = call(client, request(session, 1, acquire("later", "later", 0))).await;
    let LockReply::Outcome(Outcome::Granted(grants)) = reply else { panic!("{reply:?}") };
    let largest = held.iter().flat_map(|(_, held, _)| held).map(|(_, _, t)| *t).max();
    assert!(Some(grants[0].token.0) > largest, "{grants:?} after {largest:?}");
    let (items, _, gap) = events(client, next).await;
    let granted = items.iter().any(|event| {
        matches!(&event.kind, EventKind::Granted { grant, .. } if grant.token == grants[0].token)
    });
    assert!(!gap && granted, "{items:?}");
    let release = Command::Release {
        lock: name("later"),
        token: Some(Token(grants[0].token.0)),
        owner: None,
        all: true,
    };
    call(client, request(session, 2, release)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_gets_a_snapshot_and_then_leads() {
    let mut local = Local::start().await;
    let client = local.client();
    let session = holdings::open(&client, "holders", TTL_MS).await;
    holdings::hold(&client, session, "lock", 20).await;
    let (_, watched, _) = events(&client, 0).await;
    let behind = (local.leader().await + 1) % 3;
    let last = local.status(behind).await.unwrap().last_log_index;
    local.stop(behind).await;
    make_history(&client).await;
    let leader = local.leader().await;
    let view = wait_until("the log to be purged", async || {
        local.status(leader).await.filter(|view| view.purged > last)
    })
    .await;
    let held = picture(&client).await;
    local.run(behind).await;
    let views = local.converge().await;
    assert!(views[behind].snapshot > last, "{:?}", views[behind]);
    // Its log begins behind the snapshot: what it missed did not come entry by entry.
    purged_past(&views[behind], last);
    assert!(views[behind].purged >= view.purged, "{:?}", views[behind]);
    assert_eq!(picture(&client).await, held);
    local.lead(behind).await;
    serves(&client, watched, &held).await;

    // What it has on disk by now is as good.
    local.stop(behind).await;
    local.run(behind).await;
    let held = picture(&client).await;
    local.converge().await;
    local.lead(behind).await;
    serves(&client, watched, &held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_gets_a_snapshot_votes_and_leads() {
    let mut local = Local::start().await;
    let client = local.client();
    let (_, watched, _) = events(&client, 0).await;
    make_history(&client).await;
    let leader = local.leader().await;
    let wiped = (leader + 1) % 3;
    let old = local.status(wiped).await.unwrap().id;
    local.stop(wiped).await;
    std::fs::remove_dir_all(&local.configs[wiped].data_dir).unwrap();
    purged_past(&local.status(leader).await.unwrap(), 1);
    let held = picture(&client).await;
    local.run(wiped).await;
    wait_until("the wiped node to vote again", async || {
        let view = local.status(local.leader().await).await?;
        let clean = view.voters.len() == 3 && view.learners.is_empty() && !view.joint;
        (clean && view.voters.iter().all(|(_, _, id)| *id != old)).then_some(())
    })
    .await;
    let views = local.converge().await;
    purged_past(&views[wiped], 1);
    local.lead(wiped).await;
    serves(&client, watched, &held).await;
}
