//! What lies between the steps: network, leases, crashes, and what a reader may not see.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::command::By;
use super::super::directory::{Entry, HomeEffect, Numbers, Request, Want};
use super::super::item::{Changed, Gid, Item, Operation, Right, Session};
use super::super::line::{Env, Line};
use super::super::memory::OneKey;
use super::super::mutants::Mutant;
use super::super::told::{Change, Effect, Grant, Revocation, WritePolicy, Written};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Touch;

impl Operation for Touch {
    type Value = ();
    type Outcome = ();

    fn apply(&self, _: &Item<()>) -> (Changed<()>, ()) {
        (Changed::To(()), ())
    }
}

pub(super) type Node = usize;
pub(super) type KeyLine = Line<(), Touch>;
pub(super) type Home = Entry<Node, Touch>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct At {
    pub(super) session: Option<Session>,
    pub(super) line: KeyLine,
    pub(super) ids: u64,
    /// The request that is out.
    pub(super) asked: Option<u64>,
    /// Readers: what the key had when they began.
    pub(super) readers: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Message {
    Get { node: Node, request: u64, right: Right, session: Session },
    Execute { node: Node, epoch: u64 },
    Revoke { node: Node, revocation: Revocation },
    Acknowledge { node: Node, id: u64, kept: bool, epoch: u64 },
    Granted { node: Node, request: u64, right: Right, version: u64, gid: Gid, session: Session },
    Write { node: Node, id: u64, session: Session, put: Option<u64>, base: u64 },
    Written { node: Node, id: u64, version: Option<u64>, put: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) memory: OneKey<Node, (), ()>,
    pub(super) epoch: u64,
    pub(super) ready: bool,
    pub(super) home: Home,
    pub(super) numbers: Numbers,
    pub(super) sessions: BTreeMap<Node, Session>,
    pub(super) generations: BTreeMap<Node, u64>,
    /// Requests that the home serves: whose they are.
    pub(super) asked: BTreeMap<u64, (Node, u64, Option<Session>)>,
    pub(super) requests: u64,
    pub(super) nodes: Vec<At>,
    pub(super) net: BTreeSet<Message>,
    pub(super) used: Budget,
    /// Highest version that was acknowledged to a writer.
    pub(super) acknowledged: u64,
    pub(super) told_lost: bool,
    /// A node lost its right to write while it had something to write (write-back only).
    pub(super) may_lose: bool,
    pub(super) bad: Option<&'static str>,
}

/// What may happen how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Budget {
    pub(super) writes: u8,
    pub(super) executes: u8,
    pub(super) requests: u8,
    pub(super) crashes: u8,
    pub(super) home_moves: u8,
    pub(super) expiries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Read(Node),
    Write(Node),
    Execute(Node),
    Open(Node),
    LeaseOver(Node),
    CountedOut(Node),
    Evict(Node),
    Flush(Node),
    TimeOut(Node),
    Crash(Node),
    HomeMoves,
    Adopt(Node),
    HomeReady,
    Deliver(Message),
}

/// A bug outside of the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A session that does not answer is counted out though its lease may hold.
    NoLease,
    /// A new home serves while leases of the old one may hold.
    NoWait,
    /// The memory compares versions, and nothing else.
    VersionOnly,
}

#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    pub(super) policy: WritePolicy,
    pub(super) most: Budget,
    pub(super) mutant: Option<Mutant>,
    pub(super) wrong: Option<Wrong>,
}

impl Setup {
    pub(super) fn begin(&self) -> World {
        let at = At {
            session: None,
            line: Line::default(),
            ids: 0,
            asked: None,
            readers: BTreeMap::new(),
        };
        let mut memory = OneKey::default();
        memory.gate.take_over(1);
        World {
            memory,
            epoch: 1,
            ready: true,
            home: Entry::default(),
            numbers: Numbers::new(1),
            sessions: BTreeMap::new(),
            generations: BTreeMap::new(),
            asked: BTreeMap::new(),
            requests: 0,
            nodes: vec![at; self.nodes],
            net: BTreeSet::new(),
            used: Budget::default(),
            acknowledged: 0,
            told_lost: false,
            may_lose: false,
            bad: None,
        }
    }

    fn env<'a>(&self, session: Option<Session>, ids: &'a mut u64) -> Env<'a> {
        Env { now: 0, session, ids, policy: self.policy }
    }

    /// A step of a node's line, and what it wants done. `None`: the budget does not allow it.
    fn at(
        &self,
        world: &mut World,
        node: Node,
        step: impl FnOnce(&mut KeyLine, &mut Env<'_>) -> Vec<Effect<(), Touch>>,
    ) -> Option<()> {
        let base = world.version_at(node);
        let at = &mut world.nodes[node];
        let effects = step(&mut at.line, &mut self.env(at.session, &mut at.ids));
        for effect in effects {
            match effect {
                Effect::Ask { request, right, session } => {
                    world.used.requests += 1;
                    if world.used.requests > self.most.requests {
                        return None;
                    }
                    world.nodes[node].asked = Some(request);
                    world.net.insert(Message::Get { node, request, right, session });
                }
                Effect::Write { id, change, session } => {
                    let put = match change {
                        Change::Apply(Touch) => None,
                        Change::Put(item) => Some(item.version),
                    };
                    let base = base.unwrap_or(0);
                    world.net.insert(Message::Write { node, id, session, put, base });
                }
                Effect::Read { waiter, item } => {
                    // Who wrote back and lost its lease may have lost what it wrote.
                    if let Some(least) = world.nodes[node].readers.remove(&waiter)
                        && item.version < least
                        && !world.may_lose
                    {
                        world.bad = Some("a stale read");
                    }
                }
                Effect::Changed { version, .. } => {
                    world.acknowledged = world.acknowledged.max(version);
                }
                Effect::Fail { waiter, .. } => drop(world.nodes[node].readers.remove(&waiter)),
                Effect::Acknowledge { id, kept } => {
                    let epoch = world.epoch;
                    world.net.insert(Message::Acknowledge { node, id, kept, epoch });
                }
                Effect::Lost { .. } => world.told_lost = true,
            }
        }
        Some(())
    }

    /// A step of the home, and what it wants done.
    fn home(
        world: &mut World,
        step: impl FnOnce(
            &mut Home,
            &mut Numbers,
            &dyn Fn(&Node) -> Option<Session>,
        ) -> Vec<HomeEffect<Node, (), Touch>>,
    ) {
        let sessions = world.sessions.clone();
        let live = |node: &Node| sessions.get(node).copied();
        let mut todo: VecDeque<_> = step(&mut world.home, &mut world.numbers, &live).into();
        while let Some(effect) = todo.pop_front() {
            match effect {
                HomeEffect::Revoke { from: node, session, id, upto, take } => {
                    let revocation = Revocation { id, session, upto, take };
                    world.net.insert(Message::Revoke { node, revocation });
                }
                HomeEffect::Fence { node, session } => {
                    world.memory.gate.fence(&(), &node, session);
                    todo.extend(world.home.fenced(&node, session));
                }
                HomeEffect::Read { .. } => {
                    let item = world.memory.item().clone();
                    todo.extend(world.home.read(&mut world.numbers, &live, &item));
                }
                HomeEffect::Execute { request, change } => {
                    let by = By::Home(world.epoch);
                    let change = Change::Apply(change);
                    let written = world.memory.write(&by, (usize::MAX, request), &change);
                    if let Written::Done { item, .. } = written {
                        world.acknowledged = world.acknowledged.max(item.version);
                    }
                    todo.extend(world.home.executed(&mut world.numbers, &live));
                }
                HomeEffect::Grant { request, right, item, gid } => {
                    let Some((node, request, Some(session))) = world.asked.remove(&request) else {
                        continue;
                    };
                    let version = item.version;
                    let granted = Message::Granted { node, request, right, version, gid, session };
                    world.net.insert(granted);
                }
                HomeEffect::Refuse { request } | HomeEffect::Cleared { request } => {
                    world.asked.remove(&request);
                }
            }
        }
    }

    fn ask_home(
        world: &mut World,
        node: Node,
        request: u64,
        want: Want<Touch>,
        session: Option<Session>,
    ) {
        world.requests += 1;
        let id = world.requests;
        world.asked.insert(id, (node, request, session));
        let by = session.map(|session| (node, session));
        Self::home(world, |home, numbers, live| {
            home.request(numbers, &live, Request { id, by, want })
        });
    }

    fn deliver(&self, world: &mut World, message: &Message) -> Option<()> {
        world.net.remove(message);
        match *message {
            Message::Get { node, request, right, session } => {
                if world.ready && world.sessions.get(&node) == Some(&session) {
                    Self::ask_home(world, node, request, Want::Line(right), Some(session));
                }
            }
            Message::Execute { node, epoch } => {
                if world.ready && epoch == world.epoch {
                    Self::ask_home(world, node, 0, Want::Execute(Touch), None);
                }
            }
            Message::Revoke { node, revocation } => {
                self.at(world, node, |line, env| line.revoke(env, revocation))?;
            }
            Message::Acknowledge { node, id, kept, epoch } => {
                if epoch == world.epoch {
                    Self::home(world, |home, _, _| home.acknowledged(&node, id, kept));
                }
            }
            Message::Granted { node, request, right, version, gid, session } => {
                let item = Item { version, value: Some(()) };
                let grant = Grant { request, right, item, gid, session, until: None };
                self.at(world, node, |line, env| line.granted(env, grant))?;
            }
            Message::Write { node, id, session, put, base } => {
                let version = self.write(world, (node, id), session, put, base);
                let put = put.is_some();
                world.net.insert(Message::Written { node, id, version, put });
            }
            Message::Written { node, id, version, put } => {
                let written = version.map_or(Written::Fenced, |version| Written::Done {
                    item: Item { version, value: Some(()) },
                    outcome: (!put).then_some(()),
                    until: None,
                });
                self.at(world, node, |line, env| line.written(env, id, written))?;
            }
        }
        Some(())
    }

    fn write(
        &self,
        world: &mut World,
        id: (Node, u64),
        session: Session,
        put: Option<u64>,
        base: u64,
    ) -> Option<u64> {
        let change = put
            .map_or(Change::Apply(Touch), |version| Change::Put(Item { version, value: Some(()) }));
        let by = if self.wrong == Some(Wrong::VersionOnly) {
            if base != world.memory.item().version {
                return None;
            }
            By::Home(world.epoch)
        } else {
            By::Holder(id.0, session)
        };
        match world.memory.write(&by, id, &change) {
            Written::Done { item, .. } => Some(item.version),
            Written::Fenced | Written::Unknown | Written::Not(()) => None,
        }
    }

    fn end_session(&self, world: &mut World, node: Node) {
        let line = &world.nodes[node].line;
        world.may_lose |= line.is_dirty() || line.is_flushing();
        world.nodes[node].session = None;
        let done = self.at(world, node, KeyLine::session_over);
        debug_assert!(done.is_some(), "it asks for nothing");
    }

    pub(super) fn step(&self, world: &mut World, act: Act) -> Option<()> {
        match act {
            Act::Read(node) => {
                let least = world.current();
                // One that began no earlier says nothing new.
                let readers = &mut world.nodes[node].readers;
                if readers.values().any(|known| *known >= least) {
                    return None;
                }
                let waiter = (1..100).find(|number| !readers.contains_key(number))?;
                readers.insert(waiter, least);
                self.at(world, node, |line, env| line.read(env, waiter))?;
            }
            Act::Write(node) => {
                world.used.writes += 1;
                self.at(world, node, |line, env| line.change(env, 0, Touch))?;
            }
            Act::Execute(node) => {
                world.used.executes += 1;
                let epoch = world.epoch;
                world.net.insert(Message::Execute { node, epoch });
            }
            Act::Open(node) => {
                if let Some(before) = world.sessions.remove(&node) {
                    Self::home(world, |home, _, _| home.session_over(&node, before));
                }
                let generation = world.generations.entry(node).or_default();
                *generation += 1;
                let session = Session { epoch: world.epoch, generation: *generation };
                world.sessions.insert(node, session);
                world.nodes[node].session = Some(session);
            }
            Act::LeaseOver(node) => {
                world.used.expiries += 1;
                self.end_session(world, node);
            }
            Act::Adopt(node) => self.end_session(world, node),
            Act::CountedOut(node) => {
                if self.wrong == Some(Wrong::NoLease) {
                    world.used.expiries += 1;
                }
                let session = world.sessions.remove(&node)?;
                Self::home(world, |home, _, _| home.session_over(&node, session));
            }
            Act::Evict(node) => self.at(world, node, |line, env| line.evict(env).1)?,
            Act::Flush(node) => self.at(world, node, KeyLine::flush)?,
            Act::TimeOut(node) => {
                let request = world.nodes[node].asked.take()?;
                self.at(world, node, |line, env| line.refused(env, request))?;
            }
            Act::Crash(node) => {
                world.used.crashes += 1;
                let dirty = world.nodes[node].line.is_dirty();
                world.told_lost |= dirty;
                world.may_lose |= dirty;
                let at = &mut world.nodes[node];
                (at.session, at.line, at.asked) = (None, Line::default(), None);
                at.readers.clear();
            }
            Act::HomeMoves => world.move_home(),
            Act::HomeReady => {
                world.ready = true;
                world.memory.gate.take_over(world.epoch);
            }
            Act::Deliver(message) => self.deliver(world, &message)?,
        }
        Some(())
    }
}

impl World {
    fn move_home(&mut self) {
        self.used.home_moves += 1;
        self.epoch += 1;
        self.ready = false;
        (self.home, self.numbers) = (Entry::default(), Numbers::new(self.epoch));
        self.sessions.clear();
        self.generations.clear();
        self.asked.clear();
    }

    /// What a read that begins now must not be behind.
    pub(super) fn current(&self) -> u64 {
        let dirty = (0..self.nodes.len()).filter(|node| self.nodes[*node].line.is_dirty());
        let dirty = dirty.filter_map(|node| self.version_at(node)).max().unwrap_or(0);
        self.memory.item().version.max(dirty)
    }

    pub(super) fn version_at(&self, node: Node) -> Option<u64> {
        let at = &self.nodes[node];
        at.line.readable(0, at.session).map(|(item, _)| item.version)
    }

    /// Takes away messages that will only be thrown away.
    pub(super) fn prune(&mut self) {
        let mut net = std::mem::take(&mut self.net);
        net.retain(|message| match message {
            Message::Get { node, session, .. } => {
                self.sessions.get(node) == Some(session) && session.epoch == self.epoch
            }
            Message::Revoke { node, revocation } => {
                self.nodes[*node].session == Some(revocation.session)
            }
            Message::Acknowledge { node, id, kept, epoch } => {
                let mut home = self.home.clone();
                home.acknowledged::<()>(node, *id, *kept);
                *epoch == self.epoch && home != self.home
            }
            Message::Granted { node, request, .. } => self.nodes[*node].line.awaits(*request),
            Message::Written { node, id, .. } => self.nodes[*node].line.awaits_write(*id),
            Message::Execute { epoch, .. } => *epoch == self.epoch,
            Message::Write { .. } => true,
        });
        self.net = net;
        for at in &mut self.nodes {
            at.asked = at.asked.filter(|request| at.line.awaits(*request));
        }
    }
}
