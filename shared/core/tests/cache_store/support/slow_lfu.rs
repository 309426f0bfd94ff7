//! W-TinyLFU and LRU as the papers tell them, for entries of one size: ordered maps, exact counts
//! in place of a sketch, and no code or idea of layout in common with the shard.

use std::collections::BTreeMap;

/// Counts stop there, as those of four bits do.
const COUNT_MAX: u32 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Window,
    Probation,
    Protected,
}

/// Keys with the time of their last use or move, and where each is.
#[derive(Debug)]
pub(crate) struct SlowLfu {
    places: BTreeMap<u64, (Place, u64)>,
    window: BTreeMap<u64, u64>,
    probation: BTreeMap<u64, u64>,
    protected: BTreeMap<u64, u64>,
    counts: BTreeMap<u64, u32>,
    samples: usize,
    clock: u64,
    window_max: usize,
    main_max: usize,
    protected_max: usize,
}

impl SlowLfu {
    pub(crate) fn new(capacity: usize) -> Self {
        let window_max = (capacity / 100).max(1);
        let main_max = capacity - window_max;
        Self {
            places: BTreeMap::new(),
            window: BTreeMap::new(),
            probation: BTreeMap::new(),
            protected: BTreeMap::new(),
            counts: BTreeMap::new(),
            samples: 0,
            clock: 0,
            window_max,
            main_max,
            protected_max: main_max * 8 / 10,
        }
    }

    /// Asks for a key, and puts it there if it is not; true: it was.
    pub(crate) fn ask(&mut self, key: u64) -> bool {
        self.count(key);
        match self.places.get(&key).map(|(place, _)| *place) {
            Some(Place::Window) => self.put(key, Place::Window),
            Some(Place::Protected) => self.put(key, Place::Protected),
            Some(Place::Probation) => {
                self.put(key, Place::Protected);
                if self.protected.len() > self.protected_max {
                    let oldest = *self.protected.first_key_value().unwrap().1;
                    self.put(oldest, Place::Probation);
                }
            }
            None => {
                self.put(key, Place::Window);
                self.make_room();
                return false;
            }
        }
        true
    }

    fn make_room(&mut self) {
        if self.window.len() <= self.window_max {
            return;
        }
        let candidate = *self.window.first_key_value().unwrap().1;
        if self.probation.len() + self.protected.len() < self.main_max {
            self.put(candidate, Place::Probation);
            return;
        }
        let victim = self.probation.first_key_value().or(self.protected.first_key_value());
        let victim = *victim.unwrap().1;
        if self.counted(candidate) > self.counted(victim) {
            self.drop(victim);
            self.put(candidate, Place::Probation);
        } else {
            self.drop(candidate);
        }
    }

    fn put(&mut self, key: u64, place: Place) {
        self.drop(key);
        self.clock += 1;
        self.places.insert(key, (place, self.clock));
        let clock = self.clock;
        self.segment(place).insert(clock, key);
    }

    fn drop(&mut self, key: u64) {
        if let Some((place, time)) = self.places.remove(&key) {
            self.segment(place).remove(&time);
        }
    }

    fn segment(&mut self, place: Place) -> &mut BTreeMap<u64, u64> {
        match place {
            Place::Window => &mut self.window,
            Place::Probation => &mut self.probation,
            Place::Protected => &mut self.protected,
        }
    }

    fn counted(&self, key: u64) -> u32 {
        self.counts.get(&key).copied().unwrap_or(0)
    }

    fn count(&mut self, key: u64) {
        let count = self.counts.entry(key).or_default();
        *count = (*count + 1).min(COUNT_MAX);
        self.samples += 1;
        if self.samples >= (self.window_max + self.main_max) * 10 {
            for count in self.counts.values_mut() {
                *count /= 2;
            }
            self.counts.retain(|_, count| *count > 0);
            self.samples /= 2;
        }
    }
}

/// LRU by times of use, fast enough for long traces.
#[derive(Debug)]
pub(crate) struct LongLru {
    times: BTreeMap<u64, u64>,
    keys: BTreeMap<u64, u64>,
    clock: u64,
    capacity: usize,
}

impl LongLru {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { times: BTreeMap::new(), keys: BTreeMap::new(), clock: 0, capacity }
    }

    /// Asks for a key, and puts it there if it is not; true: it was.
    pub(crate) fn ask(&mut self, key: u64) -> bool {
        self.clock += 1;
        let before = self.times.insert(key, self.clock);
        self.keys.insert(self.clock, key);
        if let Some(time) = before {
            self.keys.remove(&time);
        } else if self.keys.len() > self.capacity {
            let (_, oldest) = self.keys.pop_first().unwrap();
            self.times.remove(&oldest);
        }
        before.is_some()
    }
}
