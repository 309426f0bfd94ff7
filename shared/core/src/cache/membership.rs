//! A node among the others: its own lease, who lives, when the view changes, and when it serves.
//!
//! - A node leaves a sign of life in the memory every third of the lease, and sees the view. While
//!   that view is the one that it acts by, its lease is renewed, counted from when it asked. So
//!   after a change no lease of an earlier epoch is renewed, and all of them are over one lease
//!   after the change.
//! - A node whose sign of life stays the same for a lease and its margin is counted out. That it is
//!   counted out wrongly does no harm. What is there when a node first looks may be of one that is
//!   dead: unless it is of a member, it counts from its next change.
//! - A home serves in a new epoch once every member has said that it acts by it, or no earlier lease
//!   can hold any more; then the memory refuses writes of earlier epochs.
//! - Of a memory that has forgotten what it acknowledged nobody can say which leases hold by what it
//!   forgot. Everybody that is known then counts as silent, also for a node that knows of nothing:
//!   the longest lease of those is waited for. So leases must be alike where the memory can forget.

use std::collections::{BTreeMap, BTreeSet};

use super::session::with_margin;
use super::snapshot::RAFT_RUN;
use super::view::{Member, Seen, View, next_view, view_anew, view_without};
use crate::name::Name;

/// What the node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// Act by this view from now on: nothing that an earlier one gave is of use any more.
    Adopt(View),
    /// Ask those members whether they act by the view.
    Prepare(Vec<Member>),
    /// Have the memory refuse writes of earlier epochs, and say [`Membership::took_over`].
    TakeOver(u64),
    /// Replace the view of that epoch by this one.
    Replace(u64, View),
}

/// Whose sign of life was seen when.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    incarnation: u64,
    count: u64,
    /// When it was first seen; `None`: it may be from long before.
    since: Option<u64>,
}

/// What a node knows of all.
#[derive(Debug, Clone)]
pub struct Membership {
    me: Member,
    view: View,
    /// When the view was first seen here, in the memory.
    seen_at: u64,
    /// The memory, when it was seen last, had this view, and was the run that the view is of.
    current: bool,
    /// The node's own lease, for the view's epoch.
    until: u64,
    /// Members that act by the view.
    ready: BTreeSet<Name>,
    /// The memory refuses what is older than the view.
    taken_over: bool,
    /// When it was last asked to.
    asked_at: Option<u64>,
    /// Other runs, of this node's name too.
    lives: BTreeMap<Name, (Member, Life)>,
    /// How often the memory has been seen.
    looks: u64,
    /// Since when another view is called for.
    wanted: Option<u64>,
    leaving: bool,
}

impl Membership {
    /// A node that has just started.
    pub fn new(me: Member) -> Self {
        Self {
            me,
            view: View::default(),
            seen_at: 0,
            current: false,
            until: 0,
            ready: BTreeSet::new(),
            taken_over: false,
            asked_at: None,
            lives: BTreeMap::new(),
            looks: 0,
            wanted: None,
            leaving: false,
        }
    }

    /// The view that this node acts by.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Which run of which node this is.
    pub fn me(&self) -> &Member {
        &self.me
    }

    /// When the node's own lease for the epoch of the view ends; 0: it has none.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The epoch, while the lease holds.
    pub fn epoch(&self, now: u64) -> Option<u64> {
        (now < self.until).then_some(self.view.epoch)
    }

    /// The epoch in which this node may serve as a home.
    pub fn serves(&self, now: u64) -> Option<u64> {
        self.epoch(now).filter(|_| self.taken_over)
    }

    /// Another live process has this node's name; its address.
    pub fn namesake(&self, now: u64) -> Option<&str> {
        let (member, life) = self.lives.get(&self.me.node)?;
        let other = member.address != self.me.address;
        (other && is_fresh(member, life, now)).then_some(member.address.as_str())
    }

    /// Not counted out.
    pub fn is_live(&self, node: &Name, now: u64) -> bool {
        *node == self.me.node
            || self.lives.get(node).is_some_and(|(member, life)| is_fresh(member, life, now))
    }

    /// The memory was asked at `sent`, and answered by `now`.
    pub fn saw(&mut self, sent: u64, now: u64, seen: &Seen) -> Vec<Todo> {
        let mut todo = Vec::new();
        self.hear(now, seen);
        self.adopt(now, &seen.view, &mut todo);
        let before = self.current;
        self.current = seen.view == self.view && seen.run == self.view.run;
        if self.current && !before {
            // Who told of the view may have been heard late or early: this is certain.
            self.seen_at = now;
        }
        if self.current && self.is_member() && !self.leaving {
            let from = if mutant!(LeaseFromReceipt) { now } else { sent };
            self.until = self.until.max(from + self.me.lease_ms);
        }
        self.change(sent, now, seen, &mut todo);
        self.go_on(now, &mut todo);
        todo
    }

    /// Another node acts by this view, or told of it. It is not proof that it is the newest one: no
    /// lease comes of it.
    pub fn told(&mut self, now: u64, view: &View) -> Vec<Todo> {
        let mut todo = Vec::new();
        self.adopt(now, view, &mut todo);
        todo
    }

    /// A member acts by the view of that epoch.
    pub fn ready(&mut self, now: u64, node: &Name, epoch: u64) -> Vec<Todo> {
        let mut todo = Vec::new();
        if epoch == self.view.epoch {
            self.ready.insert(node.clone());
            self.go_on(now, &mut todo);
        }
        todo
    }

    /// Time went by.
    pub fn tick(&mut self, now: u64) -> Vec<Todo> {
        let mut todo = Vec::new();
        self.go_on(now, &mut todo);
        todo
    }

    /// The memory refuses what is older than that epoch.
    pub fn took_over(&mut self, epoch: u64) {
        self.taken_over |= epoch == self.view.epoch;
    }

    /// When [`tick`](Self::tick) may have something to do.
    pub fn next_tick(&self) -> Option<u64> {
        let due = self.asked_at.map_or(self.all_over(), |at| at + self.pause());
        let waits = self.current && self.is_member() && !self.leaving;
        (waits && !self.taken_over).then_some(due)
    }

    /// The node stops: the view without it, if it is in the view. It has dropped all it had.
    pub fn leave(&mut self, now: u64) -> Option<(u64, View)> {
        self.leaving = true;
        self.until = 0;
        if !self.is_member() {
            return None;
        }
        let settled = now >= self.all_over();
        Some((self.view.epoch, view_without(&self.view, &self.me, settled)))
    }

    fn is_member(&self) -> bool {
        self.view.has(&self.me.node, self.me.incarnation)
    }

    /// Time between two attempts.
    fn pause(&self) -> u64 {
        self.me.lease_ms / 3 + 1
    }

    /// From then on no lease of an earlier epoch holds.
    fn all_over(&self) -> u64 {
        self.seen_at + with_margin(self.view.longest_lease())
    }

    /// Whose sign of life has changed lives.
    fn hear(&mut self, now: u64, seen: &Seen) {
        for beat in seen.beats.iter().filter(|beat| !is_run(&beat.member, &self.me)) {
            let member = &beat.member;
            let known = self.lives.get(&member.node);
            let same = known.is_some_and(|(_, life)| {
                (life.incarnation, life.count) == (member.incarnation, beat.count)
            });
            if same {
                continue;
            }
            // The signs of two processes of one name hide each other. They alone see whether the
            // other one lives; to all others it is the one of the view, as long as any does.
            let hidden = seen.view.member(&member.node).filter(|one| {
                let apart = !is_run(one, member) && one.address != member.address;
                apart && member.node != self.me.node
            });
            let lives = self.looks > 0 || hidden.is_some() || seen.view.members.contains(member);
            let since = lives.then_some(now);
            let life = Life { incarnation: member.incarnation, count: beat.count, since };
            let member = hidden.unwrap_or(member);
            self.lives.insert(member.node.clone(), (member.clone(), life));
        }
        self.looks += 1;
    }

    fn adopt(&mut self, now: u64, view: &View, todo: &mut Vec<Todo>) {
        if view.epoch <= self.view.epoch {
            return;
        }
        // Who is in neither list has left by itself: it is not to be put back for its last sign.
        let left = self.view.members.iter().filter(|one| !view.members.contains(one));
        for one in left.filter(|one| !view.silent.contains(one)) {
            if let Some((_, life)) =
                self.lives.get_mut(&one.node).filter(|(member, _)| is_run(member, one))
            {
                life.since = None;
            }
        }
        self.view = view.clone();
        (self.seen_at, self.until, self.taken_over) = (now, 0, false);
        self.current = false;
        self.asked_at = None;
        self.ready.clear();
        self.wanted = None;
        todo.push(Todo::Adopt(view.clone()));
        if self.is_member() {
            let me = &self.me;
            let others = view.members.iter().filter(|member| *member != me).cloned().collect();
            todo.push(Todo::Prepare(others));
        }
    }

    fn go_on(&mut self, now: u64, todo: &mut Vec<Todo>) {
        let asked = self.asked_at.is_some_and(|at| now < at + self.pause());
        // A view that was only told of may be of a memory that is no more.
        if self.taken_over || asked || !self.current || !self.is_member() || self.leaving {
            return;
        }
        let ready = |one: &Member| *one == self.me || self.ready.contains(&one.node);
        let heard = self.view.silent.is_empty() || mutant!(SilentNotAwaited);
        let all = heard && self.view.members.iter().all(ready);
        if all || now >= self.all_over() {
            self.asked_at = Some(now);
            todo.push(Todo::TakeOver(self.view.epoch));
        }
    }

    /// Proposes another view, if one is called for. Who is first among those that live does so at
    /// once, the others in turn: the memory takes one of them.
    fn change(&mut self, sent: u64, now: u64, seen: &Seen, todo: &mut Vec<Todo>) {
        if self.leaving || self.namesake(now).is_some() {
            return;
        }
        // It has forgotten what it had, or answers late: then it does not take what is proposed.
        let forgotten = !self.current;
        // Of what came after it was asked nothing is known: a late answer counts nobody out.
        let mut live: BTreeSet<Member> = self
            .lives
            .values()
            .filter(|(member, life)| is_fresh(member, life, sent))
            .map(|(member, _)| member.clone())
            .collect();
        live.retain(|member| member.node != self.me.node);
        live.insert(self.me.clone());
        let members: BTreeSet<Member> = self.view.members.iter().cloned().collect();
        if live == members && !forgotten {
            self.wanted = None;
            return;
        }
        let since = *self.wanted.get_or_insert(now);
        // Its own name at another address, whose signs it hides from all others: nobody else does it.
        let mine = self.view.member(&self.me.node);
        let alone = mine.is_some_and(|one| one.address != self.me.address);
        let before =
            live.iter().position(|member| *member == self.me).filter(|_| !alone).unwrap_or(0);
        let turn = u64::try_from(before).unwrap_or(u64::MAX).saturating_mul(self.pause());
        if now >= since.saturating_add(turn) {
            let settled = now >= self.all_over();
            let next = if forgotten {
                let keeps = seen.run == RAFT_RUN;
                view_anew((&self.view, &seen.view), &seen.run, &live, keeps)
            } else {
                next_view(&self.view, &live, settled)
            };
            todo.push(Todo::Replace(seen.view.epoch, next));
        }
    }
}

/// Not so old that the member's lease must be over.
fn is_fresh(member: &Member, life: &Life, now: u64) -> bool {
    life.since.is_some_and(|since| now < since + with_margin(member.lease_ms))
}

fn is_run(one: &Member, other: &Member) -> bool {
    (&one.node, one.incarnation) == (&other.node, other.incarnation)
}
