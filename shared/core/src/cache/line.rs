//! One key at one node: what may be read here, and what is on its way.
//!
//! | | held | miss | writing |
//! |---|---|---|---|
//! | I | – | – | – |
//! | `IS_D`, `IM_D` | – | shared, exclusive | – |
//! | S | shared | – | – |
//! | `SM_D` | shared | exclusive | – |
//! | E | exclusive | – | – |
//! | `E_W` | exclusive | – | a change |
//! | M | exclusive, dirty | – | – |
//! | `M_F` | exclusive, dirty | – | the dirty value |
//!
//! Three rules are easy to miss, and each has its mutant in the model: a miss keeps the highest
//! grant number of any revocation that it saw, and a grant at or below that is not kept; a reader
//! that came after a revocation was acknowledged is not answered by an older grant; while a write
//! of this node is on its way to the memory local readers wait and no revocation is acknowledged,
//! however long that takes, since the write may still be done.
//!
//! # Source
//! V. Nagarajan et al., "A Primer on Memory Consistency and Cache Coherence" (2nd ed., 2020), the
//! directory protocols of chapter 8; C. Gray, D. Cheriton, "Leases" (SOSP 1989).

use std::collections::VecDeque;

use super::item::{Gid, Item, Operation, Right, Session, Take};
use super::told::{
    Change, Effect, Failed, Grant, LineState, Revocation, Waiter, WritePolicy, Written,
};

/// What a step of a line is taken with.
#[derive(Debug)]
pub struct Env<'a> {
    /// The node's clock, in milliseconds.
    pub now: u64,
    /// The node's session with the key's home, while its lease holds and the node's own does.
    pub session: Option<Session>,
    /// Source of numbers for requests and writes: they are unique for this run of the node.
    pub ids: &'a mut u64,
    /// What a change does.
    pub policy: WritePolicy,
}

impl Env<'_> {
    fn id(&mut self) -> u64 {
        *self.ids += 1;
        *self.ids
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held<V> {
    right: Right,
    item: Item<V>,
    gid: Gid,
    session: Session,
    /// From then on it is not read any more.
    until: Option<u64>,
    dirty: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Miss {
    request: u64,
    right: Right,
    session: Session,
    /// The highest grant number of any revocation since it began.
    floor: Option<Gid>,
    /// Readers that joined before anything was revoked.
    early: Vec<Waiter>,
    /// Those that joined since, or without that session.
    late: Vec<Waiter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Writing {
    id: u64,
    session: Session,
    waiter: Option<Waiter>,
    /// It is the dirty value, of that version.
    flush: Option<u64>,
}

/// A key at a node. `Default`: nothing is held and nothing is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line<V, O> {
    held: Option<Held<V>>,
    miss: Option<Miss>,
    writing: Option<Writing>,
    /// Readers that wait for the write on its way.
    behind: Vec<Waiter>,
    changes: VecDeque<(Waiter, O)>,
    held_up: Vec<Revocation>,
}

impl<V, O> Default for Line<V, O> {
    fn default() -> Self {
        Self {
            held: None,
            miss: None,
            writing: None,
            behind: Vec::new(),
            changes: VecDeque::new(),
            held_up: Vec::new(),
        }
    }
}

type Out<V, O> = Vec<Effect<V, O>>;

impl<V: Clone, O: Operation<Value = V>> Line<V, O> {
    /// A local read.
    pub fn read(&mut self, env: &mut Env<'_>, waiter: Waiter) -> Out<V, O> {
        let mut out = Vec::new();
        self.join(env, waiter, &mut out);
        out
    }

    /// A local change.
    pub fn change(&mut self, env: &mut Env<'_>, waiter: Waiter, change: O) -> Out<V, O> {
        let mut out = Vec::new();
        self.changes.push_back((waiter, change));
        self.pump(env, &mut out);
        out
    }

    /// A grant came.
    pub fn granted(&mut self, env: &mut Env<'_>, grant: Grant<V>) -> Out<V, O> {
        let mut out = Vec::new();
        let Some(miss) = self.miss.take_if(|miss| miss.request == grant.request) else {
            return out;
        };
        let revoked = miss.floor.is_some_and(|floor| grant.gid <= floor);
        let keeps = !revoked && env.session == Some(grant.session);
        for waiter in miss.early {
            out.push(Effect::Read { waiter, item: grant.item.clone() });
        }
        if keeps {
            let Grant { right, item, gid, session, until, .. } = grant;
            for &waiter in &miss.late {
                out.push(Effect::Read { waiter, item: item.clone() });
            }
            self.held = Some(Held { right, item, gid, session, until, dirty: false });
        } else {
            for waiter in miss.late {
                self.join(env, waiter, &mut out);
            }
        }
        self.pump(env, &mut out);
        out
    }

    /// The home's answer to a request is that there is none, or it did not come.
    pub fn refused(&mut self, env: &mut Env<'_>, request: u64) -> Out<V, O> {
        let Some(miss) = self.miss.take_if(|miss| miss.request == request) else {
            return Vec::new();
        };
        let readers = miss.early.into_iter().chain(miss.late);
        let mut out: Out<V, O> =
            readers.map(|waiter| Effect::Fail { waiter, why: Failed::NoGrant }).collect();
        if miss.right == Right::Exclusive {
            self.fail_changes(Failed::NoGrant, &mut out);
        } else {
            self.pump(env, &mut out);
        }
        out
    }

    /// The home takes a right back. Without an [`Effect::Acknowledge`] the answer comes later: with
    /// the memory's answer to the write that is on its way, or never, if the session is over.
    pub fn revoke(&mut self, env: &mut Env<'_>, revocation: Revocation) -> Out<V, O> {
        let mut out = Vec::new();
        if env.session == Some(revocation.session) {
            self.held_up.push(revocation);
            self.settle_revocations(env, &mut out);
            self.pump(env, &mut out);
        }
        out
    }

    /// The memory answered a write.
    pub fn written(
        &mut self,
        env: &mut Env<'_>,
        id: u64,
        written: Written<V, O::Outcome>,
    ) -> Out<V, O> {
        let mut out = Vec::new();
        let Some(writing) = self.writing.take_if(|writing| writing.id == id) else { return out };
        let same = |held: &&mut Held<V>| held.session == writing.session;
        match written {
            Written::Done { item, outcome, until } => {
                if let (Some(waiter), Some(outcome)) = (writing.waiter, outcome) {
                    out.push(Effect::Changed { waiter, outcome, version: item.version });
                }
                if let Some(held) = self.held.as_mut().filter(same) {
                    (held.item, held.until, held.dirty) = (item, until, false);
                }
            }
            Written::Not(outcome) => {
                let version = self.held.as_ref().map_or(0, |held| held.item.version);
                let told = |waiter| Effect::Changed { waiter, outcome, version };
                out.extend(writing.waiter.map(told));
            }
            Written::Fenced | Written::Unknown => {
                let unknown = matches!(written, Written::Unknown);
                let why = if unknown { Failed::Unknown } else { Failed::Fenced };
                if let Some(waiter) = writing.waiter {
                    out.push(Effect::Fail { waiter, why });
                }
                self.held.take_if(|held| held.session == writing.session);
                out.extend(writing.flush.map(|version| Effect::Lost { version }));
            }
        }
        self.settle_revocations(env, &mut out);
        for waiter in std::mem::take(&mut self.behind) {
            self.join(env, waiter, &mut out);
        }
        self.pump(env, &mut out);
        out
    }

    /// Writes a dirty value to the memory, if there is one.
    pub fn flush(&mut self, env: &mut Env<'_>) -> Out<V, O> {
        let mut out = Vec::new();
        self.start_flush(env, &mut out);
        out
    }

    /// True if the line was given up: it may be forgotten. A dirty one is written first, and asked
    /// again later.
    pub fn evict(&mut self, env: &mut Env<'_>) -> (bool, Out<V, O>) {
        let mut out = Vec::new();
        self.lapse(env, &mut out);
        if !mutant!(DirtyDropped) {
            self.start_flush(env, &mut out);
        }
        let idle = self.miss.is_none() && self.writing.is_none() && self.changes.is_empty();
        if idle {
            self.held = None;
        }
        (idle, out)
    }

    /// The session is over, or another one holds by now: what it gave is dropped.
    pub fn session_over(&mut self, env: &mut Env<'_>) -> Out<V, O> {
        let mut out = Vec::new();
        self.lapse(env, &mut out);
        out
    }

    /// Whoever waits under that number is gone. A write on its way goes on; false: it is the waiter's.
    pub fn forget(&mut self, waiter: Waiter) -> bool {
        self.behind.retain(|one| *one != waiter);
        self.changes.retain(|(one, _)| *one != waiter);
        if let Some(miss) = &mut self.miss {
            miss.early.retain(|one| *one != waiter);
            miss.late.retain(|one| *one != waiter);
        }
        let writing = self.writing.as_mut();
        writing.and_then(|writing| writing.waiter.take_if(|one| *one == waiter)).is_none()
    }

    /// What can be read here now.
    pub fn readable(&self, now: u64, session: Option<Session>) -> Option<(&Item<V>, Right)> {
        let changing = self.writing.as_ref().is_some_and(|one| one.flush.is_none());
        if changing && self.is_writing(session) && !mutant!(ReadDuringOwnWrite) {
            return None;
        }
        self.held(now, session).map(|held| (&held.item, held.right))
    }

    /// The state, for people.
    pub fn state(&self) -> LineState {
        match (&self.held, &self.miss, &self.writing) {
            (_, _, Some(Writing { flush: Some(_), .. })) => LineState::Mf,
            (_, _, Some(_)) => LineState::Ew,
            (Some(_), Some(Miss { right: Right::Exclusive, .. }), None) => LineState::SmD,
            (_, Some(Miss { right: Right::Exclusive, .. }), None) => LineState::ImD,
            (_, Some(Miss { right: Right::Shared, .. }), None) => LineState::IsD,
            (Some(held), None, None) if held.dirty => LineState::M,
            (Some(Held { right: Right::Exclusive, .. }), None, None) => LineState::E,
            (Some(Held { right: Right::Shared, .. }), None, None) => LineState::S,
            (None, None, None) => LineState::I,
        }
    }

    /// What is held, whether it may be read or not: the value, the grant and the session that it came
    /// with, and when it expires.
    pub fn kept(&self) -> Option<(&Item<V>, Gid, Session, Option<u64>)> {
        self.held.as_ref().map(|held| (&held.item, held.gid, held.session, held.until))
    }

    /// True while that request is not answered.
    pub fn awaits(&self, request: u64) -> bool {
        self.miss.as_ref().is_some_and(|miss| miss.request == request)
    }

    /// True while the memory has not answered that write.
    pub fn awaits_write(&self, id: u64) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.id == id)
    }

    /// True for a value that the memory does not have yet.
    pub fn is_dirty(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.dirty)
    }

    /// True while a dirty value is on its way to the memory.
    pub fn is_flushing(&self) -> bool {
        self.writing.as_ref().is_some_and(|writing| writing.flush.is_some())
    }

    /// True if nothing is held and nothing is on its way: the line need not be kept.
    pub fn is_empty(&self) -> bool {
        self.held.is_none() && self.miss.is_none() && self.writing.is_none()
    }

    fn held(&self, now: u64, session: Option<Session>) -> Option<&Held<V>> {
        let fresh = |held: &&Held<V>| held.until.is_none_or(|until| now < until);
        self.held.as_ref().filter(|held| session == Some(held.session)).filter(fresh)
    }

    fn is_writing(&self, session: Option<Session>) -> bool {
        self.writing.as_ref().is_some_and(|writing| session == Some(writing.session))
    }

    /// A reader is answered, or waits for what will answer it.
    fn join(&mut self, env: &mut Env<'_>, waiter: Waiter, out: &mut Out<V, O>) {
        if let Some((item, _)) = self.readable(env.now, env.session) {
            out.push(Effect::Read { waiter, item: item.clone() });
        } else if self.is_writing(env.session) {
            // Not even a miss may begin: its grant could be older than the write.
            self.behind.push(waiter);
        } else if let Some(miss) = &mut self.miss {
            let of_session = env.session == Some(miss.session) || mutant!(ReaderOfOtherSession);
            let early = of_session && (miss.floor.is_none() || mutant!(LateReaderServed));
            if early { miss.early.push(waiter) } else { miss.late.push(waiter) }
        } else {
            self.ask(env, Right::Shared, out, Some(waiter));
        }
    }

    fn ask(
        &mut self,
        env: &mut Env<'_>,
        right: Right,
        out: &mut Out<V, O>,
        reader: Option<Waiter>,
    ) {
        let Some(session) = env.session else {
            out.extend(reader.map(|waiter| Effect::Fail { waiter, why: Failed::NoLease }));
            return;
        };
        let request = env.id();
        let early = reader.into_iter().collect();
        self.miss = Some(Miss { request, right, session, floor: None, early, late: Vec::new() });
        out.push(Effect::Ask { request, right, session });
    }

    /// Starts the next change, or asks for the right to it.
    fn pump(&mut self, env: &mut Env<'_>, out: &mut Out<V, O>) {
        while !self.changes.is_empty() && self.writing.is_none() && self.miss.is_none() {
            let Some(session) = env.session else {
                return self.fail_changes(Failed::NoLease, out);
            };
            let held = self.held(env.now, env.session).filter(|h| h.right == Right::Exclusive);
            let Some(held) = held else {
                return self.ask(env, Right::Exclusive, out, None);
            };
            let may_wait = env.policy == WritePolicy::Back && held.until.is_none();
            let back = |(_, change): &(Waiter, O)| may_wait && change.may_wait(&held.item);
            let through = !self.changes.front().is_some_and(back);
            if through && self.is_dirty() {
                // The memory evaluates the change: it must know what it is based on.
                return self.start_flush(env, out);
            }
            let Some((waiter, change)) = self.changes.pop_front() else { return };
            if !through {
                self.change_here(waiter, &change, out);
                continue;
            }
            let id = env.id();
            self.writing = Some(Writing { id, session, waiter: Some(waiter), flush: None });
            out.push(Effect::Write { id, change: Change::Apply(change), session });
        }
    }

    fn change_here(&mut self, waiter: Waiter, change: &O, out: &mut Out<V, O>) {
        let Some(held) = &mut self.held else { return };
        let (changed, outcome) = change.apply(&held.item);
        if let Some(item) = changed.item(held.item.version + 1) {
            (held.item, held.dirty) = (item, true);
        }
        out.push(Effect::Changed { waiter, outcome, version: held.item.version });
    }

    fn fail_changes(&mut self, why: Failed, out: &mut Out<V, O>) {
        let changes = std::mem::take(&mut self.changes);
        out.extend(changes.into_iter().map(|(waiter, _)| Effect::Fail { waiter, why }));
    }

    fn start_flush(&mut self, env: &mut Env<'_>, out: &mut Out<V, O>) {
        if self.writing.is_some() {
            return;
        }
        let Some(held) = self.held.as_ref().filter(|held| held.dirty) else { return };
        let (id, session, item) = (env.id(), held.session, held.item.clone());
        let flush = Some(item.version);
        self.writing = Some(Writing { id, session, waiter: None, flush });
        out.push(Effect::Write { id, change: Change::Put(item), session });
    }

    /// Acknowledges what may be acknowledged.
    fn settle_revocations(&mut self, env: &mut Env<'_>, out: &mut Out<V, O>) {
        self.lapse(env, out);
        let mut waits = Vec::new();
        for revocation in std::mem::take(&mut self.held_up) {
            if env.session != Some(revocation.session) {
                continue;
            }
            let touched = self.held.as_ref().is_some_and(|held| held.gid <= revocation.upto);
            if touched && self.held.as_ref().is_some_and(|held| held.dirty) {
                self.start_flush(env, out);
            }
            if self.is_writing(env.session) && !mutant!(AcknowledgeDuringWrite) {
                waits.push(revocation);
                continue;
            }
            let mut kept = false;
            match (revocation.take, &mut self.held) {
                (Take::Downgrade, Some(held)) if touched => {
                    held.right = Right::Shared;
                    kept = true;
                }
                (Take::Invalidate, held) if touched => *held = None,
                (Take::Downgrade | Take::Invalidate, _) => {}
            }
            if let Some(miss) = self.miss.as_mut().filter(|_| !mutant!(NoFloor)) {
                miss.floor = miss.floor.max(Some(revocation.upto));
            }
            out.push(Effect::Acknowledge { id: revocation.id, kept });
        }
        self.held_up = waits;
    }

    /// Drops what another session gave. What is on its way to the memory may still come there.
    fn lapse(&mut self, env: &Env<'_>, out: &mut Out<V, O>) {
        let flushing = self.is_flushing();
        if let Some(held) = self.held.take_if(|held| env.session != Some(held.session))
            && held.dirty
            && !flushing
        {
            out.push(Effect::Lost { version: held.item.version });
        }
    }
}
