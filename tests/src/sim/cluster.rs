//! Runs a cluster under a plan of faults and collects what its clients see.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::raft::EngineOptions;
use dsd::raft::fs::{Crash, SimFs};
use dsd::raft::log::{LogOptions, WriterKind};
use dsd::raft::runtime::seed_this_thread;
use dsd::server::Limits;
use dsd::telemetry::{Recent, Telemetry};
use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::{CallOptions, Client, ClientConfig};
use dsync_core::Fault as Refusal;
use dsync_core::config::{CacheConfig, LogFormat, NodeConfig, Store, Timers};
use dsync_core::node::Role;
use parking_lot::Mutex;

use super::faults::{Fault, schedule};
use super::invariants::{Invariants, Looks, Watched};
use super::net::SimNetwork;
use super::trace::Trace;
use crate::history::{History, Recorder, SharedHistory, Us};
use crate::load::{Mix, left, work};

const PORT: u16 = 7_000;
/// The simulation's step: as long as a sync takes, and at most what a message does on its way.
const TICK: Duration = Duration::from_millis(2);
/// Everybody can wait so long for a leader after a fault is mended.
const RECOVERY: Us = 5_000_000;

/// Beyond the longest lease: when everything of clients that are gone must be gone too.
const ALL_OVER: Duration = Duration::from_secs(4);

/// What a run is made from.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Clients.
    pub clients: u32,
    /// Faults happen up to this time.
    pub faults_until_ms: u64,
    /// Then there is peace up to this time, in which everything must mend.
    pub until_ms: u64,
    /// What the clients do.
    pub mix: Mix,
}

impl Setup {
    /// A run of the usual size.
    pub fn new(seed: u64) -> Self {
        let mix = Mix { pause_ms: 200, hold_ms: 200, locks: 6, ..Mix::default() };
        Self { seed, nodes: 3, clients: 5, faults_until_ms: 20_000, until_ms: 32_000, mix }
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct Run {
    /// What the clients saw.
    pub history: History,
    /// What happened, in order.
    pub trace: Vec<String>,
    /// What each node said of its Raft at the end.
    pub nodes: Vec<RaftStatus>,
    /// Simulated time.
    pub simulated: Duration,
    /// How often the nodes were held against each other.
    pub looks: Looks,
}

/// The nodes that run, each in its place.
type Nodes = Rc<RefCell<Vec<Option<Watched>>>>;

/// What the hosts of a run share.
struct World {
    setup: Setup,
    trace: Trace,
    disks: Vec<SimFs>,
    /// Each node that runs.
    nodes: Nodes,
}

/// Runs one seed to its end.
///
/// # Panics
/// When an invariant is broken; the text names the seed.
pub fn run(setup: Setup) -> Run {
    seed_this_thread(setup.seed);
    let trace = Trace::default();
    let now = Arc::new(AtomicU64::new(0));
    let recorder = recorder(&now, setup.mix);
    let mut sim = turmoil::Builder::new()
        .rng_seed(setup.seed)
        .enable_random_order()
        .simulation_duration(Duration::from_millis(setup.until_ms + 200_000))
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(15))
        .tcp_capacity(65_536)
        .build();
    let world = World {
        setup,
        trace: trace.clone(),
        disks: (0..setup.nodes).map(|_| SimFs::new()).collect(),
        nodes: Rc::new(RefCell::new((0..setup.nodes).map(|_| None).collect())),
    };
    for at in 0..setup.nodes {
        world.add_node(&mut sim, at);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for number in 0..setup.clients {
        let client = world.client(&format!("client-{number}"));
        let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&stop));
        let (seed, mix) = (setup.seed, setup.mix);
        sim.client(format!("client-{number}"), async move {
            work(client, recorder, number, seed, mix, stop).await;
            Ok(())
        });
    }
    let mut plan = schedule(setup.seed, setup.nodes, setup.faults_until_ms).into_iter().peekable();
    let mut outage = None;
    let mut invariants = Invariants::new(setup.seed, setup.nodes);
    loop {
        let at = u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX);
        now.store(at * 1_000, Ordering::Relaxed);
        while let Some((_, fault)) = plan.next_if(|(due, _)| *due <= at) {
            world.inflict(&mut sim, fault, &recorder, &mut outage);
        }
        if at >= setup.until_ms {
            stop.store(true, Ordering::Relaxed);
        }
        let done = sim.step().unwrap_or_else(|e| panic!("seed {}: {e}", setup.seed));
        invariants.hold(&world.nodes.borrow());
        if done {
            break;
        }
    }
    let nodes = world.ask_all(&mut sim, &recorder);
    let (history, simulated) = (recorder.history(), sim.elapsed());
    Run { history, trace: trace.lines(), nodes, simulated, looks: invariants.looks() }
}

/// A history on simulated time: that of the running host, else that of the last step.
fn recorder(now: &Arc<AtomicU64>, mix: Mix) -> SharedHistory {
    let now = Arc::clone(now);
    let recorder = Recorder::new(move || {
        let last = Duration::from_micros(now.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or(last)
    });
    recorder.lock_delay_ms(1_000 + mix.ttl_ms / 10);
    recorder
}

fn node_name(at: usize) -> String {
    format!("node-{at}")
}

impl World {
    fn address(at: usize) -> String {
        format!("{}:{PORT}", node_name(at))
    }

    fn config(&self, at: usize) -> NodeConfig {
        NodeConfig {
            node_id: node_name(at),
            role: Role::Lock,
            host: "0.0.0.0".to_owned(),
            port: PORT,
            advertise: Self::address(at),
            peers: (0..self.setup.nodes).filter(|n| *n != at).map(Self::address).collect(),
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
            cache: CacheConfig::default(),
        }
    }

    fn add_node(&self, sim: &mut turmoil::Sim<'_>, at: usize) {
        let config = self.config(at);
        let net = SimNetwork::new(&node_name(at), self.trace.clone());
        let host = Host {
            net: Arc::new(net),
            fs: Arc::new(self.disks.get(at).cloned().unwrap_or_default()),
            log: LogOptions {
                writer: WriterKind::Task { sync_takes: Duration::from_millis(2) },
                ..LogOptions::default()
            },
            limits: Limits::default(),
            engine: EngineOptions::default(),
            seed: self.setup.seed.wrapping_mul(31).wrapping_add(u64::try_from(at).unwrap_or(0)),
            started_ms: 0,
        };
        let nodes = Rc::clone(&self.nodes);
        sim.host(node_name(at), move || {
            let (config, host, nodes) = (config.clone(), host.clone(), Rc::clone(&nodes));
            async move {
                let telemetry = Telemetry::new(Recent::default());
                let node = RunningNode::start(config, Vec::new(), telemetry, host).await?;
                if let Some(place) = nodes.borrow_mut().get_mut(at) {
                    *place = Some(Watched::of(&node));
                }
                Err(node.failed().await)?
            }
        });
    }

    fn client(&self, name: &str) -> Client {
        let config = ClientConfig {
            endpoints: (0..self.setup.nodes).map(Self::address).collect(),
            connect_timeout: Duration::from_secs(1),
            name: name.to_owned(),
        };
        Client::new(config, Arc::new(SimNetwork::new(name, self.trace.clone())))
    }

    fn inflict(
        &self,
        sim: &mut turmoil::Sim<'_>,
        fault: Fault,
        recorder: &SharedHistory,
        outage: &mut Option<Us>,
    ) {
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
            Fault::Heal => {
                for at in 0..self.setup.nodes {
                    for other in self.others(at) {
                        sim.repair(node_name(at), other);
                    }
                }
            }
        }
        match fault.name() {
            Some(name) => {
                recorder.fired(name);
                outage.get_or_insert(recorder.now());
            }
            None => {
                // From the first fault on, and until a while after the last is mended.
                if let Some(begin) = outage.take() {
                    recorder.outage_until(begin, recorder.now() + RECOVERY);
                }
            }
        }
    }

    fn others(&self, at: usize) -> Vec<String> {
        let nodes = (0..self.setup.nodes).filter(|n| *n != at).map(node_name);
        nodes.chain((0..self.setup.clients).map(|n| format!("client-{n}"))).collect()
    }

    fn crash(&self, sim: &mut turmoil::Sim<'_>, at: usize, how: Crash) {
        if let Some(place) = self.nodes.borrow_mut().get_mut(at) {
            *place = None;
        }
        sim.crash(node_name(at));
        if let Some(disk) = self.disks.get(at) {
            disk.crash(how);
        }
    }

    /// Asks every node for its Raft status, after all clients have ended.
    fn ask_all(&self, sim: &mut turmoil::Sim<'_>, recorder: &SharedHistory) -> Vec<RaftStatus> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (client, nodes, into) = (self.client("asker"), self.setup.nodes, Arc::clone(&answers));
        let (recorder, trace) = (Arc::clone(recorder), self.trace.clone());
        let patience = Duration::from_millis(self.setup.mix.ttl_ms) + ALL_OVER;
        sim.client("asker", async move {
            recorder.remains(left(&client, patience).await);
            for at in 0..nodes {
                match ask(&client, &node_name(at)).await {
                    Ok(AdminReply::Raft(status)) => into.lock().push(*status),
                    other => trace.add(&format!("{} says at the end: {other:?}", node_name(at))),
                }
            }
            Ok(())
        });
        sim.run().unwrap_or_else(|e| panic!("seed {}: {e}", self.setup.seed));
        std::mem::take(&mut *answers.lock())
    }
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
