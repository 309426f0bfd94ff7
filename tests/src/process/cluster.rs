//! A cluster of real processes in a folder of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::{CallOptions, Client, ClientConfig};
use dsync_core::node::Role;
use futures::future::join_all;
use rustix::process::Signal;
use tempfile::TempDir;

use super::dsctl::{self, Run};
use super::local;
use super::node::Node;
use super::panics::panics;
use super::ports::Ports;
use super::proxy::{Faults, Proxy};

/// What a cluster shall be like.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Nodes; 0 stands for 3.
    pub size: usize,
    /// What the nodes do.
    pub role: Option<Role>,
    /// More lines of every node's `.env` file.
    pub lines: String,
    /// Puts a fault proxy in front of every node.
    pub proxied: bool,
    /// Decides which pieces the proxies' faults hit.
    pub seed: u64,
}

/// Nodes, their files and ports; everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, `node-lock-1` (or of its role) first.
    pub nodes: Vec<Node>,
    /// The network between them, when it is proxied.
    pub faults: Faults,
    plan: Plan,
    proxies: Vec<Proxy>,
    ports: Ports,
    folder: Option<TempDir>,
}

/// A leader whom a quorum acknowledges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its place in [`Cluster::nodes`].
    pub at: usize,
    /// Its term.
    pub term: u64,
}

/// Time that an election may take on a loaded machine before a test gives up.
pub const ELECTION_PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// Writes the files of a cluster and starts nothing.
    pub fn prepare(plan: Plan) -> Self {
        let folder = TempDir::with_prefix("dsync-test-").expect("a temporary folder can be made");
        let mut ports = Ports::claim();
        let role = plan.role.unwrap_or(Role::Lock);
        let size = if plan.size == 0 { 3 } else { plan.size };
        let listen: Vec<u16> = (0..size).map(|_| ports.take()).collect();
        let advertise: Vec<u16> =
            if plan.proxied { (0..size).map(|_| ports.take()).collect() } else { listen.clone() };
        let nodes = (0..size)
            .map(|i| {
                let address = |port: &u16| format!("127.0.0.1:{port}");
                let peers: Vec<String> = advertise
                    .iter()
                    .enumerate()
                    .filter(|(j, _)| *j != i)
                    .map(|(_, p)| address(p))
                    .collect();
                let own = advertise.get(i).map(address).expect("one port per node");
                let lines = format!(
                    "PEER_ADDRESSES={}\nNODE_ADVERTISE={own}\n{}\n",
                    peers.join(","),
                    plan.lines
                );
                let name = format!("node-{role}-{}", i + 1);
                let port = listen.get(i).copied().expect("one port per node");
                let mut node = Node::prepare(folder.path(), &name, port, ports.take(), &lines);
                node.advertise = own;
                node.role = role;
                node
            })
            .collect();
        let faults = Faults::new(plan.seed);
        Self { nodes, faults, plan, proxies: Vec::new(), ports, folder: Some(folder) }
    }

    /// Starts `size` nodes and waits until they have a leader.
    pub async fn start(size: usize) -> Self {
        Self::start_plan(Plan { size, ..Plan::default() }).await
    }

    /// Starts a planned cluster and waits until it has a leader.
    pub async fn start_plan(plan: Plan) -> Self {
        let mut cluster = Self::prepare(plan);
        cluster.spawn_all().await;
        cluster.wait_for_leader().await;
        cluster
    }

    /// Starts every node that does not run, behind its proxy if there shall be one.
    pub async fn spawn_all(&mut self) {
        if self.plan.proxied && self.proxies.is_empty() {
            for node in &self.nodes {
                let proxy =
                    Proxy::start(&node.name, &node.advertise, &node.listen, self.faults.clone());
                self.proxies.push(proxy.await.expect("a claimed port can be listened on"));
            }
        }
        for node in self.nodes.iter_mut().filter_map(|n| (!n.is_running()).then_some(n)) {
            node.spawn();
        }
    }

    /// The folder that holds everything.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("taken only on drop").path()
    }

    /// A port that nothing uses.
    pub fn spare_port(&mut self) -> u16 {
        self.ports.take()
    }

    /// Where clients dial, all nodes, as `DSCTL_ENDPOINTS` wants it.
    pub fn endpoints(&self) -> String {
        self.nodes.iter().map(|n| n.listen.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Runs `dsctl` against all nodes.
    pub async fn dsctl(&self, arguments: &[&str]) -> Run {
        dsctl::run(&self.endpoints(), arguments).await
    }

    /// A client of all nodes.
    pub fn client(&self, name: &str) -> Client {
        client_of(self.nodes.iter().map(|n| n.listen.clone()).collect(), name)
    }

    /// What each running node says of its Raft; `None` for one that does not answer in a second.
    pub async fn raft(&self) -> Vec<Option<RaftStatus>> {
        join_all(self.nodes.iter().map(|node| async move {
            node.pid()?;
            let client = client_of(vec![node.listen.clone()], "raft-status");
            let options = CallOptions {
                timeout: Duration::from_secs(1),
                target: Some(node.name.clone()),
                ..CallOptions::default()
            };
            let answer = client.admin(AdminRequest::RaftStatus, options).await.ok()?;
            let AdminReply::Raft(status) = answer.result.ok()? else { return None };
            Some(*status)
        }))
        .await
    }

    /// The leader, if a node leads in the highest term and a quorum acknowledged it lately.
    pub async fn leader(&self) -> Option<Leader> {
        let views = self.raft().await;
        let highest = views.iter().flatten().map(|v| v.term).max()?;
        views.iter().enumerate().find_map(|(at, view)| {
            let view = view.as_ref()?;
            let fresh = view.quorum_ack_age_ms? <= view.election_timeout_ms.1;
            let leads = view.state == "leader" && view.term == highest && fresh;
            leads.then_some(Leader { at, term: view.term })
        })
    }

    /// Waits for a leader.
    pub async fn wait_for_leader(&self) -> Leader {
        self.wait_until("a leader", async || self.leader().await).await
    }

    /// Waits until every running node has applied all that the leader has committed.
    pub async fn wait_for_convergence(&self) {
        self.wait_until("all running nodes to apply all that is committed", async || {
            let leader = self.leader().await?;
            let views = self.raft().await;
            let goal = views.get(leader.at)?.as_ref()?.committed;
            let running = self.nodes.iter().filter(|n| n.pid().is_some()).count();
            let there = views.iter().flatten().filter(|v| v.applied >= goal).count();
            (there == running).then_some(())
        })
        .await;
    }

    /// Polls until there is a value; panics with every node's log after [`ELECTION_PATIENCE`].
    pub async fn wait_until<T>(&self, what: &str, poll: impl AsyncFnMut() -> Option<T>) -> T {
        local::wait_until(what, poll).await
    }

    /// Waits until every node votes once, `wiped` under a raft id that is not `old`, and no former
    /// self of any is left.
    pub async fn wait_for_rejoin(&self, wiped: &str, old: u64) {
        self.wait_until("the wiped node to vote again", async || {
            let leader = self.leader().await?;
            let views = self.raft().await;
            let view = views.get(leader.at)?.as_ref()?;
            let new = view.voters.iter().find(|(node, ..)| node == wiped).map(|(_, _, id)| *id)?;
            let all = view.voters.len() == self.nodes.len();
            let clean = all && view.learners.is_empty() && !view.joint;
            let gone = !view.voters.iter().any(|(_, _, id)| *id == old);
            (clean && gone && new != old).then_some(())
        })
        .await;
    }

    /// Raft id of the node of that place, which must be running.
    pub async fn raft_id(&self, at: usize) -> u64 {
        let views = self.raft().await;
        let id = views.get(at).and_then(|view| view.as_ref()).map(|view| view.id);
        id.unwrap_or_else(|| panic!("node {at} does not answer"))
    }

    /// Kills every node as `kill -9` does.
    pub fn kill_all(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
    }

    /// Asks every running node to stop and waits for it; gives the exit codes.
    pub async fn stop_all(&mut self) -> Vec<i32> {
        for node in self.nodes.iter().filter(|n| n.pid().is_some()) {
            node.signal(Signal::TERM);
        }
        let mut codes = Vec::new();
        for node in self.nodes.iter_mut().filter(|n| n.pid().is_some()) {
            codes.push(node.exit_code(Duration::from_secs(30)).await);
        }
        codes
    }

    /// The node of that place.
    pub fn node(&mut self, at: usize) -> &mut Node {
        self.nodes.get_mut(at).expect("a node of that place")
    }

    fn keep_folder(&mut self) -> Option<PathBuf> {
        self.folder.take().map(TempDir::keep)
    }
}

/// A client of those endpoints.
pub fn client_of(endpoints: Vec<String>, name: &str) -> Client {
    let config =
        ClientConfig { endpoints, connect_timeout: Duration::from_secs(2), name: name.to_owned() };
    Client::new(config, super::net())
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "the logs belong to a failed test's output")]
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        let panicked = self.nodes.iter().any(|node| !panics(&node.logged()).is_empty());
        if !panicked && !std::thread::panicking() {
            return;
        }
        for node in &self.nodes {
            eprintln!("-- the end of {}'s log\n{}", node.name, node.tail(40));
        }
        if let Some(folder) = self.keep_folder() {
            eprintln!("-- logs and data are kept in {}", folder.display());
        }
        // Each node that panicked fails the test when it is dropped, which comes next.
    }
}
