//! Which live node is in charge of which partition: rendezvous hashing with a limit on the load.
//!
//! Correctness does not rest on it: any node may serve any queue. It decides where consumers wait
//! and where commands meet, so that one batch and one wake serve many.
//!
//! Every pair of a partition and a node has a weight; the heaviest pair is joined first, then the
//! next one whose partition is free and whose node has room. So nodes that know of the same live
//! nodes agree without a word, and a node that comes or goes moves few partitions beside its own.
//!
//! # Source
//! D. Thaler, C. Ravishankar, "A name-based mapping scheme for rendezvous" (1996); V. Mirrokni,
//! M. Thorup, M. Zadimoghaddam, "Consistent hashing with bounded loads" (SODA 2018).

use std::collections::{BTreeMap, BTreeSet};

use super::PARTITIONS;
use crate::name::Name;

/// How much more than its even share a node may have, in percent.
const SLACK_PERCENT: usize = 5;

/// The node in charge of each partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignment {
    owners: BTreeMap<u8, Name>,
}

impl Assignment {
    /// Assigns all partitions to those nodes; none where there is no node.
    pub fn of(nodes: &BTreeSet<Name>) -> Self {
        let partitions = usize::from(PARTITIONS);
        if nodes.is_empty() {
            return Self::default();
        }
        let cap = (partitions * (100 + SLACK_PERCENT)).div_ceil(nodes.len() * 100);
        let mut pairs: Vec<(u64, u8, &Name)> = nodes
            .iter()
            .flat_map(|node| (0..=u8::MAX).map(move |part| (weight(node, part), part, node)))
            .collect();
        pairs.sort_unstable_by(|a, b| b.cmp(a));
        let mut owners: BTreeMap<u8, Name> = BTreeMap::new();
        let mut loads: BTreeMap<&Name, usize> = BTreeMap::new();
        for (_, partition, node) in pairs {
            let load = loads.entry(node).or_default();
            if *load < cap && !owners.contains_key(&partition) {
                *load += 1;
                owners.insert(partition, node.clone());
            }
        }
        Self { owners }
    }

    /// The node in charge of a partition.
    pub fn owner(&self, partition: u8) -> Option<&Name> {
        self.owners.get(&partition)
    }

    /// Partitions that a node is in charge of.
    pub fn load(&self, node: &Name) -> u16 {
        let count = self.owners.values().filter(|owner| *owner == node).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }
}

fn weight(node: &Name, partition: u8) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(node.as_str().as_bytes(), u64::from(partition))
}

/// A sign of life that a node left in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// NODE_ID.
    pub node: Name,
    /// Which start of it.
    pub incarnation: u64,
    /// Where others reach it.
    pub address: String,
    /// Time since, by the store's clock.
    pub age_ms: u64,
}

/// A node whose last sign of life is older is taken for dead.
pub const BEAT_LIFE_MS: u64 = 3_000;

impl Beat {
    /// It is recent enough.
    pub fn is_live(&self) -> bool {
        self.age_ms <= BEAT_LIFE_MS
    }

    /// Another process lives under the name of the node that asks, which is another start of it at
    /// `address`: at the same address it would be dead, for the port is taken only once.
    pub fn forbids(&self, node: &Name, incarnation: u64, address: &str) -> bool {
        let other = self.incarnation != incarnation && self.address != address;
        self.node == *node && other && self.is_live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> BTreeSet<Name> {
        (1..=count).map(|n| Name::parse("node", &format!("queue-node-{n}")).unwrap()).collect()
    }

    #[test]
    fn every_partition_has_an_owner_and_none_has_more_than_its_share() {
        for count in 1..=40 {
            let nodes = nodes(count);
            let all = Assignment::of(&nodes);
            assert_eq!(all.owners.len(), 256, "{count}");
            let cap = (256 * 105_usize).div_ceil(count * 100);
            for node in &nodes {
                assert!(usize::from(all.load(node)) <= cap, "{count}: {}", all.load(node));
            }
        }
        assert_eq!(Assignment::of(&BTreeSet::new()), Assignment::default());
    }

    #[test]
    fn a_node_that_comes_or_goes_moves_little_beside_its_own() {
        for count in 2..=12 {
            let (fewer, more) = (Assignment::of(&nodes(count)), Assignment::of(&nodes(count + 1)));
            let moved = (0..=u8::MAX).filter(|p| fewer.owner(*p) != more.owner(*p)).count();
            let needed = 256 / (count + 1);
            assert!(moved <= needed * 2 + 8, "{count}: {moved} moved, {needed} needed");
        }
    }

    /// For ever: nodes of two versions in one ring must agree.
    #[test]
    fn golden() {
        let three = Assignment::of(&nodes(3));
        let text: String =
            (0..48).map(|p| three.owner(p).unwrap().as_str().chars().last().unwrap()).collect();
        assert_eq!(text, "231133123122331121233111332113231221331332221122");
        let loads: Vec<u16> = nodes(3).iter().map(|node| three.load(node)).collect();
        assert_eq!(loads, [86, 87, 83]);
        let queue = |text: &str| super::super::partition_of(&Name::parse("queue", text).unwrap());
        assert_eq!(["orders", "mails", "a"].map(queue), [251, 80, 31]);
    }

    #[test]
    fn a_second_process_of_one_name_is_told_from_a_restart() {
        let node = Name::parse("node", "n").unwrap();
        let beat =
            |age_ms| Beat { node: node.clone(), incarnation: 1, address: "a:1".into(), age_ms };
        assert!(beat(100).forbids(&node, 2, "b:1"));
        assert!(!beat(100).forbids(&node, 2, "a:1"), "restarted at its address");
        assert!(!beat(100).forbids(&node, 1, "b:1"), "itself");
        assert!(!beat(4_000).forbids(&node, 2, "b:1"), "dead");
    }
}
