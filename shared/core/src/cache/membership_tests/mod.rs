//! Membership under everything that can go wrong: rights of two views never overlap, and when all is
//! well again everybody serves soon.

mod cases;
mod sim;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};

use self::sim::{Fault, Kept, Net, Sim};
use super::mutants::{self, Mutant};

const LEASES: [u64; 3] = [300, 600, 1_200];
const LONGEST: u64 = 1_200;

#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    nodes: usize,
    /// All leases are of one length.
    even: bool,
    net: Net,
    faults: Vec<(u64, Fault)>,
}

fn faults(even: bool) -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let node = 0_usize..5;
    let lease = if even { vec![600] } else { LEASES.to_vec() };
    // With leases of different lengths a memory must not forget.
    let kept = if even { vec![Kept::All, Kept::Older, Kept::Nothing] } else { vec![Kept::All] };
    let fault = prop_oneof![
        4 => (node.clone(), 50_u64..3_000).prop_map(|(node, ms)| Fault::Pause(node, ms)),
        2 => node.clone().prop_map(Fault::Crash),
        4 => (node.clone(), any::<bool>(), prop::sample::select(lease), prop::bool::weighted(0.2))
            .prop_map(|(node, elsewhere, lease, back)| Fault::Start { node, elsewhere, lease, back }),
        1 => node.clone().prop_map(Fault::Leave),
        1 => (node, any::<bool>()).prop_map(|(node, is)| Fault::CutOff(node, is)),
        1 => prop::sample::select(kept).prop_map(Fault::Restart),
        1 => (50_u64..2_000).prop_map(Fault::MemoryDown),
    ];
    prop::collection::vec((0_u64..1_500, fault), 1..14)
}

fn plans() -> impl Strategy<Value = Plan> {
    let net = (0_u64..3, 0_u64..3, 100_u64..2_000).prop_map(|(lost, late, latest)| Net {
        lost_percent: lost * 8,
        late_percent: late * 8,
        latest,
    });
    let even = any::<bool>();
    let faults = even.prop_flat_map(|even| (Just(even), faults(even)));
    (any::<u64>(), 3_usize..=5, net, faults).prop_map(|(seed, nodes, net, (even, faults))| Plan {
        seed,
        nodes,
        even,
        net,
        faults,
    })
}

/// What is broken, and how it came to it.
fn run(plan: &Plan) -> Result<u64, String> {
    let mut sim = Sim::new(plan.seed, plan.net);
    for node in 0..plan.nodes {
        let lease = if plan.even { 600 } else { LEASES[(node + plan.nodes) % LEASES.len()] };
        sim.start(node, false, lease, false);
    }
    for (pause, fault) in &plan.faults {
        sim.go_on(sim.now + pause);
        if sim.broken.is_none() {
            sim.fault(fault);
        }
    }
    sim.go_on(sim.now + LONGEST);
    sim.heal();
    sim.go_on(sim.now + 6 * LONGEST);
    if let Some(why) = &sim.broken {
        return Err(format!("{why}\n{}", sim.story()));
    }
    if sim.runs.is_empty() {
        return Ok(sim.served);
    }
    let Some(agreed) = sim.agreed() else {
        return Err(format!("they do not all serve in one view\n{}", sim.story()));
    };
    sim.go_on(sim.now + 3 * LONGEST);
    match sim.agreed() {
        Some(still) if still == agreed => Ok(sim.served),
        _ => Err(format!("the view changes without need\n{}", sim.story())),
    }
}

fn search(mutant: Option<Mutant>, cases: u32) -> Option<String> {
    let mut runner = TestRunner::new_with_rng(
        Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let found = mutants::with(mutant, || {
        runner.run(&plans(), |plan| match run(&plan) {
            Ok(_) => Ok(()),
            Err(story) => Err(TestCaseError::fail(story)),
        })
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(why, plan)) => Some(format!("{plan:#?}\n{why}")),
        Err(TestError::Abort(why)) => Some(format!("aborted: {why}")),
    }
}

/// `PROPTEST_CASES` for more of them.
#[test]
fn rights_of_two_views_never_overlap() {
    if let Some(story) = search(None, 4 * Config::default().cases) {
        panic!("{story}");
    }
}

#[test]
fn bugs_are_found() {
    let mutants = [
        Mutant::LeaseFromReceipt,
        Mutant::SilentNotAwaited,
        Mutant::SilentDropped,
        Mutant::NothingWasBefore,
    ];
    let missed: Vec<Mutant> =
        mutants.into_iter().filter(|mutant| search(Some(*mutant), 3_000).is_none()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
