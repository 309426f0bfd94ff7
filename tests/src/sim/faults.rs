//! A plan of faults, drawn from a seed.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What goes wrong, or right again, on nodes that are named by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends; its files stay as they are.
    Kill(usize),
    /// The machine loses power: what was not synced is gone, or some of it.
    PowerCut(usize, u64),
    /// It starts again.
    Start(usize),
    /// Nothing passes between two nodes.
    Cut(usize, usize),
    /// Nothing passes from the first to the second.
    CutOneWay(usize, usize),
    /// A node is cut off from all others, clients included.
    Isolate(usize),
    /// Everything passes between all again.
    Heal,
}

impl Fault {
    /// Its name in reports; `None` for what mends.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Kill(_) => "kill",
            Self::PowerCut(..) => "power cut",
            Self::Cut(..) => "cut",
            Self::CutOneWay(..) => "one-way cut",
            Self::Isolate(_) => "isolate",
            Self::Start(_) | Self::Heal => return None,
        })
    }
}

/// Faults and their mending as (milliseconds, fault), in order, all mended by `until_ms`.
pub fn schedule(seed: u64, nodes: usize, until_ms: u64) -> Vec<(u64, Fault)> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0xfa17);
    let mut plan = Vec::new();
    let mut at = 3_000;
    loop {
        at += random.random_range(500..3_000);
        let lasts = random.random_range(100..4_000);
        if at + lasts >= until_ms {
            return plan;
        }
        let node = random.random_range(0..nodes);
        let other = (node + random.random_range(1..nodes)) % nodes;
        match random.random_range(0..7) {
            0 => plan.extend([(at, Fault::Kill(node)), (at + lasts, Fault::Start(node))]),
            1 | 2 => {
                let cut = Fault::PowerCut(node, random.random());
                plan.extend([(at, cut), (at + lasts, Fault::Start(node))]);
            }
            3 => plan.extend([(at, Fault::Cut(node, other)), (at + lasts, Fault::Heal)]),
            4 => plan.extend([(at, Fault::CutOneWay(node, other)), (at + lasts, Fault::Heal)]),
            5 => plan.extend([(at, Fault::Isolate(node)), (at + lasts, Fault::Heal)]),
            // All of them at once: what was acknowledged is on a quorum of disks.
            _ => {
                let seed = random.random();
                plan.extend((0..nodes).map(|n| (at, Fault::PowerCut(n, seed))));
                plan.extend((0..nodes).map(|n| (at + lasts, Fault::Start(n))));
            }
        }
        at += lasts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_mended_in_time_and_every_kind_occurs() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let plan = schedule(seed, 3, 40_000);
            assert_eq!(plan, schedule(seed, 3, 40_000));
            let mut down = [false; 3];
            let mut cut = false;
            for (at, fault) in &plan {
                assert!(*at < 40_000);
                kinds.extend(fault.name());
                match fault {
                    Fault::Kill(n) | Fault::PowerCut(n, _) => down[*n] = true,
                    Fault::Start(n) => down[*n] = false,
                    Fault::Heal => cut = false,
                    _ => cut = true,
                }
            }
            assert_eq!((down, cut), ([false; 3], false), "seed {seed}: {plan:?}");
        }
        assert_eq!(kinds.len(), 5, "{kinds:?}");
    }
}
