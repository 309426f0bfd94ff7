//! Three nodes in this process, on loopback and real files: for settings of the engine that `dsd`
//! does not offer.

use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::dev::{self, Ports as DevPorts};
use dsd::raft::EngineOptions;
use dsd::run::real_host;
use dsd::telemetry::{Recent, Telemetry};
use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::{CallOptions, Client};
use dsync_core::config::NodeConfig;
use dsync_core::node::Role;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::cluster::{ELECTION_PATIENCE, client_of};
use super::ports::Ports;

/// The nodes of one Raft group.
#[derive(Debug)]
pub struct Local {
    nodes: Vec<Option<RunningNode>>,
    configs: Vec<NodeConfig>,
    engine: EngineOptions,
    _folder: TempDir,
    _ports: Ports,
}

impl Local {
    /// Starts three nodes and waits until they have a leader.
    pub async fn start(role: Role, engine: EngineOptions) -> Self {
        let folder = TempDir::with_prefix("dsync-test-").expect("a temporary folder can be made");
        let mut ports = Ports::claim();
        let own: Vec<u16> = (0..3).map(|_| ports.take()).collect();
        let all = match role {
            Role::Lock => DevPorts { lock: own, ..DevPorts::default() },
            Role::Queue => DevPorts { queue: own, ..DevPorts::default() },
            Role::Cache => DevPorts { cache: own, ..DevPorts::default() },
        };
        let configs = (0..3).map(|at| dev::node(role, at, &all, folder.path())).collect();
        let nodes = vec![None, None, None];
        let mut local = Self { nodes, configs, engine, _folder: folder, _ports: ports };
        for at in 0..3 {
            local.run(at).await;
        }
        local.leader().await;
        local
    }

    fn config(&self, at: usize) -> &NodeConfig {
        self.configs.get(at).expect("a node of that place")
    }

    /// Starts a node that does not run.
    pub async fn run(&mut self, at: usize) {
        let host = Host { engine: self.engine, ..real_host(1) };
        let (config, telemetry) = (self.config(at).clone(), Telemetry::new(Recent::default()));
        let node = RunningNode::start(config, Vec::new(), telemetry, host).await;
        *self.nodes.get_mut(at).expect("a node of that place") = Some(node.expect("it starts"));
    }

    /// Stops a node.
    pub async fn stop(&mut self, at: usize) {
        let node = self.nodes.get_mut(at).and_then(Option::take);
        node.expect("it runs").stop().await;
    }

    /// Deletes the files of a node that does not run.
    pub fn wipe(&self, at: usize) {
        std::fs::remove_dir_all(&self.config(at).data_dir).expect("its files can be removed");
    }

    /// A client of all nodes.
    pub fn client(&self) -> Client {
        client_of(self.configs.iter().map(|config| config.advertise.clone()).collect(), "local")
    }

    /// What a node says of its Raft; `None` if it does not run or does not say.
    pub async fn status(&self, at: usize) -> Option<RaftStatus> {
        self.nodes.get(at)?.as_ref()?;
        let config = self.config(at);
        let options = CallOptions {
            timeout: Duration::from_secs(2),
            target: Some(config.node_id.clone()),
            ..CallOptions::default()
        };
        let client = client_of(vec![config.advertise.clone()], "local");
        let answer = client.admin(AdminRequest::RaftStatus, options).await.ok()?;
        let AdminReply::Raft(status) = answer.result.ok()? else { return None };
        Some(*status)
    }

    /// Waits for a leader; its place.
    pub async fn leader(&self) -> usize {
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
    pub async fn converge(&self) -> Vec<RaftStatus> {
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
    pub async fn lead(&self, at: usize) {
        let to = self.config(at).node_id.clone();
        wait_until("the leadership to arrive", async || {
            let options = CallOptions { timeout: Duration::from_secs(5), ..CallOptions::default() };
            let request = AdminRequest::RaftTransfer { to: to.clone() };
            // Whatever it said: who leads is looked at.
            drop(self.client().admin(request, options).await);
            (self.leader().await == at).then_some(())
        })
        .await;
    }
}

/// The hash of the state that all have, if all have applied the same. Ends the test if it differs.
pub fn one_state(views: &[RaftStatus]) -> Option<u64> {
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

/// Polls until there is a value, for as long as an election may take.
pub async fn wait_until<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + ELECTION_PATIENCE;
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {ELECTION_PATIENCE:?} for {what}");
        sleep(Duration::from_millis(50)).await;
    }
}
