//! Which entry should go, and what its owner says to it.

use super::shard::Shard;
use super::slab::{NONE, Segment};

/// What the owner says to a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The entry goes.
    Evict,
    /// The entry stays and counts on.
    Decline,
}

/// Why an entry was proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It has to make room.
    Evicted,
    /// It is new, and was asked for no more often than what it would displace.
    Rejected,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed<K, V> {
    /// The entry was taken out.
    Gone {
        /// Its key.
        key: K,
        /// Its value.
        value: V,
        /// The bytes that are free now.
        weight: u64,
        /// Why it was proposed.
        cause: Cause,
    },
    /// The owner declined.
    Declined,
}

impl<K, V> Shard<K, V> {
    /// Proposes the entry that should go next to `judge`, who may change its value; `None`: the
    /// shard is within its limits, or every entry that could go was declined.
    ///
    /// The owner calls it until it gives `None`, which ends the round. In a round no entry is
    /// proposed twice, so that this comes to an end even if everything is declined: after one call
    /// for each entry, at most. Who wants to try fewer stops earlier. A declined entry becomes the
    /// most recently used of its segment, so that the next round begins with others. An insertion,
    /// a use, a new weight or new limits begin a new round too.
    pub fn propose(&mut self, judge: impl FnOnce(&K, &mut V) -> Verdict) -> Option<Proposed<K, V>> {
        let Some((slot, cause)) = self.next() else {
            self.begin_round();
            return None;
        };
        let entry = self.slab.entry_mut(slot)?;
        match judge(&entry.key, &mut entry.value) {
            Verdict::Evict => self.let_go(slot, cause),
            Verdict::Decline => {
                self.defer(slot);
                Some(Proposed::Declined)
            }
        }
    }

    fn let_go(&mut self, slot: u32, cause: Cause) -> Option<Proposed<K, V>> {
        let weight = self.slab.get(slot)?.weight;
        let (key, value) = self.take(slot)?;
        match cause {
            Cause::Evicted => self.counters.evictions += 1,
            Cause::Rejected => self.counters.rejections += 1,
        }
        Some(Proposed::Gone { key, value, weight, cause })
    }

    fn defer(&mut self, slot: u32) {
        let round = self.round;
        let Some(entry) = self.slab.get_mut(slot) else { return };
        entry.declined = round;
        let segment = entry.segment;
        self.slab.move_to_head(slot, segment);
    }

    fn next(&mut self) -> Option<(u32, Cause)> {
        if !self.is_over() {
            self.settle();
            return None;
        }
        let victim = self.last(Segment::Probation).or_else(|| self.last(Segment::Protected));
        let candidate = if self.window_is_over() { self.last(Segment::Window) } else { None };
        match (candidate, victim) {
            (Some(candidate), Some(victim))
                if self.frequency(candidate) > self.frequency(victim) =>
            {
                Some((victim, Cause::Evicted))
            }
            (Some(candidate), Some(_)) => Some((candidate, Cause::Rejected)),
            (None, Some(victim)) => Some((victim, Cause::Evicted)),
            (_, None) => self.last(Segment::Window).map(|slot| (slot, Cause::Evicted)),
        }
    }

    /// The least recently used of a segment, if it was not declined: what is declined goes to the
    /// head, so when it is the last one all of them were.
    fn last(&self, segment: Segment) -> Option<u32> {
        let slot = self.slab.list(segment).tail;
        (slot != NONE && self.slab.get(slot)?.declined != self.round).then_some(slot)
    }

    /// How often the key in a slot was asked for lately.
    pub(super) fn frequency(&self, slot: u32) -> u64 {
        let hash = self.slab.get(slot).map_or(0, |slot| slot.hash);
        self.sketch.as_ref().map_or(0, |sketch| sketch.count(hash))
    }
}
