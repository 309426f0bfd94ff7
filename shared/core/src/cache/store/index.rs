//! From a hash to slots: open addressing with linear probing.
//!
//! Keys stay in their slots, so that they are stored once; the table knows 32 bits of the hash of
//! each and finds its place again from these, so that neither growth nor removal looks at a key.

use super::slab::{NONE, wide};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    tag: u32,
    slot: u32,
}

const EMPTY: Bucket = Bucket { tag: 0, slot: NONE };
/// Buckets of a table that has entries, at first.
const FIRST: usize = 16;

/// The table. Its length is a power of two, and at most three quarters of it are taken.
#[derive(Debug, Default)]
pub(super) struct Index {
    buckets: Vec<Bucket>,
    len: usize,
}

impl Index {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The slot of that hash which is the right one.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let mut at = self.home(tag);
        loop {
            let bucket = self.at(at);
            if bucket.slot == NONE {
                return None;
            }
            if bucket.tag == tag && is_it(bucket.slot) {
                return Some(bucket.slot);
            }
            at = self.after(at);
        }
    }

    /// Adds a slot, which must not be there.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        if (self.len + 1) * 4 > self.buckets.len() * 3 {
            self.grow();
        }
        self.place(Bucket { tag: tag_of(hash), slot });
        self.len += 1;
    }

    /// Takes a slot out, if it is there.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let mut at = self.home(tag_of(hash));
        while self.at(at).slot != slot {
            if self.at(at).slot == NONE {
                return;
            }
            at = self.after(at);
        }
        self.close(at);
        self.len -= 1;
    }

    /// Fills a gap with those behind it that would no longer be found past it.
    fn close(&mut self, mut gap: usize) {
        let mut at = gap;
        loop {
            at = self.after(at);
            let bucket = self.at(at);
            if bucket.slot == NONE {
                break;
            }
            let moved = self.distance(self.home(bucket.tag), at);
            if moved >= self.distance(gap, at) {
                self.put(gap, bucket);
                gap = at;
            }
        }
        self.put(gap, EMPTY);
    }

    fn grow(&mut self) {
        let size = (self.buckets.len() * 2).max(FIRST);
        let old = std::mem::replace(&mut self.buckets, vec![EMPTY; size]);
        for bucket in old.into_iter().filter(|bucket| bucket.slot != NONE) {
            self.place(bucket);
        }
    }

    fn place(&mut self, bucket: Bucket) {
        let mut at = self.home(bucket.tag);
        while self.at(at).slot != NONE {
            at = self.after(at);
        }
        self.put(at, bucket);
    }

    /// An empty table reads as one empty bucket.
    fn at(&self, at: usize) -> Bucket {
        self.buckets.get(at).copied().unwrap_or(EMPTY)
    }

    fn put(&mut self, at: usize, bucket: Bucket) {
        if let Some(place) = self.buckets.get_mut(at) {
            *place = bucket;
        }
    }

    const fn mask(&self) -> usize {
        self.buckets.len().wrapping_sub(1)
    }

    fn home(&self, tag: u32) -> usize {
        wide(tag) & self.mask()
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & self.mask()
    }

    const fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & self.mask()
    }
}

fn tag_of(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few different hashes, so that runs are long, wrap around and have gaps in the middle.
        #[test]
        fn equals_a_set(steps in prop::collection::vec((0_u32..40, any::<bool>()), 0..400)) {
            let hash = |slot: u32| (u64::from(slot % 7) * 5) << 32;
            let (mut index, mut set) = (Index::default(), BTreeSet::new());
            for (slot, add) in steps {
                if !add {
                    set.remove(&slot);
                    index.remove(hash(slot), slot);
                } else if set.insert(slot) {
                    index.insert(hash(slot), slot);
                }
                prop_assert_eq!(index.len(), set.len());
                for slot in 0..40 {
                    let found = index.find(hash(slot), |found| found == slot);
                    prop_assert_eq!(found.is_some(), set.contains(&slot));
                }
            }
        }
    }
}
