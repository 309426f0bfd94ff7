//! Three nodes in this process, each of which can be killed alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::net::{Network as _, TcpNetwork};
use dsync::{CallOptions, Client, ClientConfig, Fault};
use dsync_core::Code;
use dsync_core::node::Role;
use rand::Rng as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::Broken;
use crate::assembly::CannotStart;
use crate::dev::Ports;
use crate::telemetry::Recent;
use crate::{dev, exit};

/// Nodes of a cluster.
pub(super) const NODES: usize = 3;
/// Ports below those that the system gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 21_000..32_000;
/// Tries to find ports that nobody else takes meanwhile.
const TRIES: usize = 5;
/// Longest wait for a leader.
const ELECTED_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The nodes of one role, by number.
#[derive(Debug)]
pub(super) struct Cluster {
    role: Role,
    live: Vec<Option<LiveNode>>,
    asked: Vec<Client>,
    ports: Ports,
    data: PathBuf,
    recent: Recent,
}

/// Starts lock nodes, queue nodes and cache nodes on free ports of this host.
pub(super) async fn start(data: &Path, recent: &Recent) -> Result<[Cluster; 3], Broken> {
    let mut last = Broken::new("no free ports");
    for _ in 0..TRIES {
        let mut free = free_ports(3 * NODES).await?;
        let (cache, queue) = (free.split_off(2 * NODES), free.split_off(NODES));
        let ports = Ports { lock: free, queue, cache };
        let mut all = [Role::Lock, Role::Queue, Role::Cache]
            .map(|role| Cluster::new(role, ports.clone(), data, recent.clone()));
        let started = async {
            for cluster in &mut all {
                cluster.start_all().await?;
            }
            Ok(())
        };
        match started.await {
            Ok(()) => return Ok(all),
            Err(error @ CannotStart { .. }) if error.exit == exit::UNAVAILABLE => {
                last = Broken::new(error.what);
            }
            Err(error) => return Err(Broken::new(error.what)),
        }
    }
    Err(last)
}

impl Cluster {
    fn new(role: Role, ports: Ports, data: &Path, recent: Recent) -> Self {
        let live = (0..NODES).map(|_| None).collect();
        let mut cluster =
            Self { role, live, asked: Vec::new(), ports, data: data.to_owned(), recent };
        cluster.asked =
            cluster.nodes().into_iter().map(|(_, address)| client_of(&address)).collect();
        cluster
    }

    async fn start_all(&mut self) -> Result<(), CannotStart> {
        for number in 0..NODES {
            self.start_node(number).await?;
        }
        Ok(())
    }

    /// Starts one, on what it left on disk if it ran before.
    pub(super) async fn start_node(&mut self, number: usize) -> Result<(), CannotStart> {
        let config = dev::node(self.role, number, &self.ports, &self.data);
        let node = LiveNode::start(config, self.recent.clone()).await?;
        if let Some(place) = self.live.get_mut(number) {
            *place = Some(node);
        }
        Ok(())
    }

    /// Kills one: every task of it ends where it stands, with no goodbye to anyone.
    pub(super) async fn kill(&mut self, number: usize) -> Result<(), Broken> {
        let node = self.live.get_mut(number).and_then(Option::take);
        node.ok_or_else(|| Broken::new("that node does not run"))?.end(End::Kill).await
    }

    /// Takes all down in good order.
    pub(super) async fn stop(mut self) -> Result<(), Broken> {
        let nodes: Vec<LiveNode> = self.live.iter_mut().filter_map(Option::take).collect();
        let ended = futures::future::join_all(nodes.into_iter().map(|n| n.end(End::Stop))).await;
        ended.into_iter().collect()
    }

    /// Names and addresses.
    pub(super) fn nodes(&self) -> Vec<(String, String)> {
        let node = |number| dev::node(self.role, number, &self.ports, &self.data);
        (0..NODES).map(node).map(|node| (node.node_id, node.advertise)).collect()
    }

    /// The number of the node of that name.
    pub(super) fn number(&self, name: &str) -> Result<usize, Broken> {
        let found = self.nodes().iter().position(|(node, _)| node == name);
        found.ok_or_else(|| Broken::new(format!("no node is named {name}")))
    }

    /// What each node itself says of its Raft.
    pub(super) async fn statuses(&self) -> Vec<Result<RaftStatus, Fault>> {
        futures::future::join_all(self.asked.iter().map(status)).await
    }

    /// The node that leads: the highest term, acknowledged by a quorum just now.
    pub(super) async fn leader(&self) -> Result<RaftStatus, Broken> {
        let begun = Instant::now();
        loop {
            let all: Vec<_> = self.statuses().await.into_iter().filter_map(Result::ok).collect();
            let term = all.iter().map(|status| status.term).max().unwrap_or_default();
            let found = all.into_iter().find(|status| {
                let fresh =
                    status.quorum_ack_age_ms.is_some_and(|a| a < status.election_timeout_ms.1);
                status.state == "leader" && status.term == term && fresh
            });
            if let Some(leader) = found {
                return Ok(leader);
            }
            if begun.elapsed() > ELECTED_WITHIN {
                let limit = ELECTED_WITHIN.as_secs();
                return Err(Broken::new(format!("no leader was elected within {limit} s")));
            }
            sleep(LOOK).await;
        }
    }
}

async fn status(of: &Client) -> Result<RaftStatus, Fault> {
    let options = CallOptions { timeout: Duration::from_secs(1), ..CallOptions::default() };
    let reply = of.admin(AdminRequest::RaftStatus, options).await?.result?;
    let AdminReply::Raft(status) = reply else {
        return Err(Fault::new(Code::Internal, format!("a reply out of place: {reply:?}")));
    };
    Ok(*status)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A client that asks one node alone.
pub(super) fn client_of(address: &str) -> Client {
    let config = ClientConfig {
        endpoints: vec![address.to_owned()],
        connect_timeout: Duration::from_millis(500),
        name: "demo".to_owned(),
    };
    Client::new(config, Arc::new(TcpNetwork)).fail_fast()
}

async fn free_ports(count: usize) -> Result<Vec<u16>, Broken> {
    let mut ports = Vec::new();
    // Held until all are chosen, so that none is chosen twice.
    let mut held = Vec::new();
    for _ in 0..1_000 {
        let port = rand::rng().random_range(PORTS);
        if let Ok(listener) = TcpNetwork.listen(&address(port)).await {
            held.push(listener);
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    Err(Broken::new(format!("no {count} free ports from {} to {}", PORTS.start, PORTS.end)))
}

/// How a node ends.
#[derive(Debug)]
enum End {
    Stop,
    Kill,
}

/// A node on a thread and a runtime of its own.
#[derive(Debug)]
struct LiveNode {
    end: Option<oneshot::Sender<End>>,
    thread: Option<JoinHandle<()>>,
}

impl LiveNode {
    async fn start(
        config: dsync_core::config::NodeConfig,
        recent: Recent,
    ) -> Result<Self, CannotStart> {
        let (up, is_up) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let failed = |why: &dyn std::fmt::Display| CannotStart {
            what: format!("the node's thread does not run: {why}"),
            exit: exit::INTERNAL,
        };
        let thread = std::thread::Builder::new()
            .name(config.node_id.clone())
            .spawn(move || live(config, &recent, up, ended))
            .map_err(|error| failed(&error))?;
        is_up.await.map_err(|gone| failed(&gone))??;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }

    async fn end(mut self, how: End) -> Result<(), Broken> {
        self.ask_to_end(how);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => Err(Broken::new("the node's thread panicked")),
        }
    }

    fn ask_to_end(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            // It ended by itself: nothing is left to do.
            drop(end.send(how));
        }
    }
}

impl Drop for LiveNode {
    fn drop(&mut self) {
        self.ask_to_end(End::Kill);
        if let Some(thread) = self.thread.take() {
            // A panic of the node was logged by its own thread.
            drop(thread.join());
        }
    }
}

/// The life of a node, on its thread.
fn live(
    config: dsync_core::config::NodeConfig,
    recent: &Recent,
    up: oneshot::Sender<Result<(), CannotStart>>,
    end: oneshot::Receiver<End>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let what = format!("cannot start the runtime: {error}");
            drop(up.send(Err(CannotStart { what, exit: exit::INTERNAL })));
            return;
        }
    };
    runtime.block_on(async {
        match dev::start_node(config, recent).await {
            Err(error) => drop(up.send(Err(error))),
            Ok(node) => {
                drop(up.send(Ok(())));
                if let Ok(End::Stop) = end.await {
                    node.stop().await;
                }
            }
        }
    });
    // Here the runtime is dropped, and with it whatever the node was doing: a kill.
}
