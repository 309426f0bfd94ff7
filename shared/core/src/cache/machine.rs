//! The memory that the nodes keep themselves: a batch in, answers out.
//!
//! # Consistency
//! Deterministic: whoever applies the same log has the same, byte for byte. It answers like the
//! scripts of [`redis`](super::redis), but for what is named there.

use serde::{Deserialize, Serialize};

use super::command::{By, Command, Done, Found, Query, Size, WriteId, Written};
use super::item::{Expiry, Item, Operation as _};
use super::memory::{Gate, Judged};
use super::op::{Key, Op, Outcome, Value};
use super::records::{Record, Records};
use super::told::Change;
use super::view::{View, partition_of};
use crate::lock::At;
use crate::name::Name;

/// Keys whose time is over that one log entry drops, and keys that are forgotten.
pub const SWEEP_MAX: usize = 256;

/// One log entry of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// In the order in which they are carried out.
    pub commands: Vec<Command>,
    /// The bytes that there may be, as the leader is set; 0: no limit.
    pub limit: u64,
}

/// The view, the fences, and all keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryMachine {
    pub(super) view: View,
    pub(super) gate: Gate<u16, Name>,
    pub(super) records: Records,
    pub(super) limit: u64,
    pub(super) now_ms: u64,
    pub(super) index: u64,
}

impl MemoryMachine {
    /// Nothing, and nobody may write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time of the last entry.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Index of the last entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Who takes part.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The epoch that writes are taken of; 0: of none.
    pub fn serving(&self) -> u64 {
        self.gate.serving()
    }

    /// When an empty entry would drop something: to the second, for many keys may be over one after
    /// the other.
    pub fn next_deadline(&self) -> Option<u64> {
        self.records.next_due().map(|due| due.div_ceil(1_000).saturating_mul(1_000))
    }

    /// Applies one log entry: one answer per command, in order. Time never goes back, whatever `at`
    /// says.
    pub fn apply(&mut self, at: At, batch: &Batch) -> Vec<Done> {
        self.now_ms = self.now_ms.max(at.t_ms);
        self.index = at.index;
        self.limit = batch.limit;
        self.records.sweep(self.now_ms, SWEEP_MAX);
        batch.commands.iter().map(|command| self.carry_out(command)).collect()
    }

    /// Looks at it, at that time of the cluster or later.
    pub fn look(&self, now: u64, query: &Query) -> Found {
        let now = now.max(self.now_ms);
        match query {
            Query::Get(key) => {
                let (item, ttl_ms) = self.item(now, key);
                Found::Item { item, ttl_ms }
            }
            Query::Keys { of, after, limit } => {
                let (keys, more) = self.records.page(now, of, after.as_ref(), *limit);
                Found::Keys { keys, more }
            }
            Query::Size => Found::Size(Size {
                keys: self.records.count(now),
                bytes: self.records.bytes(),
                limit: self.limit,
            }),
        }
    }

    fn item(&self, now: u64, key: &Key) -> (Item<Value>, Option<u64>) {
        let known = self.records.known(now, self.gate.versions(), key);
        let ttl_ms = self.records.get(now, key).and_then(|record| record.ttl_ms(now));
        (known.item, ttl_ms)
    }

    fn carry_out(&mut self, command: &Command) -> Done {
        match command {
            Command::Write { key, by, id, write } => self.write(key, by, *id, write),
            Command::Fence { partition, node, session } => {
                Done::Is(self.gate.fence(partition, node, *session))
            }
            Command::Replace { epoch, view } => {
                let is_next = self.view.epoch == *epoch && view.epoch > *epoch;
                if is_next {
                    self.view = view.clone();
                }
                Done::Is(is_next)
            }
            Command::TakeOver { epoch } => {
                Done::Is(*epoch == self.view.epoch && self.gate.take_over(*epoch))
            }
        }
    }

    fn write(&mut self, key: &Key, by: &By, id: WriteId, write: &Written) -> Done {
        let now = self.now_ms;
        self.records.drop_if_over(now, key);
        let known = self.records.known(now, self.gate.versions(), key);
        let change = change(write);
        let judged = self.gate.judge((&partition_of(key), by), &known, &id, &change);
        let outcome = match judged {
            Judged::Fenced => return Done::Fenced,
            Judged::Repeated(outcome) => outcome,
            Judged::Take { changed, outcome } => {
                let done = match changed {
                    None => {
                        self.records.remember(now, key, (id, outcome));
                        Ok(())
                    }
                    Some(item) => self.change(key, item, self.until(key, &change), (id, outcome)),
                };
                if let Err(full) = done {
                    return full;
                }
                outcome
            }
        };
        let (item, ttl_ms) = self.item(now, key);
        Done::Written { item, outcome, ttl_ms }
    }

    /// When a key is gone by itself that is changed so.
    fn until(&self, key: &Key, change: &Change<Value, Op>) -> Option<u64> {
        let Change::Apply(op) = change else { return None };
        match op.expiry() {
            Expiry::Never => None,
            Expiry::After(ms) => Some(self.now_ms.saturating_add(ms.max(1))),
            Expiry::Kept => self.records.get(self.now_ms, key).and_then(|record| record.until),
        }
    }

    /// The key holds that from now on, if there is room.
    fn change(
        &mut self,
        key: &Key,
        item: Item<Value>,
        until: Option<u64>,
        last: (WriteId, Option<Outcome>),
    ) -> Result<(), Done> {
        let version = item.version;
        match item.value {
            None => {
                self.records.remove(key);
                self.records.remember(self.now_ms, key, last);
            }
            Some(value) => {
                let record = Record { value, version, until, last };
                let before =
                    self.records.get(self.now_ms, key).map_or(0, |record| record.size(key));
                let (used, grows) = (self.records.bytes(), record.size(key).checked_sub(before));
                let most = if self.limit == 0 { u64::MAX } else { self.limit };
                if grows.is_some_and(|more| more > 0 && used.saturating_add(more) > most) {
                    return Err(Done::Full { used, limit: self.limit });
                }
                self.records.put(key.clone(), record);
            }
        }
        self.gate.took(version);
        Ok(())
    }
}

fn change(write: &Written) -> Change<Value, Op> {
    match write {
        Written::Apply(op) => Change::Apply(op.clone()),
        Written::Put { value, version } => {
            Change::Put(Item { version: *version, value: Some(value.clone()) })
        }
    }
}
