//! Outcomes of requests that no live session keeps: of detached keys, and the last ones of
//! sessions that ended by themselves. Bounded in number and in cluster time.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Outcome, RequestKey};

/// Time that such an outcome is kept: a repetition after it counts as a new request.
pub const REMEMBER_MS: u64 = 10 * 60 * 1000;
/// Most such outcomes kept; the oldest give way.
pub const REMEMBER_MAX: usize = 100_000;

/// The outcomes, by key and by age.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Remembered {
    by_key: BTreeMap<RequestKey, (u64, Outcome)>,
    #[serde(skip)]
    by_age: BTreeSet<(u64, RequestKey)>,
}

impl Remembered {
    /// Keeps an outcome; the last one said of a key counts.
    pub(super) fn keep(&mut self, now_ms: u64, key: RequestKey, outcome: Outcome) {
        if let Some((since, _)) = self.by_key.insert(key, (now_ms, outcome)) {
            self.by_age.remove(&(since, key));
        }
        self.by_age.insert((now_ms, key));
    }

    /// The outcome, while it is kept.
    pub(super) fn get(&self, key: &RequestKey) -> Option<&Outcome> {
        self.by_key.get(key).map(|(_, outcome)| outcome)
    }

    /// Drops what is too old or too much.
    pub(super) fn prune(&mut self, now_ms: u64) {
        while let Some((since, key)) = self.by_age.first().copied() {
            let old = since.saturating_add(REMEMBER_MS) <= now_ms;
            if !old && self.by_age.len() <= REMEMBER_MAX {
                break;
            }
            self.by_age.pop_first();
            self.by_key.remove(&key);
        }
    }

    /// Number of outcomes kept.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// A copy without the order by age.
    pub(super) fn canonical(&self) -> Self {
        Self { by_key: self.by_key.clone(), by_age: BTreeSet::new() }
    }

    /// Changes the time of every outcome; the order by age is to be rebuilt.
    pub(super) fn move_times(&mut self, moved: impl Fn(u64) -> u64) {
        self.by_age.clear();
        for (since, _) in self.by_key.values_mut() {
            *since = moved(*since);
        }
    }

    /// Rebuilds the order by age.
    pub(super) fn reindex(&mut self) {
        self.by_age = self.by_key.iter().map(|(key, (since, _))| (*since, *key)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_by_age_and_by_number() {
        let mut kept = Remembered::default();
        let key = |n: usize| RequestKey::Detached(n.try_into().unwrap());
        kept.keep(0, key(0), Outcome::Timeout);
        kept.keep(5, key(0), Outcome::Cancelled);
        kept.keep(6, key(1), Outcome::Timeout);
        kept.prune(REMEMBER_MS + 4);
        assert_eq!(kept.get(&key(0)), Some(&Outcome::Cancelled), "kept anew at 5");
        kept.prune(REMEMBER_MS + 5);
        assert_eq!((kept.get(&key(0)), kept.len()), (None, 1));
        for n in 2..REMEMBER_MAX + 10 {
            kept.keep(7, key(n), Outcome::Timeout);
        }
        kept.prune(8);
        assert_eq!((kept.len(), kept.get(&key(1))), (REMEMBER_MAX, None));
    }
}
