//! Runs a cluster under a plan of faults and collects what its clients see.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsd::assembly::RunningNode;
use dsd::raft::runtime::seed_this_thread;
use dsync::api::RaftStatus;
use dsync_core::config::CacheConfig;
use dsync_core::node::Role;
use parking_lot::Mutex;

use super::faults::{Fault, schedule};
use super::hosts::{Hosts, Told, ask_all, client_name, simulation};
use super::invariants::{Invariants, Looks, Watched};
use crate::history::{History, Recorder, SharedHistory, Us};
use crate::load::{Mix, left, work};

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

/// What a run is made of.
struct World {
    setup: Setup,
    hosts: Hosts,
    /// Each node that runs.
    nodes: Nodes,
}

/// Runs one seed to its end.
///
/// # Panics
/// When an invariant is broken; the text names the seed.
pub fn run(setup: Setup) -> Run {
    seed_this_thread(setup.seed);
    let now = Arc::new(AtomicU64::new(0));
    let recorder = recorder(&now, setup.mix);
    let mut sim = simulation(setup.seed, setup.until_ms + 200_000);
    let told = Told { role: Role::Lock, cache: CacheConfig::default() };
    let world = World {
        setup,
        hosts: Hosts::new(setup.seed, (setup.nodes, setup.clients), told),
        nodes: Rc::new(RefCell::new((0..setup.nodes).map(|_| None).collect())),
    };
    for at in 0..setup.nodes {
        world.add_node(&mut sim, at);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for number in 0..setup.clients {
        let client = world.hosts.client(&client_name(number));
        let (recorder, stop) = (Arc::clone(&recorder), Arc::clone(&stop));
        let (seed, mix) = (setup.seed, setup.mix);
        sim.client(client_name(number), async move {
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
    Run { history, trace: world.hosts.trace().lines(), nodes, simulated, looks: invariants.looks() }
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

impl World {
    fn add_node(&self, sim: &mut turmoil::Sim<'_>, at: usize) {
        let nodes = Rc::clone(&self.nodes);
        self.hosts.add_node(sim, at, move |node: &RunningNode| {
            if let Some(place) = nodes.borrow_mut().get_mut(at) {
                *place = Some(Watched::of(node));
            }
        });
    }

    fn inflict(
        &self,
        sim: &mut turmoil::Sim<'_>,
        fault: Fault,
        recorder: &SharedHistory,
        outage: &mut Option<Us>,
    ) {
        if let Fault::Kill(at) | Fault::PowerCut(at, _) = fault
            && let Some(place) = self.nodes.borrow_mut().get_mut(at)
        {
            *place = None;
        }
        self.hosts.inflict(sim, fault);
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

    /// Asks every node for its Raft status, after all clients have ended.
    fn ask_all(&self, sim: &mut turmoil::Sim<'_>, recorder: &SharedHistory) -> Vec<RaftStatus> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (client, nodes) = (self.hosts.client("asker"), self.setup.nodes);
        let (into, recorder) = (Arc::clone(&answers), Arc::clone(recorder));
        let trace = self.hosts.trace().clone();
        let patience = Duration::from_millis(self.setup.mix.ttl_ms) + ALL_OVER;
        sim.client("asker", async move {
            recorder.remains(left(&client, patience).await);
            let said = ask_all(&client, nodes, &trace).await;
            *into.lock() = said;
            Ok(())
        });
        sim.run().unwrap_or_else(|e| panic!("seed {}: {e}", self.setup.seed));
        std::mem::take(&mut *answers.lock())
    }
}
