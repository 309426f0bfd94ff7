//! The lines of a node: a sharded store, and who waits for what.

use std::sync::Arc;

use dsync_core::cache::item::{Gid, Item, Right, Session};
use dsync_core::cache::line::{Env, Line};
use dsync_core::cache::op::{Key, Op, Outcome, Value};
use dsync_core::cache::store::{Config, Counters, Limits, hash_of};
use dsync_core::cache::told::{Change, Effect, Failed, LineState, Revocation, Waiter, WritePolicy};
use dsync_core::config::CacheConfig;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::acting::Acting;
use super::lines::{Lines, States, Transitions};

/// A key at this node.
pub(super) type KeyLine = Line<Value, Op>;

/// Bytes of a shard: one holds the largest value many times over.
const SHARD_BYTES: u64 = 16 * 1024 * 1024;
/// Most shards.
const SHARDS_MAX: u64 = 16;

/// What a waiter is told.
#[derive(Debug)]
pub(super) enum Told {
    /// What the key holds.
    Read(Item<Value>),
    /// What came of the change, and the version since.
    Changed(Outcome, u64),
    /// Nothing.
    Failed(Failed),
}

/// What is to be done elsewhere.
#[derive(Debug)]
pub(super) enum Work {
    /// Ask the home.
    Ask { key: Key, request: u64, right: Right, session: Session },
    /// Write to the memory.
    Write { key: Key, id: u64, change: Change<Value, Op>, session: Session },
    /// A change is lost.
    Lost { key: Key, version: u64 },
}

/// With what a line's step is taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ctx<'a> {
    pub(super) now: u64,
    pub(super) acting: &'a Acting,
    pub(super) policy: WritePolicy,
    /// The step only gives up what a session gave: it is taken whether the lease holds or not.
    pub(super) gives_up: bool,
}

impl Ctx<'_> {
    pub(super) fn session(&self, key: &Key) -> Option<Session> {
        if self.gives_up {
            self.acting.session_at_all(key)
        } else {
            self.acting.session(key, self.now)
        }
    }
}

/// What a read found.
#[derive(Debug)]
pub(super) enum Found {
    /// It is here.
    Here {
        /// What.
        item: Item<Value>,
        /// The state of the line.
        state: LineState,
        /// When it expires.
        until: Option<u64>,
    },
    /// It comes.
    Waits(Waiting),
}

/// What a revocation found.
#[derive(Debug)]
pub(super) enum Revoked {
    /// It is acknowledged; whether the line stays.
    Now(bool),
    /// It will be; which attempt it is.
    Later(oneshot::Receiver<bool>, u64),
    /// It is not for the session that there is.
    Over,
}

/// Someone who waits; gone when dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    table: Table,
    key: Key,
    waiter: Waiter,
    answer: oneshot::Receiver<Told>,
}

impl Waiting {
    /// The answer. An end without one is an end of the node.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn told(&mut self) -> Told {
        (&mut self.answer).await.unwrap_or(Told::Failed(Failed::Unknown))
    }

    /// What was told already.
    pub(super) fn told_by_now(&mut self) -> Option<Told> {
        self.answer.try_recv().ok()
    }

    /// Waits no more; true: what was waited for had not begun.
    pub(super) fn give_up(&self) -> bool {
        let mut shard = self.table.shard(&self.key).lock();
        if shard.waiters.remove(&self.waiter).is_none() {
            // It was answered just now: the change is made.
            return false;
        }
        shard.store.get_mut(&self.key).is_none_or(|line| line.forget(self.waiter))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The lines. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Table {
    shards: Arc<[Mutex<Lines>]>,
    seed: u64,
}

/// Figures of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) dirty: u64,
    pub(super) states: States,
    pub(super) transitions: Transitions,
    pub(super) counters: Counters,
}

impl Table {
    /// No lines. `seed` keeps others from choosing keys that collide; `first` is the number from
    /// which requests and writes are counted.
    pub(super) fn new(config: &CacheConfig, seed: u64, first: u64) -> Self {
        let count = (config.bytes / SHARD_BYTES).clamp(1, SHARDS_MAX);
        let entries = (config.entries > 0).then(|| config.entries.div_ceil(count));
        let limits = Limits { bytes: Some(config.bytes / count), entries };
        let shard = Config { policy: config.policy, limits, seed };
        // Numbers of writes are unique for the node.
        let lines = |number: u64| Mutex::new(Lines::new(shard, first | (number << 40)));
        Self { shards: (0..count).map(lines).collect(), seed }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a rest of a division is below the number of shards"
    )]
    fn shard(&self, key: &Key) -> &Mutex<Lines> {
        let hash = hash_of(self.seed ^ 0x5bd1_e995, key);
        let count = self.shards.len();
        let at = usize::try_from(hash >> 32).unwrap_or(0) % count;
        &self.shards[at]
    }

    /// What a key holds, the state of its line and when it expires, if it can be read here now. A
    /// miss is not counted.
    pub(super) fn hit(
        &self,
        key: &Key,
        ctx: Ctx<'_>,
    ) -> Option<(Item<Value>, LineState, Option<u64>)> {
        let mut shard = self.shard(key).lock();
        let session = ctx.session(key);
        shard.store.peek(key)?.readable(ctx.now, session)?;
        let line = shard.store.get(key)?;
        let (item, _) = line.readable(ctx.now, session)?;
        Some((item.clone(), line.state(), line.kept().and_then(|(_, _, _, until)| until)))
    }

    /// Reads a key here, or waits for it.
    pub(super) fn read(&self, key: &Key, ctx: Ctx<'_>) -> (Found, Vec<Work>) {
        let mut shard = self.shard(key).lock();
        let session = ctx.session(key);
        let readable = |line: &KeyLine| line.readable(ctx.now, session).is_some();
        if let Some(line) = shard.store.get_if(key, readable)
            && let Some((item, _)) = line.readable(ctx.now, session)
        {
            let until = line.kept().and_then(|(_, _, _, until)| until);
            return (Found::Here { item: item.clone(), state: line.state(), until }, Vec::new());
        }
        let (waiting, work) = self.wait(&mut shard, key, ctx, KeyLine::read);
        (Found::Waits(waiting), work)
    }

    /// Changes a key here, once the node has the right to.
    pub(super) fn change(&self, key: &Key, op: Op, ctx: Ctx<'_>) -> (Waiting, Vec<Work>) {
        let mut shard = self.shard(key).lock();
        self.wait(&mut shard, key, ctx, |line, env, waiter| line.change(env, waiter, op))
    }

    fn wait(
        &self,
        shard: &mut Lines,
        key: &Key,
        ctx: Ctx<'_>,
        step: impl FnOnce(&mut KeyLine, &mut Env<'_>, Waiter) -> Vec<Effect<Value, Op>>,
    ) -> (Waiting, Vec<Work>) {
        shard.ids += 1;
        let waiter = shard.ids;
        let (sender, answer) = oneshot::channel();
        shard.waiters.insert(waiter, sender);
        let work = shard.step(key, ctx, |line, env| step(line, env, waiter));
        if shard.store.peek(key).is_none() {
            // There was no room even for its name; who was told already is told nothing more.
            shard.tell(waiter, Told::Failed(Failed::NoGrant));
        }
        (Waiting { table: self.clone(), key: key.clone(), waiter, answer }, work)
    }

    /// What the node has of a key now, to read or to write.
    pub(super) fn right(&self, key: &Key, ctx: Ctx<'_>) -> Option<Right> {
        let shard = self.shard(key).lock();
        let line = shard.store.peek(key)?;
        // A change that is on its way says that this node writes the key.
        if line.state() == LineState::Ew {
            return Some(Right::Exclusive);
        }
        line.readable(ctx.now, ctx.session(key)).map(|(_, right)| right)
    }

    /// A step of a line.
    pub(super) fn step(
        &self,
        key: &Key,
        ctx: Ctx<'_>,
        step: impl FnOnce(&mut KeyLine, &mut Env<'_>) -> Vec<Effect<Value, Op>>,
    ) -> Vec<Work> {
        self.shard(key).lock().step(key, ctx, step)
    }

    /// A home takes a right back.
    pub(super) fn revoke(
        &self,
        key: &Key,
        revocation: Revocation,
        ctx: Ctx<'_>,
    ) -> (Revoked, Vec<Work>) {
        if ctx.session(key) != Some(revocation.session) {
            return (Revoked::Over, Vec::new());
        }
        let mut shard = self.shard(key).lock();
        if shard.store.peek(key).is_none() {
            return (Revoked::Now(false), Vec::new());
        }
        let (sender, mut answer) = oneshot::channel();
        shard.ids += 1;
        let attempt = shard.ids;
        shard.acks.insert((key.clone(), revocation.id), (attempt, sender));
        let work = shard.step(key, ctx, |line, env| line.revoke(env, revocation));
        let revoked = answer.try_recv().map_or(Revoked::Later(answer, attempt), Revoked::Now);
        (revoked, work)
    }

    /// That attempt waits no more for the acknowledgement of a revocation.
    pub(super) fn forget_ack(&self, key: &Key, id: u64, attempt: u64) {
        let (mut shard, of) = (self.shard(key).lock(), (key.clone(), id));
        if shard.acks.get(&of).is_some_and(|(last, _)| *last == attempt) {
            shard.acks.remove(&of);
        }
    }

    /// True while the memory's answer to that write is awaited.
    pub(super) fn awaits_write(&self, key: &Key, id: u64) -> bool {
        self.shard(key).lock().store.peek(key).is_some_and(|line| line.awaits_write(id))
    }

    /// What is held of a key, whether it may be read or not.
    pub(super) fn kept(&self, key: &Key) -> Option<(Item<Value>, Session, Option<u64>)> {
        let shard = self.shard(key).lock();
        let (item, _, session, until) = shard.store.peek(key)?.kept()?;
        Some((item.clone(), session, until))
    }

    /// The state of a key's line, and the version of what it holds.
    pub(super) fn look(&self, key: &Key) -> (LineState, Option<u64>) {
        let shard = self.shard(key).lock();
        let Some(line) = shard.store.peek(key) else { return (LineState::I, None) };
        (line.state(), line.kept().map(|(item, ..)| item.version))
    }

    /// Starts to write what is dirty since before then.
    pub(super) fn flush(&self, before: u64, ctx: Ctx<'_>) -> Vec<Work> {
        let mut work = Vec::new();
        for shard in &*self.shards {
            let mut shard = shard.lock();
            let old = shard.dirty.iter().filter(|(_, since)| **since <= before);
            let keys: Vec<Key> = old.map(|(key, _)| key.clone()).collect();
            for key in keys {
                work.extend(shard.step(&key, ctx, KeyLine::flush));
            }
        }
        work
    }

    /// Dirty lines.
    pub(super) fn dirty(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().dirty.len()).sum()
    }

    /// Has every dirty line see that its session is over.
    pub(super) fn lapse(&self, ctx: Ctx<'_>) -> Vec<Work> {
        let mut work = Vec::new();
        for shard in &*self.shards {
            let mut shard = shard.lock();
            let keys: Vec<Key> = shard.dirty.keys().cloned().collect();
            for key in keys {
                work.extend(shard.step(&key, ctx, KeyLine::session_over));
            }
        }
        work
    }

    /// Lines that were given up since the last call.
    pub(super) fn take_evicted(&self) -> Vec<(Key, Gid)> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut shard.lock().evicted)).collect()
    }

    /// Figures now.
    pub(super) fn figures(&self) -> Figures {
        let mut all = Figures::default();
        for shard in &*self.shards {
            let shard = shard.lock();
            all.entries += shard.store.len();
            all.bytes += shard.store.bytes();
            all.dirty += u64::try_from(shard.dirty.len()).unwrap_or(0);
            let counters = shard.store.counters();
            all.counters.hits += counters.hits;
            all.counters.misses += counters.misses;
            all.counters.insertions += counters.insertions;
            all.counters.evictions += counters.evictions;
            all.counters.rejections += counters.rejections;
            for (all, row) in all.transitions.iter_mut().zip(shard.transitions) {
                for (all, one) in all.iter_mut().zip(row) {
                    *all += one;
                }
            }
            for (all, one) in all.states.iter_mut().zip(shard.states) {
                *all += one;
            }
        }
        all
    }
}
