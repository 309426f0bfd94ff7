//! Which writes the memory takes, and what they make of a key.
//!
//! The memory is the point at which a change happens: it takes one only from the epoch and the
//! sessions that are not fenced off, carries it out in one piece, and knows it again if it is
//! repeated. Every change of any key has the next version, so that a key which was deleted and comes
//! back never has an old one. Here is what is decided for one key; [`machine`](super::machine) keeps
//! all of them, and the model checker keeps one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::command::By;
use super::item::{Item, Operation, Session};
use super::told::Change;

/// Who may write, and the version of the last change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Gate<P: Ord, N: Ord> {
    /// The epoch that writes are taken of; 0: of none.
    serving: u64,
    /// For a partition and a node the first generation that may write.
    fences: BTreeMap<P, BTreeMap<N, u64>>,
    /// The highest version that any key ever had.
    versions: u64,
}

/// What is known of a key: what it holds, and the write that was done to it last, with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Known<I, V, Out> {
    /// What it holds.
    pub item: Item<V>,
    /// The last write, whether it changed anything or not.
    pub last: Option<(I, Option<Out>)>,
}

/// What becomes of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged<V, Out> {
    /// It was done before, with that outcome: nothing is to be done.
    Repeated(Option<Out>),
    /// Whoever writes may not: nothing is to be done.
    Fenced,
    /// It is to be done.
    Take {
        /// What the key holds then; `None`: as before.
        changed: Option<Item<V>>,
        /// What is told and remembered.
        outcome: Option<Out>,
    },
}

impl<P: Ord, N: Ord> Default for Gate<P, N> {
    fn default() -> Self {
        Self { serving: 0, fences: BTreeMap::new(), versions: 0 }
    }
}

impl<P: Ord + Clone, N: Ord + Clone> Gate<P, N> {
    /// The epoch that writes are taken of; 0: of none.
    pub fn serving(&self) -> u64 {
        self.serving
    }

    /// The version of the last change; that of every key that is not there.
    pub fn versions(&self) -> u64 {
        self.versions
    }

    /// Writes of earlier epochs are refused from now on. False, and nothing is done, if a later one
    /// is served. An epoch's fences are gone with it; that it is told again takes none away.
    pub fn take_over(&mut self, epoch: u64) -> bool {
        if epoch > self.serving {
            self.serving = epoch;
            self.fences.clear();
        }
        epoch == self.serving
    }

    /// Refuses writes of that session and all earlier ones of the node to that partition. False, and
    /// nothing is done, if another epoch is served, or none.
    pub fn fence(&mut self, partition: &P, node: &N, session: Session) -> bool {
        let serves = self.serving > 0 && session.epoch == self.serving;
        if serves {
            let of_partition = self.fences.entry(partition.clone()).or_default();
            let fence = of_partition.entry(node.clone()).or_default();
            *fence = (*fence).max(session.generation.saturating_add(1));
        }
        serves
    }

    /// No write is taken until the next [`take_over`](Self::take_over), and versions go on from
    /// there.
    pub fn shut(&mut self, versions: u64) {
        *self = Self { serving: 0, fences: BTreeMap::new(), versions };
    }

    /// What becomes of a write to a key of that partition, of which that is known. Nothing is done
    /// yet: [`took`](Self::took) follows if it is.
    pub fn judge<I: PartialEq, O: Operation>(
        &self,
        (partition, by): (&P, &By<N>),
        known: &Known<I, O::Value, O::Outcome>,
        id: &I,
        change: &Change<O::Value, O>,
    ) -> Judged<O::Value, O::Outcome> {
        if let Some((_, outcome)) = known.last.as_ref().filter(|(last, _)| last == id) {
            return Judged::Repeated(outcome.clone());
        }
        if !self.takes(partition, by) {
            return Judged::Fenced;
        }
        match change {
            Change::Put(item) => Judged::Take { changed: Some(item.clone()), outcome: None },
            Change::Apply(change) => {
                let (changed, outcome) = change.apply(&known.item);
                let changed = changed.item(self.versions.saturating_add(1));
                Judged::Take { changed, outcome: Some(outcome) }
            }
        }
    }

    /// A write was done, and the key has that version since.
    pub fn took(&mut self, version: u64) {
        self.versions = self.versions.max(version);
    }

    fn takes(&self, partition: &P, by: &By<N>) -> bool {
        if self.serving == 0 {
            return false;
        }
        match by {
            By::Home(epoch) => *epoch == self.serving,
            By::Holder(node, session) => {
                let fence = self.fences.get(partition).and_then(|fences| fences.get(node));
                let epoch = session.epoch == self.serving || mutant!(NoPartitionFence);
                epoch && session.generation >= fence.copied().unwrap_or(0)
            }
        }
    }
}

/// Memory of one key: what the model checker and the tests below run.
#[cfg(test)]
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OneKey<N: Ord, V, Out> {
    pub(super) gate: Gate<(), N>,
    known: Known<(N, u64), V, Out>,
}

#[cfg(test)]
impl<N: Ord, V, Out> Default for OneKey<N, V, Out> {
    fn default() -> Self {
        let known = Known { item: Item { version: 0, value: None }, last: None };
        Self { gate: Gate::default(), known }
    }
}

#[cfg(test)]
impl<N: Ord + Clone, V: Clone, Out: Clone> OneKey<N, V, Out> {
    pub(super) fn item(&self) -> &Item<V> {
        &self.known.item
    }

    /// Its time is over, by the memory's clock.
    pub(super) fn expire(&mut self) {
        self.known =
            Known { item: Item { version: self.gate.versions(), value: None }, last: None };
    }

    pub(super) fn write<O: Operation<Value = V, Outcome = Out>>(
        &mut self,
        by: &By<N>,
        id: (N, u64),
        change: &Change<V, O>,
    ) -> super::told::Written<V, Out> {
        let outcome = match self.gate.judge((&(), by), &self.known, &id, change) {
            Judged::Fenced => return super::told::Written::Fenced,
            Judged::Repeated(outcome) => outcome,
            Judged::Take { changed, outcome } => {
                if let Some(item) = changed {
                    self.gate.took(item.version);
                    self.known.item = item;
                }
                self.known.last = Some((id, outcome.clone()));
                outcome
            }
        };
        super::told::Written::Done { item: self.known.item.clone(), outcome, until: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Changed;
    use super::super::told::Written;
    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Add(u64);

    impl Operation for Add {
        type Value = u64;
        type Outcome = u64;

        fn apply(&self, item: &Item<u64>) -> (Changed<u64>, u64) {
            let sum = item.value.unwrap_or(0) + self.0;
            (Changed::To(sum), sum)
        }
    }

    type Memory = OneKey<&'static str, u64, u64>;

    fn add(memory: &mut Memory, by: Session, id: u64, add: u64) -> Written<u64, u64> {
        memory.write(&By::Holder("a", by), ("a", id), &Change::Apply(Add(add)))
    }

    fn done(version: u64, value: u64) -> Written<u64, u64> {
        let item = Item { version, value: Some(value) };
        Written::Done { item, outcome: Some(value), until: None }
    }

    #[test]
    fn a_repeated_write_is_done_once_and_answered_twice() {
        let mut memory = Memory::default();
        memory.gate.take_over(1);
        let by = Session { epoch: 1, generation: 1 };
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5));
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5));
        memory.gate.fence(&(), &"a", by);
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5), "it was done, whoever may write now");
        assert_eq!(add(&mut memory, by, 2, 5), Written::Fenced);
    }

    #[test]
    fn fences_are_of_an_epoch() {
        let mut memory = Memory::default();
        let first = Session { epoch: 1, generation: 1 };
        let second = Session { epoch: 1, generation: 2 };
        let none = Session { epoch: 0, generation: 1 };
        assert_eq!(add(&mut memory, none, 9, 1), Written::Fenced, "nobody serves yet");
        assert!(memory.gate.take_over(1));
        assert!(memory.gate.fence(&(), &"a", first));
        assert!(memory.gate.take_over(1), "again: the fence stays");
        assert_eq!(add(&mut memory, first, 1, 1), Written::Fenced);
        assert_eq!(add(&mut memory, second, 2, 1), done(1, 1));
        assert!(memory.gate.take_over(2) && !memory.gate.take_over(1), "never back");
        assert_eq!(add(&mut memory, second, 3, 1), Written::Fenced);
        assert!(!memory.gate.fence(&(), &"a", second), "a home of the past fences nobody off");
        assert_eq!(add(&mut memory, Session { epoch: 2, generation: 1 }, 4, 1), done(2, 2));
        memory.gate.shut(100);
        assert_eq!(memory.write(&By::Home(0), ("a", 5), &Change::Apply(Add(1))), Written::Fenced);
        assert!(memory.gate.take_over(3));
        assert_eq!(add(&mut memory, Session { epoch: 3, generation: 1 }, 6, 1), done(101, 3));
    }
}
