//! What all nodes together keep after every step of a run.

use std::collections::BTreeMap;

use dsd::assembly::RunningNode;
use dsd::raft::{Engine, Leadership, Reached};
use dsd::roles::lock::LockState;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Steps between two comparisons of whole states, which have to be encoded for it.
const HASH_EVERY: u64 = 25;

/// A node that runs, as seen from outside of the simulation.
#[derive(Debug)]
pub(super) struct Watched {
    leadership: watch::Receiver<Leadership>,
    engine: Engine<LockState>,
}

impl Watched {
    pub(super) fn of(node: &RunningNode) -> Self {
        let engine = node.service().parts().role.lock().expect("a lock node").engine().clone();
        Self { leadership: node.leadership(), engine }
    }

    fn seen(&self) -> Seen {
        let view = self.leadership.borrow();
        Seen {
            leads: view.mine.then_some(view.term),
            reached: self.engine.reached(),
            token: self.engine.peek(|state| state.last_token().0),
        }
    }
}

/// What a node shows after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// The term in which it believes to lead.
    pub leads: Option<u64>,
    /// How far it has come.
    pub reached: Reached,
    /// The largest token in its state.
    pub token: u64,
}

/// How often the nodes were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Looks {
    /// Steps.
    pub steps: u64,
    /// Log positions that more than one node was seen at.
    pub positions: u64,
    /// Whole states of two nodes that were compared.
    pub states: u64,
}

/// What was seen so far in a run.
///
/// # Panics
/// Its methods do when an invariant is broken; the text names the seed.
#[derive(Debug)]
pub struct Invariants {
    seed: u64,
    looks: Looks,
    /// Who led in each term.
    leaders: BTreeMap<u64, usize>,
    /// Each node since its last start.
    last: Vec<Seen>,
    /// Log index to the entry's term and the largest token after it.
    positions: BTreeMap<u64, (u64, u64)>,
    /// Log index to the hash of the state after it.
    states: BTreeMap<u64, u64>,
}

impl Invariants {
    /// Before the first step of a run.
    pub fn new(seed: u64, nodes: usize) -> Self {
        let last = vec![Seen::default(); nodes];
        let (leaders, positions, states) = <_>::default();
        Self { seed, looks: Looks::default(), leaders, last, positions, states }
    }

    /// How often the nodes were looked at.
    pub fn looks(&self) -> Looks {
        self.looks
    }

    pub(super) fn hold(&mut self, nodes: &[Option<Watched>]) {
        self.looks.steps += 1;
        for (at, node) in nodes.iter().enumerate() {
            self.node(at, node.as_ref().map(Watched::seen));
        }
        if self.looks.steps.is_multiple_of(HASH_EVERY) {
            for node in nodes.iter().flatten() {
                let index = node.engine.reached().applied;
                let same = nodes.iter().flatten().filter(|n| n.engine.reached().applied == index);
                // Of an index where only one is and none has been, nothing is to be learnt yet.
                if same.count() > 1 || self.states.contains_key(&index) {
                    let (index, hash) = node.engine.state_hash();
                    self.state(index, hash);
                }
            }
        }
    }

    /// One node after a step; `None`: it is down.
    pub fn node(&mut self, at: usize, seen: Option<Seen>) {
        let seed = self.seed;
        let Some(last) = self.last.get_mut(at) else { return };
        let Some(seen) = seen else {
            *last = Seen::default();
            return;
        };
        let before = std::mem::replace(last, seen);
        if before == seen {
            return;
        }
        if let Some(term) = seen.leads {
            let leader = *self.leaders.entry(term).or_insert(at);
            assert!(leader == at, "seed {seed}: nodes {leader} and {at} led in term {term}");
        }
        let (now, then) = (seen.reached, before.reached);
        assert!(now.committed >= then.committed, "seed {seed}: node {at}: {now:?} after {then:?}");
        assert!(now.applied >= then.applied, "seed {seed}: node {at}: {now:?} after {then:?}");
        if now.applied > 0 {
            self.position(now.applied, (now.term, seen.token));
        }
    }

    /// All nodes have the same entry at one index and the same tokens after it, and both rise.
    fn position(&mut self, index: u64, seen: (u64, u64)) {
        let seed = self.seed;
        if let Some(known) = self.positions.insert(index, seen) {
            assert!(known == seen, "seed {seed}: index {index} is {seen:?} and {known:?}");
            self.looks.positions += 1;
            return;
        }
        let rise = |a: (u64, u64), b: (u64, u64)| a.0 <= b.0 && a.1 <= b.1;
        if let Some((earlier, known)) = self.positions.range(..index).next_back() {
            assert!(rise(*known, seen), "seed {seed}: {known:?} at {earlier}, {seen:?} at {index}");
        }
        if let Some((later, known)) = self.positions.range(index + 1..).next() {
            assert!(rise(seen, *known), "seed {seed}: {seen:?} at {index}, {known:?} at {later}");
        }
    }

    /// Equal logs give equal states.
    pub fn state(&mut self, index: u64, hash: u64) {
        if let Some(known) = self.states.insert(index, hash) {
            assert!(known == hash, "seed {}: two states at index {index}", self.seed);
            self.looks.states += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a node that is down is told as None beside it")]
    fn at(committed: u64, applied: u64, term: u64, token: u64) -> Option<Seen> {
        Some(Seen { leads: None, reached: Reached { committed, applied, term }, token })
    }

    fn breaks(steps: &[(usize, Option<Seen>)]) -> bool {
        let steps = steps.to_vec();
        let run = move || {
            let mut invariants = Invariants::new(1, 3);
            for (node, seen) in steps {
                invariants.node(node, seen);
            }
        };
        std::panic::catch_unwind(run).is_err()
    }

    #[test]
    fn what_goes_back_on_a_node_is_found_and_a_restart_is_not() {
        assert!(!breaks(&[(0, at(5, 5, 1, 9)), (0, at(6, 5, 1, 9)), (0, at(7, 7, 1, 9))]));
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (0, at(4, 5, 1, 9))]));
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (0, at(5, 4, 1, 9))]));
        assert!(!breaks(&[(0, at(5, 5, 1, 9)), (0, None), (0, at(0, 3, 1, 2))]));
    }

    #[test]
    fn nodes_that_differ_at_one_index_and_tokens_that_fall_are_found() {
        assert!(!breaks(&[(0, at(5, 5, 1, 9)), (1, at(5, 5, 1, 9)), (2, at(0, 2, 1, 3))]));
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (1, at(5, 5, 2, 9))]), "another entry");
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (1, at(5, 5, 1, 8))]), "another token");
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (1, at(5, 6, 1, 8))]), "falls");
        assert!(breaks(&[(0, at(5, 5, 1, 9)), (1, at(5, 4, 1, 10))]), "was larger before");
    }

    #[test]
    fn two_leaders_of_one_term_are_found_even_one_after_the_other() {
        let leads = |term| Some(Seen { leads: Some(term), ..Seen::default() });
        assert!(!breaks(&[(0, leads(1)), (1, leads(2)), (0, leads(3))]));
        assert!(breaks(&[(0, leads(1)), (0, None), (1, leads(1))]));
    }

    #[test]
    #[should_panic(expected = "two states at index 4")]
    fn two_states_at_one_index_are_found() {
        let mut invariants = Invariants::new(1, 3);
        invariants.state(4, 1);
        invariants.state(4, 2);
    }
}
