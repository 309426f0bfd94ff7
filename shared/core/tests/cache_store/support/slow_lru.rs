//! LRU as one would explain it: a list, searched from one end to the other.

/// Key, value and weight, the least recently used first.
#[derive(Debug, Default)]
pub(crate) struct SlowLru {
    pub(crate) entries: Vec<(u64, u64, u64)>,
    pub(crate) max_bytes: u64,
    pub(crate) max_entries: u64,
}

impl SlowLru {
    fn take(&mut self, key: u64) -> Option<(u64, u64, u64)> {
        let at = self.entries.iter().position(|entry| entry.0 == key)?;
        Some(self.entries.remove(at))
    }

    pub(crate) fn find(&mut self, key: u64) -> Option<&mut (u64, u64, u64)> {
        self.entries.iter_mut().find(|entry| entry.0 == key)
    }

    pub(crate) fn get(&mut self, key: u64) -> Option<u64> {
        let entry = self.take(key)?;
        self.entries.push(entry);
        Some(entry.1)
    }

    pub(crate) fn insert(&mut self, key: u64, value: u64, weight: u64) -> Option<u64> {
        let old = self.take(key);
        self.entries.push((key, value, weight));
        old.map(|entry| entry.1)
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<u64> {
        self.take(key).map(|entry| entry.1)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.2).sum()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.bytes() > self.max_bytes || self.entries.len() as u64 > self.max_entries
    }

    /// What has to go, in its order; those that are pinned become the most recently used.
    pub(crate) fn drain_but(&mut self, pinned: impl Fn(u64) -> bool) -> Vec<u64> {
        let order: Vec<u64> = self.entries.iter().map(|entry| entry.0).collect();
        let mut gone = Vec::new();
        for key in order {
            if !self.is_over() {
                break;
            }
            if pinned(key) {
                self.get(key);
            } else {
                self.take(key);
                gone.push(key);
            }
        }
        gone
    }
}
