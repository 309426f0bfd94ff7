//! The lines of one shard of a node: a step of a line, and what follows from it.

use std::collections::HashMap;

use dsync_core::cache::item::Gid;
use dsync_core::cache::line::Env;
use dsync_core::cache::op::{Key, Op, Value};
use dsync_core::cache::store::{Config, Proposed, Shard, Verdict};
use dsync_core::cache::told::{Effect, LineState, Waiter};
use tokio::sync::oneshot;

use super::table::{Ctx, KeyLine, Told, Work};

/// Lines that are proposed to make room for one.
const PROPOSALS: usize = 16;
/// Lines given up and not told to their homes yet, in one shard.
const EVICTED_MAX: usize = 1_024;
/// States of a line.
pub(super) const STATES: usize = LineState::ALL.len();

/// The lines of a shard.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) store: Shard<Key, KeyLine>,
    pub(super) waiters: HashMap<Waiter, oneshot::Sender<Told>>,
    pub(super) acks: HashMap<(Key, u64), (u64, oneshot::Sender<bool>)>,
    pub(super) dirty: HashMap<Key, u64>,
    pub(super) evicted: Vec<(Key, Gid)>,
    pub(super) ids: u64,
    pub(super) transitions: Transitions,
    /// Lines by state.
    pub(super) states: States,
}

/// A count for each state, in the order of [`LineState::ALL`].
pub(super) type States = [u64; STATES];
/// A count for each pair of states.
pub(super) type Transitions = [States; STATES];

pub(super) fn number_of(state: LineState) -> usize {
    LineState::ALL.iter().position(|one| *one == state).unwrap_or(0)
}

/// Bytes of a line on the heap.
fn weight(key: &Key, line: &KeyLine) -> u64 {
    let value = line.kept().and_then(|(item, ..)| item.value.as_ref());
    let value = value.map_or(0, |value| {
        let tags: usize = value.tags.iter().map(|tag| tag.as_str().len() + 16).sum();
        value.bytes.as_slice().len() + tags
    });
    u64::try_from(key.as_str().len() + value).unwrap_or(u64::MAX)
}

impl Lines {
    /// None; `first` is the number from which waiters, requests and writes are counted.
    pub(super) fn new(config: Config, first: u64) -> Self {
        Self {
            store: Shard::new(config),
            waiters: HashMap::new(),
            acks: HashMap::new(),
            dirty: HashMap::new(),
            evicted: Vec::new(),
            ids: first,
            transitions: Default::default(),
            states: Default::default(),
        }
    }

    /// A step of a line, and what follows from it.
    pub(super) fn step(
        &mut self,
        key: &Key,
        ctx: Ctx<'_>,
        step: impl FnOnce(&mut KeyLine, &mut Env<'_>) -> Vec<Effect<Value, Op>>,
    ) -> Vec<Work> {
        let known = self.store.peek(key).is_some();
        if !known {
            let line = KeyLine::default();
            let bytes = weight(key, &line);
            if self.store.insert(key.clone(), line, bytes).is_err() {
                tracing::error!(%key, "there is no room for the key of a line: raise CACHE_BYTES");
            }
        }
        let Some(line) = self.store.get_mut(key) else { return Vec::new() };
        let session = ctx.session(key);
        let mut env = Env { now: ctx.now, session, ids: &mut self.ids, policy: ctx.policy };
        let before = number_of(line.state());
        let mut effects = step(line, &mut env);
        let (bytes, mut empty) = (weight(key, line), line.is_empty());
        if !empty && self.store.reweigh(key, bytes).is_err() {
            // Larger than all there may be: it is answered, and not kept.
            if let Some(line) = self.store.get_mut(key) {
                let mut env = Env { now: ctx.now, session, ids: &mut self.ids, policy: ctx.policy };
                let (gone, more) = line.evict(&mut env);
                effects.extend(more);
                empty = gone;
            }
        }
        let (dirty, after) = self
            .store
            .peek(key)
            .map_or((false, 0), |line| (line.is_dirty(), number_of(line.state())));
        self.moved(known.then_some(before), (!empty).then_some(after));
        if let Some(count) = self.transitions.get_mut(before).and_then(|row| row.get_mut(after)) {
            *count += 1;
        }
        if dirty && !empty {
            self.dirty.entry(key.clone()).or_insert(ctx.now);
        } else if !self.dirty.is_empty() {
            self.dirty.remove(key);
        }
        if empty {
            self.store.remove(key);
        }
        let mut work = Vec::new();
        self.settle(key, effects, &mut work);
        if self.store.is_over() {
            self.make_room(ctx, &mut work);
        }
        work
    }

    /// A line went from one state to another; from or to `None`: it was not there, or is no more.
    fn moved(&mut self, from: Option<usize>, to: Option<usize>) {
        if let Some(count) = from.and_then(|from| self.states.get_mut(from)) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = to.and_then(|to| self.states.get_mut(to)) {
            *count += 1;
        }
    }

    fn settle(&mut self, key: &Key, effects: Vec<Effect<Value, Op>>, work: &mut Vec<Work>) {
        for effect in effects {
            match effect {
                Effect::Ask { request, right, session } => {
                    work.push(Work::Ask { key: key.clone(), request, right, session });
                }
                Effect::Write { id, change, session } => {
                    work.push(Work::Write { key: key.clone(), id, change, session });
                }
                Effect::Read { waiter, item } => self.tell(waiter, Told::Read(item)),
                Effect::Changed { waiter, outcome, version } => {
                    self.tell(waiter, Told::Changed(outcome, version));
                }
                Effect::Fail { waiter, why } => self.tell(waiter, Told::Failed(why)),
                Effect::Acknowledge { id, kept } => {
                    // Who asked may be gone; it asks again.
                    if let Some((_, ack)) = self.acks.remove(&(key.clone(), id)) {
                        ack.send(kept).unwrap_or_default();
                    }
                }
                Effect::Lost { version } => work.push(Work::Lost { key: key.clone(), version }),
            }
        }
    }

    pub(super) fn tell(&mut self, waiter: Waiter, told: Told) {
        if let Some(sender) = self.waiters.remove(&waiter) {
            drop(sender.send(told));
        }
    }

    fn make_room(&mut self, ctx: Ctx<'_>, work: &mut Vec<Work>) {
        for _ in 0..PROPOSALS {
            let (mut effects, mut gid, mut states) = (Vec::new(), None, (0, 0));
            let ids = &mut self.ids;
            let proposed = self.store.propose(|key, line| {
                let session = ctx.session(key);
                states = (number_of(line.state()), number_of(line.state()));
                if line.is_dirty() && session.is_none() {
                    // The lease may come back, and with it the right to write the value.
                    return Verdict::Decline;
                }
                let mut env = Env { now: ctx.now, session, ids, policy: ctx.policy };
                gid = line.kept().map(|(_, gid, ..)| gid);
                let (gone, todo) = line.evict(&mut env);
                states.1 = number_of(line.state());
                effects.push((key.clone(), todo));
                if gone { Verdict::Evict } else { Verdict::Decline }
            });
            match proposed {
                Some(Proposed::Gone { key, .. }) => {
                    self.moved(Some(states.0), None);
                    self.dirty.remove(&key);
                    if let Some(gid) = gid
                        && self.evicted.len() < EVICTED_MAX
                    {
                        self.evicted.push((key, gid));
                    }
                }
                Some(Proposed::Declined) => self.moved(Some(states.0), Some(states.1)),
                None => return,
            }
            for (key, todo) in effects {
                self.settle(&key, todo, work);
            }
        }
    }
}
