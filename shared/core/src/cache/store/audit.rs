//! Invariant S1, checked in full.

use std::hash::Hash;

use super::shard::Shard;
use super::slab::{NONE, Segment};

impl<K: Hash + Eq, V> Shard<K, V> {
    /// Walks through everything and says what does not hold. For tests: O(n).
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn audit(&self) -> Result<(), String> {
        let mut linked = 0;
        for segment in Segment::ALL {
            linked += self.audit_list(segment)?;
        }
        let held = self.slab.slots().iter().filter(|slot| slot.entry.is_some()).count();
        let counts = [linked, self.len(), u64::try_from(self.index.len()).unwrap_or(u64::MAX)];
        if counts.iter().any(|count| usize::try_from(*count) != Ok(held)) {
            return Err(format!("{held} entries; linked, counted, indexed: {counts:?}"));
        }
        for entry in self.entries_from(0) {
            let hash = super::hash_of(self.config.seed, entry.key);
            if self.find(hash, entry.key) != Some(entry.slot) {
                return Err(format!("the key of slot {} is not found there", entry.slot));
            }
        }
        let protected = self.slab.list(Segment::Protected);
        if self.rooms.protected.exceeded(protected.bytes, protected.len) {
            return Err(format!("protected has too much: {protected:?}"));
        }
        if !self.is_over() && self.window_is_over() {
            return Err("the window has too much though there is room".to_owned());
        }
        Ok(())
    }

    fn audit_list(&self, segment: Segment) -> Result<u64, String> {
        let list = *self.slab.list(segment);
        let (mut len, mut bytes) = (0, 0);
        let (mut at, mut before) = (list.head, NONE);
        while at != NONE && len <= list.len {
            let slot = self.slab.get(at).ok_or_else(|| format!("no slot {at}"))?;
            if slot.segment != segment || slot.prev != before || slot.entry.is_none() {
                return Err(format!("slot {at} is wrong in the chain of {segment:?}"));
            }
            len += 1;
            bytes += slot.weight;
            (before, at) = (at, slot.next);
        }
        if (list.tail, list.len, list.bytes) != (before, len, bytes) {
            return Err(format!("{segment:?}: {list:?}, found {len} of {bytes} bytes"));
        }
        Ok(len)
    }
}
