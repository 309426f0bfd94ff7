//! Every order of events for one key, at two or three nodes and a home, searched for one that
//! breaks a promise. The steps are those of the daemon; what is modelled here is what lies between
//! them: a network that reorders and delays, leases, crashes.
//!
//! Versions are the memory's, and it gives them out in the order in which changes happen. So a read
//! is linearizable if its version is not below what the memory had when the read began.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::directory::{Entry, HomeEffect, Numbers, Request, Want};
use super::item::{Changed, Gid, Item, Operation, Right, Session};
use super::line::{Change, Effect, Env, Grant, Line, Revocation, WritePolicy, Written};
use super::memory::{Authority, Partition};
use super::mutants::{self, Mutant};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Touch;

impl Operation for Touch {
    type Value = ();
    type Outcome = ();

    fn apply(&self, _: &Item<()>) -> (Changed<()>, ()) {
        (Changed::To(()), ())
    }
}

type Node = usize;
type KeyLine = Line<(), Touch>;
type Home = Entry<Node, Touch>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At {
    session: Option<Session>,
    line: KeyLine,
    ids: u64,
    /// The request that is out.
    asked: Option<u64>,
    /// Readers: what the key had when they began.
    readers: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Get { node: Node, request: u64, right: Right, session: Session },
    Execute { node: Node, epoch: u64 },
    Revoke { node: Node, revocation: Revocation },
    Acknowledge { node: Node, id: u64, kept: bool, epoch: u64 },
    Granted { node: Node, request: u64, right: Right, version: u64, gid: Gid, session: Session },
    Write { node: Node, id: u64, session: Session, put: Option<u64>, base: u64 },
    Written { node: Node, id: u64, version: Option<u64>, put: bool },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    memory: Partition<Node, (), (), ()>,
    epoch: u64,
    ready: bool,
    home: Home,
    numbers: Numbers,
    sessions: BTreeMap<Node, Session>,
    generations: BTreeMap<Node, u64>,
    /// Requests that the home serves: whose they are.
    asked: BTreeMap<u64, (Node, u64, Option<Session>)>,
    requests: u64,
    nodes: Vec<At>,
    net: BTreeSet<Message>,
    used: Budget,
    /// Highest version that was acknowledged to a writer.
    acknowledged: u64,
    told_lost: bool,
    bad: Option<&'static str>,
}

/// What may happen how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Budget {
    writes: u8,
    executes: u8,
    requests: u8,
    crashes: u8,
    home_moves: u8,
    expiries: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Act {
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
enum Wrong {
    /// A session that does not answer is counted out though its lease may hold.
    NoLease,
    /// A new home serves while leases of the old one may hold.
    NoWait,
    /// The memory compares versions, and nothing else.
    VersionOnly,
}

#[derive(Debug, Clone)]
struct Setup {
    nodes: usize,
    policy: WritePolicy,
    most: Budget,
    mutant: Option<Mutant>,
    wrong: Option<Wrong>,
}

impl Setup {
    fn begin(&self) -> World {
        let at = At {
            session: None,
            line: Line::default(),
            ids: 0,
            asked: None,
            readers: BTreeMap::new(),
        };
        let mut memory = Partition::default();
        memory.take_over(1);
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
                    if let Some(least) = world.nodes[node].readers.remove(&waiter)
                        && item.version < least
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
        let mut todo: std::collections::VecDeque<_> =
            step(&mut world.home, &mut world.numbers, &live).into();
        while let Some(effect) = todo.pop_front() {
            match effect {
                HomeEffect::Revoke { from: node, session, id, upto, take } => {
                    let revocation = Revocation { id, session, upto, take };
                    world.net.insert(Message::Revoke { node, revocation });
                }
                HomeEffect::Fence { node, session } => {
                    world.memory.fence(&node, session);
                    todo.extend(world.home.fenced(&node, session));
                }
                HomeEffect::Read { .. } => {
                    let item = world.memory.get(&());
                    todo.extend(world.home.read(&mut world.numbers, &live, &item));
                }
                HomeEffect::Execute { request, change } => {
                    let by = Authority::Home(world.epoch);
                    let change = Change::Apply(change);
                    let written = world.memory.write(&by, &(), (usize::MAX, request), &change);
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

    fn deliver(&self, world: &mut World, message: Message) -> Option<()> {
        world.net.remove(&message);
        match message {
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
            if base != world.memory.get(&()).version {
                return None;
            }
            Authority::Home(world.epoch)
        } else {
            Authority::Holder(id.0, session)
        };
        match world.memory.write(&by, &(), id, &change) {
            Written::Done { item, .. } => Some(item.version),
            Written::Fenced => None,
        }
    }

    fn end_session(&self, world: &mut World, node: Node) {
        world.nodes[node].session = None;
        let done = self.at(world, node, |line, env| line.session_over(env));
        debug_assert!(done.is_some(), "it asks for nothing");
    }

    fn step(&self, world: &mut World, act: Act) -> Option<()> {
        match act {
            Act::Read(node) => {
                let least = world.current();
                let waiter = world.nodes[node].ids + 1_000;
                // One that began no earlier says nothing new.
                let readers = &mut world.nodes[node].readers;
                if readers.values().any(|known| *known >= least) {
                    return None;
                }
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
            Act::Flush(node) => self.at(world, node, |line, env| line.flush(env))?,
            Act::TimeOut(node) => {
                let request = world.nodes[node].asked.take()?;
                self.at(world, node, |line, env| line.refused(env, request))?;
            }
            Act::Crash(node) => {
                world.used.crashes += 1;
                world.told_lost |= world.nodes[node].line.is_dirty();
                let at = &mut world.nodes[node];
                (at.session, at.line, at.asked) = (None, Line::default(), None);
                at.readers.clear();
            }
            Act::HomeMoves => {
                world.used.home_moves += 1;
                world.epoch += 1;
                world.ready = false;
                (world.home, world.numbers) = (Entry::default(), Numbers::new(world.epoch));
                world.sessions.clear();
                world.generations.clear();
                world.asked.clear();
            }
            Act::HomeReady => {
                world.ready = true;
                world.memory.take_over(world.epoch);
            }
            Act::Deliver(message) => self.deliver(world, message)?,
        }
        Some(())
    }
}

impl World {
    /// What a read that begins now must not be behind.
    fn current(&self) -> u64 {
        let dirty = (0..self.nodes.len()).filter(|node| self.nodes[*node].line.is_dirty());
        let dirty = dirty.filter_map(|node| self.version_at(node)).max().unwrap_or(0);
        self.memory.get(&()).version.max(dirty)
    }

    fn version_at(&self, node: Node) -> Option<u64> {
        let at = &self.nodes[node];
        at.line.readable(0, at.session).map(|(item, _)| item.version)
    }

    /// Takes away messages that will only be thrown away.
    fn prune(&mut self) {
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

impl Model for Setup {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![self.begin()]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.bad.is_some() {
            return;
        }
        let (used, most) = (&world.used, &self.most);
        for (node, at) in world.nodes.iter().enumerate() {
            acts.push(Act::Read(node));
            let known = world.sessions.get(&node);
            if used.writes < most.writes {
                acts.push(Act::Write(node));
            }
            if used.executes < most.executes && world.ready {
                acts.push(Act::Execute(node));
            }
            if at.session.is_none() && world.ready {
                acts.push(Act::Open(node));
            }
            if at.session.is_some() && used.expiries < most.expiries {
                acts.push(Act::LeaseOver(node));
            }
            let no_lease = self.wrong == Some(Wrong::NoLease) && used.expiries < most.expiries;
            if known.is_some() && (no_lease || at.session != known.copied()) {
                acts.push(Act::CountedOut(node));
            }
            if at.asked.is_some() {
                acts.push(Act::TimeOut(node));
            }
            acts.push(Act::Evict(node));
            if at.line.is_dirty() {
                acts.push(Act::Flush(node));
            }
            if used.crashes < most.crashes {
                acts.push(Act::Crash(node));
            }
            if !world.ready && at.session.is_some() && !at.line.is_dirty() {
                acts.push(Act::Adopt(node));
            }
        }
        if used.home_moves < most.home_moves {
            acts.push(Act::HomeMoves);
        }
        let old = |at: &At| at.session.is_some_and(|session| session.epoch < world.epoch);
        let waits = self.wrong != Some(Wrong::NoWait) && world.nodes.iter().any(old);
        if !world.ready && !waits {
            acts.push(Act::HomeReady);
        }
        acts.extend(world.net.iter().cloned().map(Act::Deliver));
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        mutants::with(self.mutant, || {
            let mut world = last.clone();
            self.step(&mut world, act)?;
            world.prune();
            (world != *last).then_some(world)
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("C1 no stale read", |_, world: &World| world.bad.is_none()),
            Property::always("C2 one writer, or readers", |_, world: &World| {
                let rights: Vec<Right> = world
                    .nodes
                    .iter()
                    .filter_map(|at| Some(at.line.readable(0, at.session)?.1))
                    .collect();
                rights.len() < 2 || !rights.contains(&Right::Exclusive)
            }),
            Property::always("C5 nothing is lost silently", |_, world: &World| {
                world.told_lost || world.acknowledged <= world.current()
            }),
            Property::sometimes("two share", |_, world: &World| {
                world.nodes.iter().filter(|at| at.line.readable(0, at.session).is_some()).count()
                    > 1
            }),
            Property::sometimes("a change is acknowledged", |_, world: &World| {
                world.acknowledged > 0
            }),
        ]
    }
}

const ALWAYS: [&str; 3] =
    ["C1 no stale read", "C2 one writer, or readers", "C5 nothing is lost silently"];

/// What was found, over all orders of events, or those that fit in the time.
fn search(setup: &Setup, at_most: Duration) -> (bool, Vec<&'static str>, String) {
    let begun = tokio_free_clock();
    let mut checker = setup.clone().checker().threads(2).timeout(at_most);
    if setup.mutant.is_some() || setup.wrong.is_some() {
        checker = checker.finish_when(HasDiscoveries::AnyFailures);
    }
    let found = checker.spawn_bfs().join();
    let discoveries = found.discoveries();
    let mut broken = Vec::new();
    let mut text = String::new();
    for name in ALWAYS {
        if let Some(path) = discoveries.get(name) {
            broken.push(name);
            let acts = path.clone().into_actions();
            writeln!(text, "{name}, in {} steps:", acts.len()).unwrap();
            for act in acts {
                writeln!(text, "    {act:?}").unwrap();
            }
        }
    }
    for name in ["two share", "a change is acknowledged"] {
        if !discoveries.contains_key(name) && broken.is_empty() {
            writeln!(text, "never seen: {name}").unwrap();
        }
    }
    println!(
        "{setup:?}: {} states, depth {}, complete {}, {:?}",
        found.unique_state_count(),
        found.max_depth(),
        found.is_done(),
        begun.elapsed().unwrap_or_default(),
    );
    (found.is_done(), broken, text)
}

fn tokio_free_clock() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

fn setup(nodes: usize, most: Budget) -> Setup {
    Setup { nodes, policy: WritePolicy::Through, most, mutant: None, wrong: None }
}

fn holds(setup: &Setup) {
    let (complete, broken, text) = search(setup, Duration::from_secs(120));
    assert!(broken.is_empty(), "{text}");
    assert!(complete, "not all orders were tried: {setup:?}");
    assert!(text.is_empty(), "{text}");
}

fn few(writes: u8, requests: u8) -> Budget {
    Budget { writes, requests, ..Budget::default() }
}

#[test]
fn two_nodes_without_faults() {
    holds(&setup(2, few(2, 4)));
}

#[test]
fn two_nodes_with_leases_that_end() {
    holds(&setup(2, Budget { expiries: 1, ..few(2, 3) }));
}

#[test]
fn two_nodes_with_a_crash() {
    holds(&setup(2, Budget { crashes: 1, ..few(2, 3) }));
}

#[test]
fn two_nodes_with_a_home_that_moves() {
    holds(&setup(2, Budget { home_moves: 1, expiries: 1, ..few(1, 3) }));
}

#[test]
fn two_nodes_with_a_home_that_executes() {
    holds(&setup(2, Budget { executes: 1, expiries: 1, ..few(1, 3) }));
}

#[test]
fn three_nodes_without_faults() {
    holds(&setup(3, few(1, 3)));
}

#[test]
fn two_nodes_that_write_back() {
    holds(&Setup { policy: WritePolicy::Back, ..setup(2, few(2, 4)) });
}

/// Each known bug is found.
#[test]
fn bugs_are_found() {
    let lease = Budget { expiries: 1, ..few(1, 2) };
    let moves = Budget { home_moves: 1, expiries: 1, ..few(1, 2) };
    let back = few(2, 3);
    let through = WritePolicy::Through;
    let mut missed = Vec::new();
    for (mutant, most, policy) in [
        (Mutant::NoFence, lease, through),
        (Mutant::NoPartitionFence, moves, through),
        (Mutant::NoFloor, few(1, 2), through),
        (Mutant::LateReaderServed, few(1, 3), through),
        (Mutant::ReaderOfOtherSession, Budget { expiries: 1, ..few(1, 3) }, through),
        (Mutant::ReadDuringOwnWrite, few(1, 2), through),
        (Mutant::AcknowledgeDuringWrite, few(1, 2), through),
        (Mutant::ExclusiveWhileShared, few(1, 3), through),
        (Mutant::WriteBeforeAcknowledged, few(1, 2), through),
        (Mutant::DirtyDropped, back, WritePolicy::Back),
    ] {
        let setup = Setup { policy, mutant: Some(mutant), ..setup(2, most) };
        let (_, broken, text) = search(&setup, Duration::from_secs(60));
        println!("{mutant:?}: {text}");
        if broken.is_empty() {
            missed.push(format!("{mutant:?}"));
        }
    }
    for (wrong, most) in
        [(Wrong::NoLease, lease), (Wrong::NoWait, moves), (Wrong::VersionOnly, lease)]
    {
        let setup = Setup { wrong: Some(wrong), ..setup(2, most) };
        let (_, broken, text) = search(&setup, Duration::from_secs(60));
        println!("{wrong:?}: {text}");
        if broken.is_empty() {
            missed.push(format!("{wrong:?}"));
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
