//! Lock clusters under simulation: many seeds, every invariant, and proof that a seed is a run.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what a run checked belongs to its output")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use dsync_tests::history::Report;
use dsync_tests::sim::{Looks, Run, Setup, run};
use serde::{Deserialize, Serialize};

/// Seeds per test; `DSYNC_SIM_SEEDS` asks for more.
const SEEDS: u64 = 100;
/// Kinds of faults.
const FAULTS: usize = 5;
/// What clients must have been seen to do.
const KINDS: [&str; 11] = [
    "shared",
    "permits",
    "group",
    "re-entry",
    "upgrade",
    "downgrade",
    "would block",
    "timeout",
    "cancelled",
    "deadlock",
    "asked again",
];

/// Runs a seed and holds everything against it. To repeat one: `DSYNC_SIM_SEED=<seed>`.
fn check(seed: u64) -> (Run, Report) {
    let run = run(Setup::new(seed));
    let report = run.history.check().unwrap_or_else(|found| {
        let lines: Vec<String> = found.iter().take(10).map(ToString::to_string).collect();
        let again = format!("DSYNC_SIM_SEED={seed} cargo nextest run --test sim_lock one_seed");
        panic!("seed {seed}:\n{}\nto repeat: {again}", lines.join("\n"));
    });
    assert!(report.grants > 20, "seed {seed}: hardly any work was done: {report}");
    let nodes = &run.nodes;
    let told = run.trace.iter().filter(|line| line.contains("says at the end"));
    let told: Vec<_> = told.map(String::as_str).collect();
    assert_eq!(nodes.len(), 3, "seed {seed}: a node did not answer:\n{}", told.join("\n"));
    let states: BTreeMap<u64, u64> = nodes.iter().map(|n| (n.applied, n.state_hash)).collect();
    assert_eq!(states.len(), 1, "seed {seed}: nodes differ at the end: {states:?}");
    println!("seed {seed}: {report}; {:?} simulated, {:?}", run.simulated, run.looks);
    (run, report)
}

/// What one seed showed, as one process tells another.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    report: Report,
    simulated: Duration,
    looks: Looks,
}

/// What the seeds of one test showed together.
#[derive(Debug, Default)]
struct Total {
    seeds: u64,
    simulated: Duration,
    operations: usize,
    grants: usize,
    unknown: usize,
    writes: usize,
    states_compared: u64,
    kinds: BTreeMap<String, usize>,
    faults: BTreeMap<String, u64>,
}

impl Total {
    fn add(&mut self, Shown { report, simulated, looks }: Shown) {
        self.seeds += 1;
        self.simulated += simulated;
        self.operations += report.operations;
        self.grants += report.grants;
        self.unknown += report.unknown;
        self.writes += report.writes;
        self.states_compared += looks.states;
        for (kind, count) in report.kinds {
            *self.kinds.entry(kind).or_insert(0) += count;
        }
        for (fault, count) in report.faults {
            *self.faults.entry(fault).or_insert(0) += count;
        }
    }
}

/// Has a seed checked in a process of its own: in one that has run others before, tokio drops the
/// tasks of a host that crashes in another order, and the seed would be another run.
fn check_apart(seed: u64, folder: &Path) -> Shown {
    let file = folder.join(seed.to_string());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "one_seed_that_is_asked_for", "--nocapture"])
        .env("DSYNC_SIM_SEED", seed.to_string())
        .env("DSYNC_SIM_REPORT_TO", &file)
        .output()
        .unwrap();
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        panic!("seed {seed}:\n{}", String::from_utf8_lossy(&said));
    }
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn check_range(part: u64) {
    let seeds = std::env::var("DSYNC_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS);
    let folder = tempfile::TempDir::new().unwrap();
    let mut total = Total::default();
    for seed in part * seeds..(part + 1) * seeds {
        let shown = check_apart(seed, folder.path());
        println!("seed {seed}: {}", shown.report);
        total.add(shown);
    }
    println!("{total:#?}");
    // One seed need not have every fault and every kind of request; all of them together must.
    assert_eq!(total.faults.len(), FAULTS, "a kind of fault never happened");
    for kind in KINDS {
        assert!(total.kinds.get(kind).is_some_and(|count| *count > 0), "no {kind} was seen");
    }
    assert!(total.states_compared > 0, "no two nodes were compared");
}

#[test]
fn seeds_of_the_first_part_keep_every_invariant() {
    check_range(0);
}

#[test]
fn seeds_of_the_second_part_keep_every_invariant() {
    check_range(1);
}

/// Where a run writes its trace, as (file, seed), when this very test runs itself.
fn asked_for_a_trace() -> Option<(String, u64)> {
    let file = std::env::var("DSYNC_SIM_TRACE_TO").ok()?;
    Some((file, std::env::var("DSYNC_SIM_TRACE_OF").ok()?.parse().ok()?))
}

/// Runs a seed in a process of its own: tokio drops the tasks of a host that crashes in an order
/// that depends on how many tasks the process has had before.
fn trace_of(seed: u64, folder: &Path, run: &str) -> Vec<String> {
    let file = folder.join(format!("{seed}-{run}"));
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "one_seed_gives_one_trace", "--nocapture"])
        .env("DSYNC_SIM_TRACE_TO", &file)
        .env("DSYNC_SIM_TRACE_OF", seed.to_string())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "seed {seed} ended with {status}");
    std::fs::read_to_string(file).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn one_seed_gives_one_trace() {
    if let Some((file, seed)) = asked_for_a_trace() {
        std::fs::write(file, run(Setup::new(seed)).trace.join("\n")).unwrap();
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    for seed in 1..=6 {
        let first = trace_of(seed, folder.path(), "first");
        let second = trace_of(seed, folder.path(), "second");
        assert!(first.len() > 1_000, "seed {seed}: {} lines", first.len());
        if let Some(at) = first.iter().zip(&second).position(|(a, b)| a != b) {
            let around =
                |trace: &[String]| trace[at.saturating_sub(5)..trace.len().min(at + 12)].join("\n");
            let (first, second) = (around(&first), around(&second));
            panic!("seed {seed} differs at line {at}:\n{first}\n-- and\n{second}");
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn one_seed_that_is_asked_for() {
    // A seed that failed elsewhere is repeated by naming it; else any one will do.
    let seed = std::env::var("DSYNC_SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1_000);
    let (run, report) = check(seed);
    if let Ok(file) = std::env::var("DSYNC_SIM_REPORT_TO") {
        let shown = Shown { report, simulated: run.simulated, looks: run.looks };
        std::fs::write(file, serde_json::to_vec(&shown).unwrap()).unwrap();
    }
}
