//! Listing.

use super::shard::Shard;
use super::slab::{Segment, wide};

/// An entry as it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryView<'a, K, V> {
    /// Its place; it keeps it as long as it is there.
    pub slot: u32,
    /// Its key.
    pub key: &'a K,
    /// Its value.
    pub value: &'a V,
    /// Its bytes, with the overhead.
    pub weight: u64,
    /// Where it is in the policy.
    pub segment: Segment,
    /// How often the key was asked for lately, 0 to 15, estimated; 0 with LRU.
    pub frequency: u64,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a, K, V> {
    /// Entries by slot.
    pub entries: Vec<EntryView<'a, K, V>>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<u32>,
}

impl<K, V> Shard<K, V> {
    /// All entries from a slot on, by slot.
    pub fn entries_from(&self, slot: u32) -> impl Iterator<Item = EntryView<'_, K, V>> {
        self.slab.slots().iter().skip(wide(slot)).zip(slot..).filter_map(|(held, slot)| {
            let entry = held.entry.as_ref()?;
            Some(EntryView {
                slot,
                key: &entry.key,
                value: &entry.value,
                weight: held.weight,
                segment: held.segment,
                frequency: self.frequency(slot),
            })
        })
    }

    /// At most `limit` entries from a slot on; the first page begins at 0.
    ///
    /// # Consistency
    /// An entry that is there from the first page to the last is listed exactly once, whatever
    /// happens to others in between.
    pub fn page(&self, from_slot: u32, limit: usize) -> Page<'_, K, V> {
        let mut rest = self.entries_from(from_slot);
        let entries: Vec<_> = rest.by_ref().take(limit).collect();
        Page { entries, next: rest.next().map(|entry| entry.slot) }
    }
}
