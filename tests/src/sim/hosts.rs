//! The hosts of a simulated cluster: nodes with their disks, clients, and what befalls them.

use std::sync::Arc;
use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::raft::EngineOptions;
use dsd::raft::fs::{Crash, SimFs};
use dsd::raft::log::{LogOptions, WriterKind};
use dsd::server::Limits;
use dsd::telemetry::{Recent, Telemetry};
use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::{CallOptions, Client, ClientConfig};
use dsync_core::Fault as Refusal;
use dsync_core::config::{CacheConfig, LogFormat, NodeConfig, Store, Timers};
use dsync_core::node::Role;

use super::faults::Fault;
use super::net::{Clock, SimNetwork};
use super::trace::Trace;

const PORT: u16 = 7_000;
/// The simulation's step: as long as a sync takes, and at most what a message does on its way.
const TICK: Duration = Duration::from_millis(2);

/// A simulation that draws everything from that seed, and ends with an error beyond that time.
pub(super) fn simulation(seed: u64, within_ms: u64) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .enable_random_order()
        .simulation_duration(Duration::from_millis(within_ms))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(15))
        .tcp_capacity(65_536)
        .build()
}

/// The name of a node.
pub(super) fn node_name(at: usize) -> String {
    format!("node-{at}")
}

/// The name of a client.
pub(super) fn client_name(number: u32) -> String {
    format!("client-{number}")
}

fn address(at: usize) -> String {
    format!("{}:{PORT}", node_name(at))
}

/// What all nodes are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) role: Role,
    pub(super) cache: CacheConfig,
}

/// The hosts of a run.
#[derive(Debug)]
pub(super) struct Hosts {
    seed: u64,
    nodes: usize,
    clients: u32,
    told: Told,
    /// The nodes' clocks show other times and go at other rates.
    clocks_differ: bool,
    trace: Trace,
    disks: Vec<SimFs>,
}

impl Hosts {
    pub(super) fn new(seed: u64, (nodes, clients): (usize, u32), told: Told) -> Self {
        let disks = (0..nodes).map(|_| SimFs::new()).collect();
        let trace = Trace::default();
        Self { seed, nodes, clients, told, clocks_differ: false, trace, disks }
    }

    /// The same, with clocks that show other times and go at rates that differ by up to 4 %.
    pub(super) fn whose_clocks_differ(self) -> Self {
        Self { clocks_differ: true, ..self }
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes
    }

    fn config(&self, at: usize) -> NodeConfig {
        NodeConfig {
            node_id: node_name(at),
            role: self.told.role,
            host: "0.0.0.0".to_owned(),
            port: PORT,
            advertise: address(at),
            peers: (0..self.nodes).filter(|n| *n != at).map(address).collect(),
            cluster: Vec::new(),
            data_dir: format!("/data/{at}"),
            store: Store::Raft,
            timers: Timers::default(),
            redis: None,
            lock_delay_ms: 1_000,
            lock_wound_grace_ms: 2_000,
            log_format: LogFormat::Text,
            log_level: "info".to_owned(),
            metrics_addr: None,
            cache: self.told.cache,
        }
    }

    /// Adds a node, which tells each time that it runs.
    pub(super) fn add_node(
        &self,
        sim: &mut turmoil::Sim<'_>,
        at: usize,
        runs: impl Fn(&RunningNode) + Clone + 'static,
    ) {
        let config = self.config(at);
        let number = u64::try_from(at).unwrap_or(0);
        let clock = if self.clocks_differ { Clock::of(number) } else { Clock::default() };
        let net = SimNetwork::new(&node_name(at), self.trace.clone()).with_clock(clock);
        let host = Host {
            net: Arc::new(net),
            fs: Arc::new(self.disks.get(at).cloned().unwrap_or_default()),
            log: LogOptions {
                writer: WriterKind::Task { sync_takes: Duration::from_millis(2) },
                ..LogOptions::default()
            },
            limits: Limits::default(),
            engine: EngineOptions::default(),
            seed: self.seed.wrapping_mul(31).wrapping_add(number),
            started_ms: 0,
        };
        sim.host(node_name(at), move || {
            let (config, host, runs) = (config.clone(), host.clone(), runs.clone());
            async move {
                let telemetry = Telemetry::new(Recent::default());
                let node = RunningNode::start(config, Vec::new(), telemetry, host).await?;
                runs(&node);
                Err(node.failed().await)?
            }
        });
    }

    /// A client on that host, of all nodes.
    pub(super) fn client(&self, host: &str) -> Client {
        self.client_of(host, (0..self.nodes).map(address).collect())
    }

    /// A client on that host, of one node.
    pub(super) fn client_at(&self, host: &str, at: usize) -> Client {
        self.client_of(host, vec![address(at)]).fail_fast()
    }

    fn client_of(&self, host: &str, endpoints: Vec<String>) -> Client {
        let connect_timeout = Duration::from_secs(1);
        let config = ClientConfig { endpoints, connect_timeout, name: host.to_owned() };
        Client::new(config, Arc::new(SimNetwork::new(host, self.trace.clone())))
    }

    /// Has a fault happen, or mends it.
    pub(super) fn inflict(&self, sim: &mut turmoil::Sim<'_>, fault: Fault) {
        self.trace.add(&format!("{fault:?}"));
        match fault {
            Fault::Kill(at) => self.crash(sim, at, Crash::Process),
            Fault::PowerCut(at, seed) => self.crash(sim, at, Crash::Scattered(seed)),
            Fault::Start(at) if !sim.is_host_running(node_name(at)) => sim.bounce(node_name(at)),
            Fault::Start(_) => {}
            Fault::Cut(a, b) => sim.partition(node_name(a), node_name(b)),
            Fault::CutOneWay(a, b) => sim.partition_oneway(node_name(a), node_name(b)),
            Fault::Isolate(at) => {
                for other in self.others(at) {
                    sim.partition(node_name(at), other);
                }
            }
            Fault::CutOff(at) => {
                for other in self.other_nodes(at) {
                    sim.partition(node_name(at), other);
                }
            }
            Fault::CutOffTwo(a, b) => {
                for other in (0..self.nodes).filter(|n| *n != a && *n != b).map(node_name) {
                    sim.partition(node_name(a), other.as_str());
                    sim.partition(node_name(b), other);
                }
            }
            Fault::Hold(at) => {
                for other in self.other_nodes(at) {
                    sim.hold(node_name(at), other);
                }
            }
            Fault::HoldBetween(a, b) => sim.hold(node_name(a), node_name(b)),
            Fault::Heal => {
                for at in 0..self.nodes {
                    for other in self.others(at) {
                        // What was held back comes now.
                        sim.release(node_name(at), other);
                    }
                }
            }
        }
    }

    fn other_nodes(&self, at: usize) -> impl Iterator<Item = String> {
        (0..self.nodes).filter(move |n| *n != at).map(node_name)
    }

    fn others(&self, at: usize) -> Vec<String> {
        self.other_nodes(at).chain((0..self.clients).map(client_name)).collect()
    }

    fn crash(&self, sim: &mut turmoil::Sim<'_>, at: usize, how: Crash) {
        if !sim.is_host_running(node_name(at)) {
            return;
        }
        sim.crash(node_name(at));
        if let Some(disk) = self.disks.get(at) {
            disk.crash(how);
        }
    }
}

/// Asks every node for its Raft status; who does not answer is in the trace.
pub(super) async fn ask_all(client: &Client, nodes: usize, trace: &Trace) -> Vec<RaftStatus> {
    let mut answers = Vec::new();
    for at in 0..nodes {
        match ask(client, &node_name(at)).await {
            Ok(AdminReply::Raft(status)) => answers.push(*status),
            other => trace.add(&format!("{} says at the end: {other:?}", node_name(at))),
        }
    }
    answers
}

/// Asks a node for its Raft status, a few times: a connection between two nodes that died while
/// they were cut off may be noticed only when it is used, and costs one request.
async fn ask(client: &Client, node: &str) -> Result<AdminReply, Refusal> {
    let mut tries = 3;
    loop {
        tries -= 1;
        let options = CallOptions {
            timeout: Duration::from_secs(5),
            target: Some(node.to_owned()),
            request_id: tries,
        };
        match client.admin(AdminRequest::RaftStatus, options).await.and_then(|a| a.result) {
            Err(refusal) if refusal.retryable && tries > 0 => {}
            answer => return answer,
        }
    }
}
