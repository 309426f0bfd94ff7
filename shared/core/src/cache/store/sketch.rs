//! How often keys were asked for lately, those that are not there too.
//!
//! A count-min sketch: four rows of 4-bit counters, of which only the smallest of a key's four are
//! raised. The four of one key lie in one cache line. After ten times as many samples as there are
//! entries all counters are halved, so that what was asked for long ago does not count for ever.

use super::slab::wide;

/// Sixty-four bytes with 128 counters: two words, 32 counters, for each of the four rows.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Block([u64; 8]);

/// Highest count.
const MAX: u64 = 15;
/// Entries for each block: 16 counters for an entry.
const ENTRIES_PER_BLOCK: u64 = 8;
/// Samples for each entry between two halvings.
const SAMPLES_PER_ENTRY: u64 = 10;
/// Entries for which there is room from the start.
const FIRST: u64 = 64;
/// All counters less their lowest bit, after a shift to the right.
const HALVES: u64 = 0x7777_7777_7777_7777;

/// The counters.
#[derive(Debug)]
pub(super) struct Sketch {
    /// A power of two of them.
    blocks: Vec<Block>,
    /// The most entries there were.
    entries: u64,
    samples: u64,
}

impl Sketch {
    pub(super) fn new() -> Self {
        let blocks = vec![Block([0; 8]); 8];
        Self { blocks, entries: FIRST, samples: 0 }
    }

    /// Makes room for so many entries. Counts stay as they are: a table twice as long is the old
    /// one twice, as a key's block is the low bits of its hash.
    pub(super) fn ensure(&mut self, entries: u64) {
        if entries <= self.entries {
            return;
        }
        self.entries = entries;
        while u64::try_from(self.blocks.len()).is_ok_and(|n| n * ENTRIES_PER_BLOCK < entries) {
            self.blocks.extend_from_within(..);
        }
    }

    /// How often a key was asked for, 0 to 15; sometimes more than it was.
    pub(super) fn count(&self, hash: u64) -> u64 {
        let Some(block) = self.blocks.get(self.place(hash)) else { return 0 };
        counters(hash).map(|counter| block.count(counter)).into_iter().min().unwrap_or(0)
    }

    /// Notes that a key was asked for.
    pub(super) fn add(&mut self, hash: u64) {
        let place = self.place(hash);
        let Some(block) = self.blocks.get_mut(place) else { return };
        let own = counters(hash);
        let counts = own.map(|counter| block.count(counter));
        let least = counts.into_iter().min().unwrap_or(MAX);
        if least < MAX {
            for (counter, count) in own.into_iter().zip(counts) {
                if count == least {
                    block.raise(counter);
                }
            }
        }
        self.samples += 1;
        if self.samples >= self.entries * SAMPLES_PER_ENTRY {
            self.halve();
        }
    }

    fn halve(&mut self) {
        for word in self.blocks.iter_mut().flat_map(|block| &mut block.0) {
            *word = (*word >> 1) & HALVES;
        }
        self.samples /= 2;
    }

    fn place(&self, hash: u64) -> usize {
        wide(low(hash)) & (self.blocks.len() - 1)
    }
}

impl Block {
    fn count(&self, counter: Counter) -> u64 {
        self.0.get(counter.word).map_or(0, |word| (word >> counter.shift) & MAX)
    }

    fn raise(&mut self, counter: Counter) {
        if let Some(word) = self.0.get_mut(counter.word) {
            *word += 1 << counter.shift;
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    word: usize,
    shift: u32,
}

/// Five bits of the upper half of the hash for each row, for the lower half chose the block.
fn counters(hash: u64) -> [Counter; 4] {
    let bits = low(hash >> 32);
    [0, 1, 2, 3].map(|row: u32| {
        let own = bits >> (row * 5 + 4) & 31;
        Counter { word: wide(row * 2 + (own >> 4)), shift: (own & 15) * 4 }
    })
}

fn low(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(key: u64) -> u64 {
        super::super::hash_of(3, &key)
    }

    #[test]
    fn counts_up_to_15_and_never_too_few() {
        let mut sketch = Sketch::new();
        sketch.ensure(1_000);
        for key in 0..200 {
            for _ in 0..key % 20 {
                sketch.add(hash(key));
            }
        }
        let over: u64 = (0..200)
            .map(|key| sketch.count(hash(key)).checked_sub((key % 20).min(15)).unwrap())
            .sum();
        assert!(over <= 5, "{over} too many");
    }

    #[test]
    fn growth_keeps_counts() {
        let mut sketch = Sketch::new();
        for _ in 0..9 {
            sketch.add(hash(1));
        }
        for entries in [65, 1_000, 100_000] {
            sketch.ensure(entries);
            assert_eq!(sketch.count(hash(1)), 9);
        }
        assert_eq!(sketch.blocks.len(), 16_384, "8 bytes an entry, up to a power of two");
    }

    #[test]
    fn ages_after_ten_samples_an_entry() {
        let mut sketch = Sketch::new();
        for _ in 0..13 {
            sketch.add(hash(1));
        }
        for key in 0..626 {
            sketch.add(hash(1_000 + key));
        }
        assert_eq!((sketch.count(hash(1)), sketch.samples), (13, 639));
        sketch.add(hash(9_999));
        assert_eq!((sketch.count(hash(1)), sketch.samples), (6, 320));
    }
}
