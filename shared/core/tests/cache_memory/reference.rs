//! The memory's rules as they are read, without a thought for speed: every write that ever was is
//! kept in a list, and what there is follows from it.

use dsync_core::cache::command::{
    By, Command, Done, Found, KeyView, Query, Selector, Size, WriteId, Written,
};
use dsync_core::cache::item::{Changed, Expiry, Item, Operation};
use dsync_core::cache::op::{Key, Outcome, Value};
use dsync_core::cache::view::{View, partition_of};
use dsync_core::name::Name;

/// A key that was ever written.
#[derive(Debug, Clone)]
struct Entry {
    key: Key,
    value: Option<Value>,
    version: u64,
    until: Option<u64>,
    last: (WriteId, Option<Outcome>),
    last_at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) view: View,
    pub(crate) serving: u64,
    fences: Vec<(u16, Name, u64)>,
    versions: u64,
    entries: Vec<Entry>,
}

impl Reference {
    fn live(&self, now: u64) -> Vec<&Entry> {
        let live = |one: &&Entry| one.value.is_some() && one.until.is_none_or(|until| until > now);
        let mut entries: Vec<&Entry> = self.entries.iter().filter(live).collect();
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries
    }

    fn item(&self, now: u64, key: &Key) -> (Item<Value>, Option<u64>) {
        match self.live(now).into_iter().find(|one| one.key == *key) {
            None => (Item { version: self.versions, value: None }, None),
            Some(one) => (
                Item { version: one.version, value: one.value.clone() },
                one.until.map(|until| until - now),
            ),
        }
    }

    fn may(&self, key: &Key, by: &By) -> bool {
        match by {
            By::Home(epoch) => *epoch == self.serving && self.serving > 0,
            By::Holder(node, session) => {
                let fenced = self.fences.iter().any(|(partition, of, generation)| {
                    *partition == partition_of(key)
                        && of == node
                        && *generation >= session.generation
                });
                session.epoch == self.serving && self.serving > 0 && !fenced
            }
        }
    }

    /// The key as that write left it, if it was the last one and is known yet.
    fn repeated(&self, now: u64, key: &Key, id: WriteId) -> Option<&Entry> {
        let one = self.entries.iter().find(|one| one.key == *key)?;
        let known = match &one.value {
            Some(_) => one.until.is_none_or(|until| until > now),
            None => now < one.last_at + 60_000,
        };
        (known && one.last.0 == id).then_some(one)
    }

    pub(crate) fn run(&mut self, now: u64, command: &Command) -> Done {
        match command {
            Command::Write { key, by, id, write } => {
                let outcome = match self.repeated(now, key, *id) {
                    Some(one) => one.last.1,
                    None if !self.may(key, by) => return Done::Fenced,
                    None => self.write(now, key, *id, write),
                };
                let (item, ttl_ms) = self.item(now, key);
                Done::Written { item, outcome, ttl_ms }
            }
            Command::Fence { partition, node, session } => {
                let is = session.epoch == self.serving && self.serving > 0;
                if is {
                    self.fences.push((*partition, node.clone(), session.generation));
                }
                Done::Is(is)
            }
            Command::Replace { epoch, view } => {
                let is = self.view.epoch == *epoch && view.epoch > *epoch;
                if is {
                    self.view = view.clone();
                }
                Done::Is(is)
            }
            Command::TakeOver { epoch } => {
                if *epoch != self.view.epoch {
                    return Done::Is(false);
                }
                if *epoch > self.serving {
                    self.fences.clear();
                }
                self.serving = *epoch;
                Done::Is(true)
            }
        }
    }

    fn write(&mut self, now: u64, key: &Key, id: WriteId, write: &Written) -> Option<Outcome> {
        let (item, ttl) = self.item(now, key);
        let (value, version, until, outcome) = match write {
            Written::Put { value, version } => (Some(value.clone()), *version, None, None),
            Written::Apply(op) => {
                let (changed, outcome) = op.apply(&item);
                let kept = ttl.map(|ms| now + ms);
                let until = match op.expiry() {
                    Expiry::Kept => kept,
                    Expiry::Never => None,
                    Expiry::After(ms) => Some(now + ms),
                };
                let next = self.versions + 1;
                match changed {
                    Changed::Not => (item.value, item.version, kept, Some(outcome)),
                    Changed::To(value) => (Some(value), next, until, Some(outcome)),
                    Changed::Gone => (None, next, None, Some(outcome)),
                }
            }
        };
        self.versions = self.versions.max(version);
        self.entries.retain(|one| one.key != *key);
        let key = key.clone();
        self.entries.push(Entry { key, value, version, until, last: (id, outcome), last_at: now });
        outcome
    }

    pub(crate) fn look(&self, now: u64, query: &Query) -> Found {
        match query {
            Query::Get(key) => {
                let (item, ttl_ms) = self.item(now, key);
                Found::Item { item, ttl_ms }
            }
            Query::Size => {
                let keys = u64::try_from(self.live(now).len()).unwrap();
                Found::Size(Size { keys, ..Size::default() })
            }
            Query::Keys { of, after, limit } => {
                let of_them = |one: &Entry| match of {
                    Selector::Prefix(prefix) => one.key.as_str().starts_with(prefix.as_str()),
                    Selector::Tag(tag) => one.value.as_ref().unwrap().tags.contains(tag),
                };
                let behind = |one: &Entry| after.as_ref().is_none_or(|after| one.key > *after);
                let view = |one: &Entry| KeyView {
                    key: one.key.clone(),
                    version: one.version,
                    bytes: u64::try_from(one.value.as_ref().unwrap().bytes.as_slice().len())
                        .unwrap(),
                    ttl_ms: one.until.map(|until| until - now),
                    tags: one.value.as_ref().unwrap().tags.clone(),
                };
                let live = self.live(now).into_iter();
                let mut keys: Vec<KeyView> =
                    live.filter(|one| of_them(one) && behind(one)).map(view).collect();
                let limit = usize::try_from(*limit).unwrap().max(1);
                let more = keys.len() > limit;
                keys.truncate(limit);
                Found::Keys { keys, more }
            }
        }
    }
}
