//! Runs cache nodes, their memory in their own log, under a plan of faults, and collects what their
//! clients see.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsd::raft::runtime::seed_this_thread;
use dsync::api::{CacheReply, CacheRequest, ViewReport};
use dsync_core::cache::told::WritePolicy;
use dsync_core::config::CacheConfig;
use dsync_core::node::Role;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::faults::{Fault, cache_schedule};
use super::hosts::{Hosts, Told, ask_all, client_name, simulation};
use crate::cache::hand::Hand;
use crate::cache::journal::{Journal, Summary};
use crate::cache::load::{Mix, Work, seen, work};

/// Time of one request.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// In so long all nodes must serve in one view after the last fault is mended.
const RECOVERY: Duration = Duration::from_secs(20);
/// Time between two looks at the views.
const LOOK: Duration = Duration::from_millis(100);

/// What a run is made from.
#[derive(Debug, Clone, Copy)]
pub struct CacheSetup {
    /// Decides everything.
    pub seed: u64,
    /// Nodes.
    pub nodes: usize,
    /// Clients.
    pub clients: u32,
    /// `CACHE_LEASE_MS` of all nodes.
    pub lease_ms: u64,
    /// `WRITE_POLICY` of all nodes.
    pub write: WritePolicy,
    /// What happens to the nodes.
    pub faults: Faults,
    /// Faults happen up to this time, and work goes on for as long as they do.
    pub until_ms: u64,
    /// What the clients do.
    pub mix: Mix,
}

/// What happens to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// Nothing.
    None,
    /// They are cut off and held up, and none of them dies.
    Cuts,
    /// Everything there is.
    All,
}

impl Faults {
    fn have(self, fault: Fault) -> bool {
        let dies = matches!(fault, Fault::Kill(_) | Fault::PowerCut(..) | Fault::Start(_));
        self == Self::All || (self == Self::Cuts && !dies)
    }
}

impl CacheSetup {
    /// A run of the usual size.
    pub fn new(seed: u64) -> Self {
        let mix = Mix { keys: 4, counters: 1, pause_ms: 40, reads: 60, deletes: true };
        Self {
            seed,
            nodes: 3,
            clients: 6,
            lease_ms: 2_000,
            write: WritePolicy::Through,
            faults: Faults::All,
            until_ms: 20_000,
            mix,
        }
    }
}

/// What a run gave.
#[derive(Debug)]
pub struct CacheRun {
    /// Everything that should not be.
    pub violations: Vec<String>,
    /// How much there was.
    pub figures: CacheFigures,
    /// What happened, in order.
    pub trace: Vec<String>,
}

/// How much there was in a run, or in many.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct CacheFigures {
    /// Runs.
    pub seeds: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// What clients saw.
    pub seen: Summary,
    /// Reads that nodes answered from their own memory.
    pub local: u64,
    /// Views that were seen.
    pub views: usize,
    /// Keys of which nodes said that they lost changes.
    pub lost: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
}

impl CacheFigures {
    /// Those of another run with these.
    pub fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.simulated += other.simulated;
        self.seen += other.seen;
        self.local += other.local;
        self.views += other.views;
        self.lost += other.lost;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_insert(0) += count;
        }
    }
}

/// Views by their epoch: who took part.
#[derive(Debug, Default)]
struct Views {
    members: BTreeMap<u64, Vec<(String, u64)>>,
    found: Vec<String>,
}

impl Views {
    fn note(&mut self, view: &ViewReport) {
        let members = view.members.iter().map(|one| (one.node.clone(), one.incarnation)).collect();
        let first = self.members.entry(view.epoch).or_insert_with(|| Vec::clone(&members));
        if *first != members {
            self.found.push(format!("epoch {} is {first:?} and {members:?}", view.epoch));
        }
    }
}

/// What the end of a run must be.
#[derive(Debug, Default)]
struct End {
    found: Vec<String>,
    /// Keys of which nodes say that they lost changes.
    lost: BTreeSet<String>,
}

/// Runs one seed to its end.
///
/// # Panics
/// When a node fails, or time is up.
pub fn run_cache(setup: CacheSetup) -> CacheRun {
    seed_this_thread(setup.seed);
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let journal = Journal::new(move || {
        let last = Duration::from_micros(clock.load(Ordering::Relaxed));
        turmoil::sim_elapsed().unwrap_or(last)
    });
    let shared = Arc::new(Work { journal, ..Work::default() });
    let mut sim = simulation(setup.seed, setup.until_ms + 200_000);
    let cache =
        CacheConfig { lease_ms: setup.lease_ms, write: setup.write, ..CacheConfig::default() };
    let told = Told { role: Role::Cache, cache };
    let hosts = Hosts::new(setup.seed, (setup.nodes, setup.clients), told).whose_clocks_differ();
    for at in 0..setup.nodes {
        hosts.add_node(&mut sim, at, |_| {});
    }
    for number in 0..setup.clients {
        let hands = hands(&hosts, &client_name(number));
        let shared = Arc::clone(&shared);
        sim.client(client_name(number), async move {
            work(number, setup.seed, setup.mix, hands, shared).await;
            Ok(())
        });
    }
    let views = watch(&mut sim, &hosts, &shared);
    let mut figures = CacheFigures { seeds: 1, ..CacheFigures::default() };
    let plan = cache_schedule(setup.seed, setup.nodes, setup.until_ms, setup.lease_ms);
    let mut plan = plan.into_iter().filter(|(_, fault)| setup.faults.have(*fault)).peekable();
    loop {
        let at = u64::try_from(sim.elapsed().as_millis()).unwrap_or(u64::MAX);
        now.store(at * 1_000, Ordering::Relaxed);
        while let Some((_, fault)) = plan.next_if(|(due, _)| *due <= at) {
            hosts.inflict(&mut sim, fault);
            count(&mut figures, fault);
        }
        if at >= setup.until_ms + 2 * setup.lease_ms {
            shared.stop.store(true, Ordering::Relaxed);
        }
        if sim.step().unwrap_or_else(|e| panic!("seed {}: {e}", setup.seed)) {
            break;
        }
    }
    let end = finish(&mut sim, &hosts, &shared, setup.seed);
    let views = std::mem::take(&mut *views.lock());
    figures.simulated = sim.elapsed();
    figures.seen = shared.journal.summary();
    figures.local = shared.local.load(Ordering::Relaxed);
    figures.views = views.members.len();
    figures.lost = end.lost.len();
    // What was lost is told: of all other keys nothing is.
    let mut violations = shared.journal.violations_of(|key| !end.lost.contains(key));
    violations.extend(views.found);
    violations.extend(end.found);
    CacheRun { violations, figures, trace: hosts.trace().lines() }
}

fn count(figures: &mut CacheFigures, fault: Fault) {
    if let Some(name) = fault.name() {
        *figures.faults.entry(name.to_owned()).or_insert(0) += 1;
    }
}

/// A hand at each node alone, and one at any.
fn hands(hosts: &Hosts, name: &str) -> Vec<Hand> {
    let each = (0..hosts.nodes()).map(|at| hosts.client_at(name, at));
    let all = each.chain([hosts.client(name)]);
    all.map(|client| Hand::new(client).within(PATIENCE)).collect()
}

/// Looks at the views of all nodes until the work ends.
fn watch(sim: &mut turmoil::Sim<'_>, hosts: &Hosts, shared: &Arc<Work>) -> Arc<Mutex<Views>> {
    let views = Arc::new(Mutex::new(Views::default()));
    for at in 0..hosts.nodes() {
        let name = format!("watcher-{at}");
        let hand = Hand::new(hosts.client_at(&name, at)).within(Duration::from_millis(500));
        let (views, shared) = (Arc::clone(&views), Arc::clone(shared));
        sim.client(name, async move {
            while !shared.stop.load(Ordering::Relaxed) {
                if let Ok(view) = hand.view().await {
                    views.lock().note(&view);
                }
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        });
    }
    views
}

/// After all work: every node serves in one view, all of them say the same of each key, and their
/// logs have led to the same.
fn finish(sim: &mut turmoil::Sim<'_>, hosts: &Hosts, shared: &Arc<Work>, seed: u64) -> End {
    let end = Arc::new(Mutex::new(End::default()));
    let (hands, any, nodes) = (hands(hosts, "asker"), hosts.client("asker"), hosts.nodes());
    let (shared, into, trace) = (Arc::clone(shared), Arc::clone(&end), hosts.trace().clone());
    sim.client("asker", async move {
        let hands = hands.get(..nodes).unwrap_or_default();
        let mut found = Vec::new();
        if !one_view(hands).await {
            found.push("not all nodes serve in one view at the end".to_owned());
        }
        found.extend(read_all(hands, &shared.journal).await);
        let mut lost = BTreeSet::new();
        for hand in hands {
            match hand.ask(CacheRequest::Lost).await {
                Ok(CacheReply::Lost(keys)) => {
                    lost.extend(keys.iter().map(|one| one.key.to_string()));
                }
                other => found.push(format!("of what was lost a node says {other:?}")),
            }
        }
        let said = ask_all(&any, nodes, &trace).await;
        let states: BTreeMap<u64, u64> = said.iter().map(|n| (n.applied, n.state_hash)).collect();
        if said.len() != nodes {
            found.push(format!("{} of {nodes} nodes tell their Raft status", said.len()));
        }
        let differ = said.iter().any(|n| states.get(&n.applied) != Some(&n.state_hash));
        if differ {
            found.push(format!("the nodes' states differ: {states:?}"));
        }
        *into.lock() = End { found, lost };
        Ok(())
    });
    sim.run().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    std::mem::take(&mut *end.lock())
}

async fn one_view(hands: &[Hand]) -> bool {
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < RECOVERY {
        let mut epochs = Vec::new();
        for hand in hands {
            if let Ok(view) = hand.view().await
                && view.serving
                && view.members.len() == hands.len()
            {
                epochs.push(view.epoch);
            }
        }
        let count = epochs.len();
        epochs.dedup();
        if count == hands.len() && epochs.len() == 1 {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// Reads every key at every node, twice: the second time it may come from the node's own memory.
async fn read_all(hands: &[Hand], journal: &Journal) -> Vec<String> {
    let mut found = Vec::new();
    for key in journal.keys() {
        for (at, hand) in hands.iter().chain(hands).enumerate() {
            let begun = journal.now();
            match hand.got(&key, None).await {
                Ok(got) => journal.note("asker", &key, begun, seen(&got)),
                Err(fault) => found.push(format!("{key} cannot be read at {at}: {fault}")),
            }
        }
    }
    found
}
