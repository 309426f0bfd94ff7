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
    /// A node is cut off from the other nodes; clients reach it.
    CutOff(usize),
    /// Two nodes are cut off from the other nodes together; clients reach them.
    CutOffTwo(usize, usize),
    /// What a node and the others send each other comes when this is mended, late but whole: to them
    /// it stands still, and clients reach it.
    Hold(usize),
    /// The same between two nodes.
    HoldBetween(usize, usize),
    /// Everything passes between all again, and what was held back comes.
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
            Self::CutOff(_) => "cut off",
            Self::CutOffTwo(..) => "two cut off",
            Self::Hold(_) => "hold",
            Self::HoldBetween(..) => "hold between",
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

/// The same for cache nodes with such a lease: faults that are over before anybody is counted out,
/// and those that last longer than leases; some begin while another lasts.
pub fn cache_schedule(seed: u64, nodes: usize, until_ms: u64, lease_ms: u64) -> Vec<(u64, Fault)> {
    let mut random = SmallRng::seed_from_u64(seed ^ 0xcac4e);
    let mut plan: Vec<(u64, Fault)> = Vec::new();
    let mut at = 3_000;
    loop {
        at += random.random_range(200..1_500);
        let kind = random.random_range(0..12);
        let two = kind == 10 && nodes > 3;
        let short = random.random_range(20..lease_ms);
        let long = random.random_range(lease_ms..3 * lease_ms);
        let lasts = if random.random_bool(0.5) { short } else { long };
        let lasts = if two { 4 * lease_ms } else { lasts };
        if at + lasts >= until_ms {
            plan.sort_by_key(|(at, _)| *at);
            return plan;
        }
        let node = random.random_range(0..nodes);
        let other = (node + random.random_range(1..nodes)) % nodes;
        let heal = |fault| vec![(at, fault), (at + lasts, Fault::Heal)];
        plan.extend(match kind {
            0 | 1 => vec![(at, Fault::Kill(node)), (at + lasts, Fault::Start(node))],
            2 => {
                let cut = Fault::PowerCut(node, random.random());
                vec![(at, cut), (at + lasts, Fault::Start(node))]
            }
            3 => heal(Fault::Cut(node, other)),
            4 => heal(Fault::CutOneWay(node, other)),
            5 => heal(Fault::Isolate(node)),
            6 => heal(Fault::CutOff(node)),
            7 | 8 => heal(Fault::Hold(node)),
            9 => heal(Fault::HoldBetween(node, other)),
            10 if two => {
                // A third one that was counted out comes back just then, and becomes the home of keys
                // that those two have leases of.
                let third = (0..nodes).find(|n| *n != node && *n != other).unwrap_or(0);
                let cut = at + 2 * lease_ms;
                vec![
                    (at, Fault::Kill(third)),
                    (cut, Fault::CutOffTwo(node, other)),
                    (cut + 20, Fault::Start(third)),
                    (at + lasts, Fault::Heal),
                ]
            }
            // All of them: the memory starts again.
            _ => {
                let seed = random.random();
                let cuts = (0..nodes).map(|n| (at, Fault::PowerCut(n, seed)));
                cuts.chain((0..nodes).map(|n| (at + lasts, Fault::Start(n)))).collect()
            }
        });
        at += if random.random_bool(0.3) { lasts / 2 } else { lasts };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(plan_of: impl Fn(u64) -> Vec<(u64, Fault)>) -> usize {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let plan = plan_of(seed);
            assert_eq!(plan, plan_of(seed));
            let mut down = [false; 5];
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
            assert_eq!((down, cut), ([false; 5], false), "seed {seed}: {plan:?}");
        }
        kinds.len()
    }

    #[test]
    fn every_fault_is_mended_in_time_and_every_kind_occurs() {
        assert_eq!(mended(|seed| schedule(seed, 3, 40_000)), 5);
        assert_eq!(mended(|seed| cache_schedule(seed, 3, 40_000, 2_000)), 8);
        assert_eq!(mended(|seed| cache_schedule(seed, 5, 40_000, 2_000)), 9);
    }
}
