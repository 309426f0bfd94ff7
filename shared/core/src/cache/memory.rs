//! The memory: where a key's value is, and which writes it takes.
//!
//! Each partition has an epoch, which the home that serves it sets before it serves, and for each
//! node the first generation that may write. The memory is the point at which a change happens: it
//! takes one only from the epoch and the sessions that are not fenced off, carries it out in one
//! piece, and knows it again if it is repeated.

use std::collections::BTreeMap;

use super::item::{Item, Operation, Session};
use super::told::{Change, Written};

/// Which write it is: unique for all nodes and all their runs.
pub type WriteId<N> = (N, u64);

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Authority<N> {
    /// A node that holds the key, in that session.
    Holder(N, Session),
    /// The home of the key, in that epoch.
    Home(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Record<N, V, Out> {
    item: Item<V>,
    last: Option<(WriteId<N>, Option<Out>)>,
}

/// The keys of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Partition<N, K, V, Out> {
    epoch: u64,
    fences: BTreeMap<N, u64>,
    /// The highest version that any key here ever had: a key that comes back never has an old one.
    versions: u64,
    records: BTreeMap<K, Record<N, V, Out>>,
}

impl<N, K, V, Out> Default for Partition<N, K, V, Out> {
    fn default() -> Self {
        Self { epoch: 0, fences: BTreeMap::new(), versions: 0, records: BTreeMap::new() }
    }
}

impl<N: Ord + Clone, K: Ord + Clone, V: Clone, Out: Clone> Partition<N, K, V, Out> {
    /// A home of that epoch takes the partition over: writes of earlier epochs are refused from now
    /// on. False, and nothing is done, if a later epoch has it.
    pub fn take_over(&mut self, epoch: u64) -> bool {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.fences.clear();
        }
        epoch == self.epoch
    }

    /// Refuses writes of that session and all earlier ones of the node. False, and nothing is done,
    /// if the partition has another epoch.
    pub fn fence(&mut self, node: &N, session: Session) -> bool {
        if session.epoch == self.epoch {
            let fence = self.fences.entry(node.clone()).or_default();
            *fence = (*fence).max(session.generation + 1);
        }
        session.epoch == self.epoch
    }

    /// What a key holds.
    pub fn get(&self, key: &K) -> Item<V> {
        let absent = || Item { version: self.versions, value: None };
        self.records.get(key).map_or_else(absent, |record| record.item.clone())
    }

    /// Carries a change out, unless whoever writes may not.
    pub fn write<O: Operation<Value = V, Outcome = Out>>(
        &mut self,
        authority: &Authority<N>,
        key: &K,
        id: WriteId<N>,
        change: &Change<V, O>,
    ) -> Written<V, Out> {
        let repeated =
            self.records.get(key).filter(|one| one.last.as_ref().is_some_and(|l| l.0 == id));
        if let Some(Record { item, last: Some((_, outcome)) }) = repeated {
            return Written::Done { item: item.clone(), outcome: outcome.clone(), until: None };
        }
        if !self.takes(authority) {
            return Written::Fenced;
        }
        let before = self.get(key);
        let (item, outcome) = match change {
            Change::Put(item) => (item.clone(), None),
            Change::Apply(change) => {
                let (changed, outcome) = change.apply(&before);
                (changed.item(self.versions + 1).unwrap_or(before), Some(outcome))
            }
        };
        self.versions = self.versions.max(item.version);
        let record = Record { item: item.clone(), last: Some((id, outcome.clone())) };
        self.records.insert(key.clone(), record);
        Written::Done { item, outcome, until: None }
    }

    fn takes(&self, authority: &Authority<N>) -> bool {
        match authority {
            Authority::Home(epoch) => *epoch == self.epoch,
            Authority::Holder(node, session) => {
                let fence = self.fences.get(node).copied().unwrap_or(0);
                let epoch = session.epoch == self.epoch || mutant!(NoPartitionFence);
                epoch && session.generation >= fence
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::Changed;
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

    type Memory = Partition<&'static str, &'static str, u64, u64>;

    fn add(memory: &mut Memory, by: Session, id: u64, add: u64) -> Written<u64, u64> {
        let change = Change::Apply(Add(add));
        memory.write(&Authority::Holder("a", by), &"k", ("a", id), &change)
    }

    fn done(version: u64, value: u64) -> Written<u64, u64> {
        let item = Item { version, value: Some(value) };
        Written::Done { item, outcome: Some(value), until: None }
    }

    #[test]
    fn a_repeated_write_is_done_once_and_answered_twice() {
        let mut memory = Memory::default();
        memory.take_over(1);
        let by = Session { epoch: 1, generation: 1 };
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5));
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5));
        memory.fence(&"a", by);
        assert_eq!(add(&mut memory, by, 1, 5), done(1, 5), "it was done, whoever may write now");
        assert_eq!(add(&mut memory, by, 2, 5), Written::Fenced);
    }

    #[test]
    fn fences_are_of_an_epoch() {
        let mut memory = Memory::default();
        assert!(memory.take_over(1));
        let first = Session { epoch: 1, generation: 1 };
        let second = Session { epoch: 1, generation: 2 };
        assert!(memory.fence(&"a", first));
        assert_eq!(add(&mut memory, first, 1, 1), Written::Fenced);
        assert_eq!(add(&mut memory, second, 2, 1), done(1, 1));
        assert!(memory.take_over(2) && !memory.take_over(1), "never back");
        assert_eq!(add(&mut memory, second, 3, 1), Written::Fenced);
        assert!(!memory.fence(&"a", second), "a home of the past fences nobody off");
        assert_eq!(add(&mut memory, Session { epoch: 2, generation: 1 }, 4, 1), done(2, 2));
    }
}
