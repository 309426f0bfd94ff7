//! A home in each of two epochs: the second begins while the first may still answer. The nodes are
//! homes themselves, so that one crash ends both. A value may be over, at the memory by its clock and
//! at a node by another. Answers of the memory may be lost, or be that nothing was done.

mod leases;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::command::By;
use super::super::directory::{HomeEffect, Numbers, Request, Want};
use super::super::item::{Gid, Item, Right, Session};
use super::super::line::{Env, Line};
use super::super::memory::OneKey;
use super::super::mutants::Mutant;
use super::super::told::{Change, Effect, Grant, Revocation, WritePolicy, Written};
use super::world::{Home as Entry, KeyLine, Node, Touch};

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct At {
    pub(super) epoch: u64,
    /// Its own lease holds.
    pub(super) own: bool,
    /// It was started anew, and is in no view yet.
    pub(super) new: bool,
    pub(super) session: Option<Session>,
    /// The lease of the session holds, by its clock.
    pub(super) live: bool,
    pub(super) line: KeyLine,
    pub(super) ids: u64,
    pub(super) asked: Option<u64>,
    /// Readers: what had been there or seen when they began.
    pub(super) readers: BTreeMap<u64, u64>,
    pub(super) now: u64,
}

/// The home in one epoch, at the node of that place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Home {
    pub(super) host: Node,
    pub(super) serving: bool,
    pub(super) gone: bool,
    entry: Entry,
    numbers: Numbers,
    pub(super) sessions: BTreeMap<Node, Session>,
    generations: BTreeMap<Node, u64>,
    asked: BTreeMap<u64, (Node, u64, Option<Session>)>,
    requests: u64,
}

/// What the memory said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Said {
    Done(u64),
    Not,
    Fenced,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Message {
    Get { node: Node, request: u64, right: Right, session: Session },
    Execute { epoch: u64 },
    Revoke { node: Node, revocation: Revocation },
    Acknowledge { node: Node, id: u64, kept: bool, epoch: u64 },
    Granted { node: Node, request: u64, right: Right, item: Item<()>, gid: Gid, session: Session },
    Write { node: Node, id: u64, session: Session, again: bool },
    Written { node: Node, id: u64, said: Said },
    HomeReads { epoch: u64 },
    HomeWrites { epoch: u64, request: u64 },
    HomeFences { epoch: u64, node: Node, session: Session },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) memory: OneKey<Node, (), ()>,
    pub(super) view: u64,
    pub(super) homes: [Home; 2],
    pub(super) nodes: Vec<At>,
    pub(super) net: BTreeSet<Message>,
    pub(super) used: Budget,
    /// The highest rank that anybody was told.
    pub(super) seen: u64,
    pub(super) bad: Option<&'static str>,
}

/// What may happen how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Budget {
    pub(super) writes: u8,
    pub(super) executes: u8,
    pub(super) requests: u8,
    pub(super) crashes: u8,
    pub(super) lapses: u8,
    pub(super) views: u8,
    /// Values that are over at the memory, or at a node.
    pub(super) expiries: u8,
    /// Answers of the memory that are lost.
    pub(super) lost: u8,
    /// Writes that the memory does not do.
    pub(super) full: u8,
    /// Reads that the memory does not answer.
    pub(super) unread: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Read(Node),
    /// A read of the memory, past all lines.
    Direct(Node),
    Write(Node),
    Execute(Node),
    Open(Node),
    OwnOver(Node),
    OwnBack(Node),
    Lapse(Node),
    Renewed(Node),
    Over(Node),
    CountedOut(Node),
    Evict(Node),
    Crash(Node),
    Change,
    Adopt(Node),
    Ready,
    Expire,
    Tick(Node),
    Deliver(Message),
    AnswerLost(Message),
    Full(Message),
    Unread(u64),
    /// Delivered, and a copy comes later.
    Twice(Message),
}

/// What is wrong, beside the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The second home serves while leases of the first epoch may hold.
    NoWait,
    /// A copy of a write comes after the write was answered.
    LateCopies,
    /// The memory is read past all lines though values may be over.
    DirectOfExpiring,
}

#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) nodes: usize,
    pub(super) most: Budget,
    /// Nodes without a session read the memory.
    pub(super) direct: bool,
    pub(super) mutant: Option<Mutant>,
    pub(super) wrong: Option<Wrong>,
}

/// Place of what is told in the order of all there was: a value is over after it was there.
pub(super) fn rank(item: &Item<()>) -> u64 {
    2 * item.version + u64::from(item.value.is_none())
}

impl At {
    pub(super) fn usable(&self) -> Option<Session> {
        self.session.filter(|_| self.own && self.live)
    }

    pub(super) fn right(&self) -> Option<Right> {
        self.line.readable(self.now, self.usable()).map(|(_, right)| right)
    }
}

impl Home {
    fn new(host: Node, epoch: u64) -> Self {
        Self {
            host,
            serving: epoch == 1,
            gone: false,
            entry: Entry::default(),
            numbers: Numbers::new(epoch),
            sessions: BTreeMap::new(),
            generations: BTreeMap::new(),
            asked: BTreeMap::new(),
            requests: 0,
        }
    }
}

/// Place of an epoch's home.
pub(super) fn place(epoch: u64) -> usize {
    usize::from(epoch > 1)
}

impl World {
    /// What a read that begins now must not be behind.
    pub(super) fn current(&self) -> u64 {
        self.seen.max(2 * self.memory.item().version)
    }

    pub(super) fn home(&self, epoch: u64) -> &Home {
        &self.homes[place(epoch)]
    }

    /// It takes requests.
    pub(super) fn serves(&self, epoch: u64) -> bool {
        let home = self.home(epoch);
        let host = &self.nodes[home.host];
        home.serving && !home.gone && host.own && host.epoch == epoch
    }

    fn end_home(&mut self, epoch: u64) {
        let host = self.home(epoch).host;
        let gone = Home { gone: true, serving: false, ..Home::new(host, epoch) };
        self.homes[place(epoch)] = gone;
    }
}

impl Setup {
    pub(super) fn begin(&self) -> World {
        let at = At {
            epoch: 1,
            own: true,
            new: false,
            session: None,
            live: false,
            line: Line::default(),
            ids: 0,
            asked: None,
            readers: BTreeMap::new(),
            now: 0,
        };
        let mut memory = OneKey::default();
        memory.gate.take_over(1);
        World {
            memory,
            view: 1,
            homes: [Home::new(0, 1), Home::new(1, 2)],
            nodes: vec![at; self.nodes],
            net: BTreeSet::new(),
            used: Budget::default(),
            seen: 0,
            bad: None,
        }
    }

    /// A step of a node's line. `None`: the budget does not allow it.
    fn at(
        &self,
        world: &mut World,
        node: Node,
        gives_up: bool,
        step: impl FnOnce(&mut KeyLine, &mut Env<'_>) -> Vec<Effect<(), Touch>>,
    ) -> Option<()> {
        let at = &mut world.nodes[node];
        let session = if gives_up { at.session } else { at.usable() };
        let policy = WritePolicy::Through;
        let effects =
            step(&mut at.line, &mut Env { now: at.now, session, ids: &mut at.ids, policy });
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
                Effect::Write { id, session, .. } => {
                    world.net.insert(Message::Write { node, id, session, again: false });
                }
                Effect::Read { waiter, item } => {
                    let least = world.nodes[node].readers.remove(&waiter);
                    if least.is_some_and(|least| rank(&item) < least) {
                        world.bad = Some("a stale read");
                    }
                    world.seen = world.seen.max(rank(&item));
                }
                Effect::Changed { version, .. } => world.seen = world.seen.max(2 * version),
                Effect::Fail { waiter, .. } => drop(world.nodes[node].readers.remove(&waiter)),
                Effect::Acknowledge { id, kept } => {
                    let epoch = world.nodes[node].session.map_or(0, |session| session.epoch);
                    world.net.insert(Message::Acknowledge { node, id, kept, epoch });
                }
                Effect::Lost { .. } => world.bad = Some("something is lost"),
            }
        }
        Some(())
    }

    /// A step of a home; what it wants of the memory is on its way then.
    fn home(
        world: &mut World,
        epoch: u64,
        step: impl FnOnce(
            &mut Entry,
            &mut Numbers,
            &dyn Fn(&Node) -> Option<Session>,
        ) -> Vec<HomeEffect<Node, (), Touch>>,
    ) {
        let home = &mut world.homes[place(epoch)];
        if home.gone {
            return;
        }
        let sessions = home.sessions.clone();
        let live = |node: &Node| sessions.get(node).copied();
        let mut todo: VecDeque<_> = step(&mut home.entry, &mut home.numbers, &live).into();
        while let Some(effect) = todo.pop_front() {
            let message = match effect {
                HomeEffect::Revoke { from: node, session, id, upto, take } => {
                    Message::Revoke { node, revocation: Revocation { id, session, upto, take } }
                }
                HomeEffect::Fence { node, session } => Message::HomeFences { epoch, node, session },
                HomeEffect::Read { .. } => Message::HomeReads { epoch },
                HomeEffect::Execute { request, .. } => Message::HomeWrites { epoch, request },
                HomeEffect::Grant { request, right, item, gid } => {
                    let Some((node, request, Some(session))) = home.asked.remove(&request) else {
                        continue;
                    };
                    Message::Granted { node, request, right, item, gid, session }
                }
                HomeEffect::Refuse { request } | HomeEffect::Cleared { request } => {
                    home.asked.remove(&request);
                    continue;
                }
            };
            world.net.insert(message);
        }
    }

    fn ask_home(
        world: &mut World,
        epoch: u64,
        asks: (Node, u64, Option<Session>),
        want: Want<Touch>,
    ) {
        let home = &mut world.homes[place(epoch)];
        home.requests += 1;
        let id = home.requests;
        home.asked.insert(id, asks);
        let by = asks.2.map(|session| (asks.0, session));
        Self::home(world, epoch, |entry, numbers, live| {
            entry.request(numbers, &live, Request { id, by, want })
        });
    }

    fn deliver(&self, world: &mut World, message: &Message) -> Option<()> {
        world.net.remove(message);
        match message.clone() {
            Message::Get { node, request, right, session } => {
                let epoch = session.epoch;
                if world.serves(epoch) && world.home(epoch).sessions.get(&node) == Some(&session) {
                    let asks = (node, request, Some(session));
                    Self::ask_home(world, epoch, asks, Want::Line(right));
                }
            }
            Message::Execute { epoch } => {
                if world.serves(epoch) {
                    Self::ask_home(world, epoch, (0, 0, None), Want::Execute(Touch));
                }
            }
            Message::Revoke { node, revocation } => {
                if world.nodes[node].session == Some(revocation.session) {
                    self.at(world, node, true, |line, env| line.revoke(env, revocation))?;
                }
            }
            Message::Acknowledge { node, id, kept, epoch } => {
                Self::home(world, epoch, |entry, _, _| entry.acknowledged(&node, id, kept));
            }
            Message::Granted { node, request, right, item, gid, session } => {
                let until = (self.most.expiries > 0).then(|| world.nodes[node].now + 1);
                let grant = Grant { request, right, item, gid, session, until };
                self.at(world, node, false, |line, env| line.granted(env, grant))?;
            }
            Message::Write { node, id, session, again } => {
                let said = Self::write(world, &By::Holder(node, session), (node, id));
                let said = if said == Said::Fenced && again { Said::Unknown } else { said };
                world.net.insert(Message::Written { node, id, said });
            }
            Message::Written { node, id, said } => {
                let until = (self.most.expiries > 0).then(|| world.nodes[node].now + 1);
                let item = |version| Item { version, value: Some(()) };
                let written = match said {
                    Said::Done(version) => {
                        Written::Done { item: item(version), outcome: Some(()), until }
                    }
                    Said::Not => Written::Not(()),
                    Said::Fenced => Written::Fenced,
                    Said::Unknown => Written::Unknown,
                };
                self.at(world, node, false, |line, env| line.written(env, id, written))?;
            }
            Message::HomeReads { epoch } => {
                let item = world.memory.item().clone();
                Self::home(world, epoch, |entry, numbers, live| entry.read(numbers, &live, &item));
            }
            Message::HomeWrites { epoch, request } => {
                let by = (self.nodes + place(epoch), request);
                if let Said::Done(version) = Self::write(world, &By::Home(epoch), by) {
                    world.seen = world.seen.max(2 * version);
                }
                Self::home(world, epoch, |entry, numbers, live| entry.executed(numbers, &live));
            }
            Message::HomeFences { epoch, node, session } => {
                if world.memory.gate.fence(&(), &node, session) {
                    Self::home(world, epoch, |entry, _, _| entry.fenced(&node, session));
                }
            }
        }
        Some(())
    }

    fn write(world: &mut World, by: &By<Node>, id: (Node, u64)) -> Said {
        match world.memory.write(by, id, &Change::Apply(Touch)) {
            Written::Done { item, .. } => Said::Done(item.version),
            Written::Fenced | Written::Unknown | Written::Not(()) => Said::Fenced,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are of leases")]
    pub(super) fn step(&self, world: &mut World, act: Act) -> Option<()> {
        match act {
            Act::Read(node) => {
                let least = world.current();
                let readers = &mut world.nodes[node].readers;
                // One that began no earlier says nothing new.
                if readers.values().any(|known| *known >= least) {
                    return None;
                }
                let waiter = (1..100).find(|number| !readers.contains_key(number))?;
                readers.insert(waiter, least);
                self.at(world, node, false, |line, env| line.read(env, waiter))?;
            }
            Act::Direct(_) => world.seen = world.seen.max(rank(world.memory.item())),
            Act::Write(node) => {
                world.used.writes += 1;
                self.at(world, node, false, |line, env| line.change(env, 0, Touch))?;
            }
            Act::Execute(node) => {
                world.used.executes += 1;
                let epoch = world.nodes[node].epoch;
                world.net.insert(Message::Execute { epoch });
            }
            Act::Evict(node) => self.at(world, node, false, |line, env| line.evict(env).1)?,
            Act::Expire => {
                world.used.expiries += 1;
                world.memory.expire();
            }
            Act::Tick(node) => {
                world.used.expiries += 1;
                world.nodes[node].now += 1;
            }
            Act::Deliver(message) => self.deliver(world, &message)?,
            Act::Twice(message) => {
                world.used.lost += 1;
                self.deliver(world, &message)?;
                world.net.insert(message);
            }
            Act::AnswerLost(Message::Write { node, id, session, .. }) => {
                world.used.lost += 1;
                world.net.remove(&Message::Write { node, id, session, again: false });
                Self::write(world, &By::Holder(node, session), (node, id));
                world.net.insert(Message::Write { node, id, session, again: true });
            }
            Act::AnswerLost(Message::HomeWrites { epoch, request }) => {
                world.used.lost += 1;
                Self::write(world, &By::Home(epoch), (self.nodes + place(epoch), request));
            }
            Act::Full(message) => {
                world.used.full += 1;
                world.net.remove(&message);
                let Message::Write { node, id, .. } = message else { return None };
                world.net.insert(Message::Written { node, id, said: Said::Not });
            }
            Act::Unread(epoch) => {
                world.used.unread += 1;
                world.net.remove(&Message::HomeReads { epoch });
                Self::home(world, epoch, |entry, numbers, live| entry.unread(numbers, &live));
            }
            other => Self::lease(world, &other)?,
        }
        Some(())
    }
}
