//! The lock machine as the engine drives it, with those who wait for its decisions.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

use dsync_core::lock::{
    Aged, Applied, At, Batch, Event, EventKind, Holding, LockMachine, Lookup, Outcome, PAGE_BYTES,
    RequestKey, Room, Snapshot, Token,
};
use dsync_core::name::Name;
use tokio::sync::{oneshot, watch};

use super::watchers::Watchers;
use crate::raft::Machine;
use crate::telemetry::{Expired, Metrics};

/// Events kept for watchers; who falls behind further begins anew with a listing.
const EVENTS_KEPT: usize = 16_384;

/// The replicated lock state and what of it lives only in this process.
#[derive(Debug)]
pub struct LockState {
    metrics: Arc<Metrics>,
    pub(super) machine: LockMachine,
    waiting: HashMap<RequestKey, Vec<oneshot::Sender<Outcome>>>,
    watching: Watchers,
    events: VecDeque<Event>,
    /// First log index whose events are all here.
    events_from: u64,
    /// Log index applied last: wakes watchers.
    applied: watch::Sender<u64>,
    /// Cluster time of the earliest thing that an empty entry would do.
    deadline: watch::Sender<Option<u64>>,
}

/// An answer, or where it will arrive.
pub(super) enum Awaited {
    Now(Lookup),
    Later(oneshot::Receiver<Outcome>),
}

impl LockState {
    /// An empty state; `metrics` follow it.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            machine: LockMachine::new(),
            waiting: HashMap::new(),
            watching: Watchers::default(),
            events: VecDeque::new(),
            events_from: 1,
            applied: watch::Sender::new(0),
            deadline: watch::Sender::new(None),
        }
    }

    /// The largest fencing token given out.
    pub fn last_token(&self) -> Token {
        self.machine.counts().last_token
    }

    pub(super) fn deadlines(&self) -> watch::Receiver<Option<u64>> {
        self.deadline.subscribe()
    }

    pub(super) fn progress(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Looks a request up; a pending one is registered for its decision in the same breath, so
    /// that none falls between.
    pub(super) fn look_or_wait(&mut self, key: RequestKey) -> Awaited {
        let known = self.machine.lookup(&key);
        if !matches!(known, Lookup::Pending { .. }) {
            return Awaited::Now(known);
        }
        let (sender, receiver) = oneshot::channel();
        let waiting = self.waiting.entry(key).or_default();
        waiting.retain(|one| !one.is_closed());
        waiting.push(sender);
        Awaited::Later(receiver)
    }

    /// Forgets those who gave up waiting.
    pub(super) fn stopped_waiting(&mut self, key: &RequestKey) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.retain(|one| !one.is_closed());
            if waiting.is_empty() {
                self.waiting.remove(key);
            }
        }
    }

    /// How a grant stands at cluster time `now_ms`, and what ends when that changes.
    pub(super) fn holding(
        &mut self,
        lock: &Name,
        token: Token,
        now_ms: u64,
    ) -> (Holding, oneshot::Receiver<()>) {
        let age = now_ms.saturating_sub(self.machine.now_ms());
        let holding = self.machine.holding(lock.as_str(), token).aged(age);
        let (sender, change) = oneshot::channel();
        if holding != Holding::Gone {
            self.watching.add(lock, token, sender);
        }
        (holding, change)
    }

    /// Forgets those who watched a grant and gave up.
    pub(super) fn stopped_watching(&mut self, lock: &Name, token: Token) {
        self.watching.tidy(lock, token);
    }

    /// Somebody watches a grant.
    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        !self.watching.is_empty()
    }

    /// Events of entries from `index` on, the index to ask for next, and whether some are missing.
    ///
    /// An entry's events come together. Of one with more than a page takes the rest is left out,
    /// which is told as a gap: an index is no place to go on from within an entry.
    pub(super) fn events(&self, index: u64, most: usize) -> (Vec<Event>, u64, bool) {
        let gap = index < self.events_from;
        let start = self.events.partition_point(|event| event.index < index);
        let mut items: Vec<Event> = Vec::new();
        let mut room = Room::new(PAGE_BYTES);
        for event in self.events.range(start..) {
            if items.len() < most && room.take(event) {
                items.push(event.clone());
                continue;
            }
            let whole = items.partition_point(|one| one.index < event.index);
            if whole == 0 {
                return (items, event.index + 1, true);
            }
            items.truncate(whole);
            return (items, event.index, gap);
        }
        (items, index.max(*self.applied.borrow() + 1), gap)
    }

    fn publish(&mut self, index: u64, applied: &Applied) {
        for (key, outcome) in &applied.settled {
            for waiter in self.waiting.remove(key).unwrap_or_default() {
                // A waiter that is gone asks again by the same key.
                drop(waiter.send(outcome.clone()));
            }
        }
        for event in &applied.events {
            self.watching.wake(&event.kind);
            if self.events.len() == EVENTS_KEPT
                && let Some(dropped) = self.events.pop_front()
            {
                self.events_from = dropped.index + 1;
            }
            self.events.push_back(event.clone());
        }
        self.count(applied);
        self.applied.send_replace(index);
        let deadline = self.machine.next_deadline();
        self.deadline.send_if_modified(|known| {
            let changed = *known != deadline;
            *known = deadline;
            changed
        });
    }
}

impl LockState {
    fn count(&self, applied: &Applied) {
        for event in &applied.events {
            match &event.kind {
                EventKind::Granted { .. } => {
                    self.metrics.grants.inc();
                }
                EventKind::SessionExpired { .. } => self.metrics.expired(Expired::Session, 1),
                EventKind::Released { .. } | EventKind::Revoke { .. } | EventKind::Deadlock(_) => {}
            }
        }
        let counts = self.machine.counts();
        let level = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.metrics.sessions.set(level(counts.sessions));
        self.metrics.locks.set(level(counts.locks));
        self.metrics.waiters.set(level(counts.tickets));
    }

    /// Puts the state as of log index `index` in place of this one; who waits goes on waiting, or
    /// has an answer.
    fn replace(&mut self, index: u64, machine: LockMachine) {
        self.machine = machine;
        // What happened up to there is not known event by event: watchers begin anew. The machine's
        // own index tells only of commands: it is 0 in a backup.
        let index = index.max(*self.applied.borrow());
        self.applied.send_replace(index);
        self.events.clear();
        self.watching = Watchers::default();
        self.events_from = index + 1;
        self.deadline.send_replace(self.machine.next_deadline());
        for (key, waiters) in std::mem::take(&mut self.waiting) {
            match self.machine.lookup(&key) {
                Lookup::Pending { .. } => {
                    self.waiting.insert(key, waiters);
                }
                Lookup::Done(outcome) => {
                    for waiter in waiters {
                        drop(waiter.send(outcome.clone()));
                    }
                }
                // This state has not heard of the request: dropped, its waiters learn that at once.
                Lookup::Unknown => {}
            }
        }
    }
}

fn read_snapshot(bytes: &[u8]) -> io::Result<Snapshot> {
    postcard::from_bytes(bytes).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("lock snapshot: {error}"))
    })
}

impl Machine for LockState {
    type Command = Batch;
    type Response = Applied;

    fn apply(&mut self, at: At, batch: Batch) -> Applied {
        let applied = self.machine.apply(at, &batch);
        self.publish(at.index, &applied);
        applied
    }

    fn snapshot(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(&self.machine.snapshot_ref()).map_err(io::Error::other)
    }

    fn restore(&mut self, index: u64, bytes: &[u8]) -> io::Result<()> {
        self.replace(index, LockMachine::restore(read_snapshot(bytes)?).map_err(io::Error::other)?);
        Ok(())
    }

    fn restore_backup(&mut self, index: u64, bytes: &[u8]) -> io::Result<()> {
        let backup = read_snapshot(bytes)?;
        let snapshot = backup.restored_from_backup(&self.machine).map_err(io::Error::other)?;
        self.replace(index, LockMachine::restore(snapshot).map_err(io::Error::other)?);
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.machine.now_ms()
    }
}
