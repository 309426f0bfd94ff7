//! All keys of the memory that the nodes keep themselves, in order of name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::command::{KeyView, PAGE_BYTES, PAGE_MAX, Selector, WriteId};
use super::item::Item;
use super::memory::Known;
use super::op::{Key, Outcome, Tag, Value};

/// Bytes that a key takes beside its name, its value and its tags.
pub(super) const OVERHEAD: u64 = 256;
/// For so long the last write to a key that is not there is known, in milliseconds.
pub(super) const GONE_MS: u64 = 60_000;
/// Of so many keys that are not there the last write is known.
pub(super) const GONE_MAX: usize = 65_536;

/// The last write of a key, with its outcome.
pub(super) type Last = (WriteId, Option<Outcome>);

/// What is kept of a key that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) value: Value,
    pub(super) version: u64,
    /// It is gone from then on, by the memory's clock.
    pub(super) until: Option<u64>,
    pub(super) last: Last,
}

/// What is kept of a key that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gone {
    /// Its place among all of them: the first is forgotten first.
    number: u64,
    until: u64,
    last: Last,
}

/// The keys. What [`rebuild`](Self::rebuild) makes is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Records {
    pub(super) by_key: BTreeMap<Key, Record>,
    pub(super) gone: BTreeMap<Key, Gone>,
    by_tag: BTreeMap<Tag, BTreeSet<Key>>,
    due: BTreeSet<(u64, Key)>,
    gone_order: BTreeMap<u64, Key>,
    bytes: u64,
}

impl Record {
    /// Bytes that it takes under that key.
    pub(super) fn size(&self, key: &Key) -> u64 {
        let tags: usize = self.value.tags.iter().map(|tag| tag.as_str().len()).sum();
        let bytes = key.as_str().len() + self.value.bytes.as_slice().len() + tags;
        u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(OVERHEAD)
    }

    /// Time that it has left.
    pub(super) fn ttl_ms(&self, now: u64) -> Option<u64> {
        self.until.map(|until| until.saturating_sub(now))
    }

    fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Records {
    /// The keys that were stored.
    pub(super) fn rebuild(by_key: BTreeMap<Key, Record>, gone: BTreeMap<Key, Gone>) -> Self {
        let gone_order = gone.iter().map(|(key, one)| (one.number, key.clone())).collect();
        let mut all = Self { gone, gone_order, ..Self::default() };
        for (key, record) in by_key {
            all.put(key, record);
        }
        all
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the time of the next key is over.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(until, _)| *until)
    }

    /// A key that is there.
    pub(super) fn get(&self, now: u64, key: &Key) -> Option<&Record> {
        self.by_key.get(key).filter(|record| !record.is_over(now))
    }

    /// What is known of a key; `versions` is the version of one that is not there.
    pub(super) fn known(
        &self,
        now: u64,
        versions: u64,
        key: &Key,
    ) -> Known<WriteId, Value, Outcome> {
        if let Some(record) = self.get(now, key) {
            let item = Item { version: record.version, value: Some(record.value.clone()) };
            return Known { item, last: Some(record.last) };
        }
        let gone = self.gone.get(key).filter(|gone| gone.until > now);
        Known { item: Item { version: versions, value: None }, last: gone.map(|gone| gone.last) }
    }

    /// Keys that are there.
    pub(super) fn count(&self, now: u64) -> u64 {
        let over = self.due.iter().take_while(|(until, _)| *until <= now).count();
        u64::try_from(self.by_key.len().saturating_sub(over)).unwrap_or(u64::MAX)
    }

    /// The key is there from now on, with that.
    pub(super) fn put(&mut self, key: Key, record: Record) {
        self.remove(&key);
        self.forget(&key);
        self.bytes = self.bytes.saturating_add(record.size(&key));
        for tag in record.value.tags.iter() {
            self.by_tag.entry(tag.clone()).or_default().insert(key.clone());
        }
        if let Some(until) = record.until {
            self.due.insert((until, key.clone()));
        }
        self.by_key.insert(key, record);
    }

    /// The key is not there from now on.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(record) = self.by_key.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(record.size(key));
        for tag in record.value.tags.iter() {
            if let Some(keys) = self.by_tag.get_mut(tag) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_tag.remove(tag);
                }
            }
        }
        if let Some(until) = record.until {
            self.due.remove(&(until, key.clone()));
        }
    }

    /// Remembers the last write of a key, which changed nothing or took the key away.
    pub(super) fn remember(&mut self, now: u64, key: &Key, last: Last) {
        if let Some(record) = self.by_key.get_mut(key) {
            record.last = last;
            return;
        }
        self.forget(key);
        let number = self.gone_order.last_key_value().map_or(1, |(number, _)| number + 1);
        let gone = Gone { number, until: now.saturating_add(GONE_MS), last };
        self.gone.insert(key.clone(), gone);
        self.gone_order.insert(number, key.clone());
        if self.gone.len() > GONE_MAX
            && let Some((_, oldest)) = self.gone_order.pop_first()
        {
            self.gone.remove(&oldest);
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(gone) = self.gone.remove(key) {
            self.gone_order.remove(&gone.number);
        }
    }

    /// Drops a key whose time is over.
    pub(super) fn drop_if_over(&mut self, now: u64, key: &Key) {
        if self.by_key.get(key).is_some_and(|record| record.is_over(now)) {
            self.remove(key);
        }
    }

    /// Drops what is over, at most so many of each kind.
    pub(super) fn sweep(&mut self, now: u64, most: usize) {
        for _ in 0..most {
            let Some((until, key)) = self.due.first().cloned() else { break };
            if until > now {
                break;
            }
            self.remove(&key);
        }
        for _ in 0..most {
            let Some((_, key)) = self.gone_order.first_key_value() else { break };
            let key = key.clone();
            if self.gone.get(&key).is_some_and(|gone| gone.until > now) {
                break;
            }
            self.forget(&key);
        }
    }

    /// One page of those keys that are there, and whether there are more.
    pub(super) fn page(
        &self,
        now: u64,
        of: &Selector,
        after: Option<&Key>,
        limit: u32,
    ) -> (Vec<KeyView>, bool) {
        match of {
            Selector::Prefix(prefix) => {
                let from = match after {
                    Some(after) if after.as_str() >= prefix.as_str() => {
                        Bound::Excluded(after.as_str())
                    }
                    Some(_) | None => Bound::Included(prefix.as_str()),
                };
                let all = self.by_key.range::<str, _>((from, Bound::Unbounded));
                let begin = all.take_while(|(key, _)| key.as_str().starts_with(prefix.as_str()));
                page(now, begin, limit)
            }
            Selector::Tag(tag) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                let tagged = self.by_tag.get(tag).into_iter();
                let keys = tagged.flat_map(|keys| keys.range::<Key, _>((from, Bound::Unbounded)));
                page(now, keys.filter_map(|key| self.by_key.get_key_value(key)), limit)
            }
        }
    }
}

fn page<'a>(
    now: u64,
    records: impl Iterator<Item = (&'a Key, &'a Record)>,
    limit: u32,
) -> (Vec<KeyView>, bool) {
    let limit = usize::try_from(limit.clamp(1, PAGE_MAX)).unwrap_or(1);
    let (mut keys, mut bytes) = (Vec::new(), 0);
    for (key, record) in records.filter(|(_, record)| !record.is_over(now)) {
        let tags: usize = record.value.tags.iter().map(|tag| tag.as_str().len()).sum();
        bytes += key.as_str().len() + tags;
        if keys.len() == limit || (bytes > PAGE_BYTES && !keys.is_empty()) {
            return (keys, true);
        }
        keys.push(KeyView {
            key: key.clone(),
            version: record.version,
            bytes: u64::try_from(record.value.bytes.as_slice().len()).unwrap_or(u64::MAX),
            ttl_ms: record.ttl_ms(now),
            tags: record.value.tags.clone(),
        });
    }
    (keys, false)
}
