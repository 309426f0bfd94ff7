//! The shard and what is done with one key.

use std::borrow::Borrow;
use std::hash::Hash;

use super::config::{Config, Counters, Limits, Policy, Refused, Rooms};
use super::hash::hash_of;
use super::index::Index;
use super::sketch::Sketch;
use super::slab::{Entry, NONE, Segment, Slab, Slot};

/// Keys, values and the order in which they give way.
///
/// After an insertion, a larger weight or smaller limits the owner calls [`Shard::propose`] until
/// it has no more proposals; till then the shard may be above its limits.
#[derive(Debug)]
pub struct Shard<K, V> {
    pub(super) config: Config,
    pub(super) rooms: Rooms,
    pub(super) index: Index,
    pub(super) slab: Slab<K, V>,
    pub(super) sketch: Option<Sketch>,
    pub(super) counters: Counters,
    /// Of proposals: what was declined in this one is not proposed again in it.
    pub(super) round: u32,
}

impl<K, V> Shard<K, V> {
    /// Bytes that an entry takes beside those its owner says: its slot, up to 22 bytes of index, up
    /// to 16 of sketch, and what an allocator adds to two pieces of memory.
    pub const OVERHEAD: u64 = {
        #[expect(clippy::as_conversions, reason = "no other conversion is possible in a constant")]
        let slot = size_of::<Slot<K, V>>() as u64;
        slot + 64
    };

    /// An empty shard.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            rooms: Rooms::new(config.policy, config.limits),
            index: Index::default(),
            slab: Slab::new(),
            sketch: (config.policy == Policy::TinyLfu).then(Sketch::new),
            counters: Counters::default(),
            round: 1,
        }
    }

    /// What it was made with, and the limits as they are.
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Sets other limits. Above them there are proposals until the shard is within.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
        self.rooms = Rooms::new(self.config.policy, limits);
        self.begin_round();
        self.demote();
        self.settle();
    }

    /// Number of entries.
    pub const fn len(&self) -> u64 {
        self.slab.len()
    }

    /// It has no entries.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all entries, with their overhead.
    pub const fn bytes(&self) -> u64 {
        self.slab.bytes()
    }

    /// It is above one of its limits: there are proposals.
    pub const fn is_over(&self) -> bool {
        self.rooms.all.exceeded(self.bytes(), self.len())
    }

    /// What happened since the shard was made.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Drops all entries and what is known of keys; counters go on.
    pub fn clear(&mut self) {
        let (counters, round) = (self.counters, self.round);
        *self = Self { counters, round, ..Self::new(self.config) };
    }

    /// All may be proposed again.
    pub(super) const fn begin_round(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// The entry of a slot was used.
    fn touch(&mut self, slot: u32) {
        self.begin_round();
        let Some(segment) = self.slab.get(slot).map(|slot| slot.segment) else { return };
        match segment {
            Segment::Window | Segment::Protected => self.slab.move_to_head(slot, segment),
            Segment::Probation => {
                self.slab.move_to_head(slot, Segment::Protected);
                self.demote();
            }
        }
    }

    /// Lets what is too much in protected fall back to probation.
    fn demote(&mut self) {
        loop {
            let list = *self.slab.list(Segment::Protected);
            if list.tail == NONE || !self.rooms.protected.exceeded(list.bytes, list.len) {
                return;
            }
            self.slab.move_to_head(list.tail, Segment::Probation);
        }
    }

    /// While there is room, lets what is too much in the window into the main part.
    pub(super) fn settle(&mut self) {
        while !self.is_over() && self.window_is_over() {
            self.slab.move_to_head(self.slab.list(Segment::Window).tail, Segment::Probation);
        }
    }

    pub(super) const fn window_is_over(&self) -> bool {
        let list = self.slab.list(Segment::Window);
        self.rooms.window.exceeded(list.bytes, list.len)
    }

    fn sample(&mut self, hash: u64) {
        if let Some(sketch) = &mut self.sketch {
            sketch.add(hash);
        }
    }

    /// The weight of an entry of so many bytes, if it can fit.
    fn weigh(&self, bytes: u64) -> Result<u64, Refused> {
        let weight = bytes.saturating_add(Self::OVERHEAD);
        match self.config.limits.bytes {
            Some(limit) if weight > limit => Err(Refused::TooLarge { weight, limit }),
            Some(_) | None => Ok(weight),
        }
    }
}

impl<K: Hash + Eq, V> Shard<K, V> {
    /// The value of a key, as a use of it: a hit, or a miss if there is none.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_if(key, |_| true)
    }

    /// The value of a key if it is `usable`, as a use of it: a hit; else a miss. An entry that is
    /// there and not usable stays where it is.
    pub fn get_if<Q>(&mut self, key: &Q, usable: impl FnOnce(&V) -> bool) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hash(key);
        self.sample(hash);
        let usable = |slot: &u32| self.slab.entry(*slot).is_some_and(|entry| usable(&entry.value));
        let Some(slot) = self.find(hash, key).filter(usable) else {
            self.counters.misses += 1;
            return None;
        };
        self.counters.hits += 1;
        self.touch(slot);
        self.slab.entry(slot).map(|entry| &entry.value)
    }

    /// The value of a key; not a use of it.
    pub fn peek<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slot = self.find(self.hash(key), key)?;
        self.slab.entry(slot).map(|entry| &entry.value)
    }

    /// The value of a key, to change it; not a use of it. If that changes its size, say so with
    /// [`Shard::reweigh`].
    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slot = self.find(self.hash(key), key)?;
        self.slab.entry_mut(slot).map(|entry| &mut entry.value)
    }

    /// Puts a value under a key, with the bytes of both on the heap; gives the value that was
    /// there. To replace one is a use of it. The shard may be above its limits then.
    ///
    /// # Errors
    /// `TooLarge`: the entry is above the limit by itself. `TooMany`: there are 2³² - 1 entries.
    /// The shard is as it was, an older value of the key included; the same call fails again until
    /// the limits change or entries are removed.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) -> Result<Option<V>, Refused> {
        let weight = self.weigh(bytes)?;
        let hash = self.hash(&key);
        if let Some(slot) = self.find(hash, &key) {
            self.sample(hash);
            self.slab.set_weight(slot, weight);
            self.touch(slot);
            self.demote();
            self.settle();
            let entry = self.slab.entry_mut(slot);
            return Ok(entry.map(|entry| std::mem::replace(&mut entry.value, value)));
        }
        let added = self.slab.insert(Entry { key, value }, hash, weight);
        let slot = added.ok_or(Refused::TooMany { max: NONE })?;
        self.index.insert(hash, slot);
        self.counters.insertions += 1;
        self.begin_round();
        // A shard that is above its limit for a moment needs no sketch for twice as many.
        let most = self.len().min(self.rooms.all.entries);
        if let Some(sketch) = &mut self.sketch {
            sketch.ensure(most);
        }
        self.settle();
        Ok(None)
    }

    /// Sets the bytes of an entry anew, those of key and value on the heap; `false`: it is not
    /// there. Not a use of it. The shard may be above its limits then.
    ///
    /// # Errors
    /// `TooLarge`: the entry would be above the limit by itself; its weight is as it was.
    pub fn reweigh<Q>(&mut self, key: &Q, bytes: u64) -> Result<bool, Refused>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(slot) = self.find(self.hash(key), key) else { return Ok(false) };
        let weight = self.weigh(bytes)?;
        self.slab.set_weight(slot, weight);
        self.begin_round();
        self.demote();
        self.settle();
        Ok(true)
    }

    /// Takes an entry out; it is not counted.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slot = self.find(self.hash(key), key)?;
        self.take(slot)
    }

    /// Counts a miss that was found out by other means than [`Shard::get`].
    pub fn note_miss<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        self.counters.misses += 1;
        self.note_access(key);
    }

    /// Counts a key as asked for where only the policy hears of it: before a write of a key that is
    /// not there, say.
    pub fn note_access<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + ?Sized,
    {
        self.sample(self.hash(key));
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u64
    where
        K: Borrow<Q>,
    {
        hash_of(self.config.seed, key)
    }

    pub(super) fn find<Q>(&self, hash: u64, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.index
            .find(hash, |slot| self.slab.entry(slot).is_some_and(|entry| entry.key.borrow() == key))
    }
}

impl<K, V> Shard<K, V> {
    /// Takes an entry out of its slot.
    pub(super) fn take(&mut self, slot: u32) -> Option<(K, V)> {
        let hash = self.slab.get(slot)?.hash;
        let Entry { key, value } = self.slab.remove(slot)?;
        self.index.remove(hash, slot);
        self.settle();
        Some((key, value))
    }
}
