//! Two homes during a view change, homes that also cache, values that are over, and answers of the
//! memory that are lost or refuse.

use std::fmt::Write as _;
use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::two_homes_world::{Act, At, Budget, Message, Said, Setup, World, Wrong, place, rank};
use crate::cache::item::Right;
use crate::cache::mutants::{self, Mutant};

impl Setup {
    fn acts_of(&self, world: &World, node: usize, acts: &mut Vec<Act>) {
        let (used, most, at) = (&world.used, &self.most, &world.nodes[node]);
        let (epoch, usable) = (at.epoch, at.usable().is_some());
        let home = world.home(epoch);
        let known = home.sessions.get(&node).copied();
        acts.push(Act::Read(node));
        if self.direct && at.own && !usable {
            acts.push(Act::Direct(node));
        }
        if used.writes < most.writes && usable {
            acts.push(Act::Write(node));
        }
        if used.executes < most.executes && world.serves(epoch) {
            acts.push(Act::Execute(node));
        }
        if at.session.is_none() && at.own && world.serves(epoch) {
            acts.push(Act::Open(node));
        }
        let lapses = used.lapses < most.lapses;
        if at.own && (lapses || world.view > epoch) {
            acts.push(Act::OwnOver(node));
        }
        if !at.own && !at.new && world.view == epoch {
            acts.push(Act::OwnBack(node));
        }
        if at.live && lapses {
            acts.push(Act::Lapse(node));
        }
        if let Some(session) = at.session {
            if known != Some(session) {
                acts.push(Act::Over(node));
            } else if !at.live && world.serves(epoch) {
                acts.push(Act::Renewed(node));
            }
        }
        let over = |epoch: u64| {
            let known = world.home(epoch).sessions.get(&node);
            known.is_some_and(|known| at.session != Some(*known) || !at.live)
        };
        if over(1) || over(2) {
            acts.push(Act::CountedOut(node));
        }
        acts.push(Act::Evict(node));
        if used.crashes < most.crashes {
            acts.push(Act::Crash(node));
        }
        if world.view == 2 && epoch == 1 {
            acts.push(Act::Adopt(node));
        }
        if used.expiries < most.expiries && at.right().is_some() {
            acts.push(Act::Tick(node));
        }
    }

    fn acts_of_message(&self, world: &World, message: &Message, acts: &mut Vec<Act>) {
        let (used, most) = (&world.used, &self.most);
        acts.push(Act::Deliver(message.clone()));
        let writes = matches!(message, Message::Write { .. } | Message::HomeWrites { .. });
        if writes && used.lost < most.lost {
            let late = self.wrong == Some(Wrong::LateCopies);
            let act = if late { Act::Twice } else { Act::AnswerLost };
            acts.push(act(message.clone()));
        }
        if matches!(message, Message::Write { again: false, .. }) && used.full < most.full {
            acts.push(Act::Full(message.clone()));
        }
        if let Message::HomeReads { epoch } = message
            && used.unread < most.unread
        {
            acts.push(Act::Unread(*epoch));
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
        for node in 0..world.nodes.len() {
            self.acts_of(world, node, acts);
        }
        let (used, most) = (&world.used, &self.most);
        if used.views < most.views {
            acts.push(Act::Change);
        }
        let old = world.nodes.iter().any(|at| at.epoch == 1 && at.own);
        let waits = old && self.wrong != Some(Wrong::NoWait);
        let second = world.home(2);
        let begun = world.view == 2 && world.nodes[second.host].epoch == 2;
        if begun && !second.gone && !second.serving && !waits {
            acts.push(Act::Ready);
        }
        if used.expiries < most.expiries && world.memory.item().value.is_some() {
            acts.push(Act::Expire);
        }
        for message in &world.net {
            self.acts_of_message(world, message, acts);
        }
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        mutants::with(self.mutant, || {
            let mut world = last.clone();
            let stale =
                matches!(act, Act::Direct(_)) && rank(world.memory.item()) < world.current();
            if stale {
                world.bad = Some("a stale read of the memory");
            }
            self.step(&mut world, act)?;
            world.prune();
            (world != *last).then_some(world)
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no stale read", |_, world: &World| world.bad.is_none()),
            Property::always("one writer, or readers", |_, world: &World| {
                let rights: Vec<Right> = world.nodes.iter().filter_map(At::right).collect();
                rights.len() < 2 || !rights.contains(&Right::Exclusive)
            }),
            Property::sometimes("two share", |_, world: &World| {
                world.nodes.iter().filter(|at| at.right().is_some()).count() > 1
            }),
            Property::sometimes("a home caches", |_, world: &World| {
                let home = world.home(1);
                world.nodes[home.host].right().is_some() && world.seen > 1
            }),
            Property::sometimes("the old home grants after the change", |_, world: &World| {
                let old = |one: &Message| matches!(one, Message::Granted { session, .. } if session.epoch == 1);
                world.view == 2 && world.serves(1) && world.net.iter().any(old)
            }),
            Property::sometimes("the new home grants", |_, world: &World| {
                world.nodes.iter().any(|at| at.epoch == 2 && at.right().is_some())
            }),
            Property::sometimes("a write of the old epoch is refused", |_, world: &World| {
                world.memory.gate.serving() == 2 && told(world, Said::Fenced)
            }),
            Property::sometimes("a value is over and known to be", |_, world: &World| {
                world.seen > 1 && world.seen % 2 == 1
            }),
            Property::sometimes("over at the memory, read at a node", |_, world: &World| {
                world.memory.item().value.is_none()
                    && world.nodes.iter().any(|at| at.right().is_some())
            }),
            Property::sometimes("nobody knows", |_, world: &World| told(world, Said::Unknown)),
            Property::sometimes("not done", |_, world: &World| told(world, Said::Not)),
        ]
    }
}

fn told(world: &World, what: Said) -> bool {
    world.net.iter().any(|one| matches!(one, Message::Written { said, .. } if *said == what))
}

const ALWAYS: [&str; 2] = ["no stale read", "one writer, or readers"];
const SHARE: &str = "two share";
const CACHES: &str = "a home caches";
const OLD: &str = "the old home grants after the change";
const NEW: &str = "the new home grants";
const REFUSED: &str = "a write of the old epoch is refused";
const OVER: &str = "a value is over and known to be";
const APART: &str = "over at the memory, read at a node";
const UNKNOWN: &str = "nobody knows";
const NOT: &str = "not done";

impl World {
    /// Takes away messages that will only be thrown away.
    pub(super) fn prune(&mut self) {
        let mut net = std::mem::take(&mut self.net);
        net.retain(|message| match message {
            Message::Get { node, session, .. } => {
                let home = self.home(session.epoch);
                !home.gone && home.sessions.get(node) == Some(session)
            }
            Message::Execute { epoch } | Message::HomeReads { epoch } => !self.home(*epoch).gone,
            Message::Acknowledge { epoch, .. } => *epoch > 0 && !self.homes[place(*epoch)].gone,
            Message::HomeFences { epoch, .. } => {
                *epoch == self.memory.gate.serving() && !self.home(*epoch).gone
            }
            Message::Revoke { node, revocation } => {
                self.nodes[*node].session == Some(revocation.session)
            }
            Message::Granted { node, request, .. } => self.nodes[*node].line.awaits(*request),
            Message::Written { node, id, .. } => self.nodes[*node].line.awaits_write(*id),
            Message::Write { .. } | Message::HomeWrites { .. } => true,
        });
        self.net = net;
    }
}

/// What is broken, with the way to it; and what was never seen.
fn search(setup: &Setup, seconds: u64) -> (bool, String, Vec<&'static str>) {
    let mut checker = setup.clone().checker().threads(2).timeout(Duration::from_secs(seconds));
    if setup.mutant.is_some() || setup.wrong.is_some() {
        checker = checker.finish_when(HasDiscoveries::AnyFailures);
    }
    let found = checker.spawn_bfs().join();
    let mut text = String::new();
    let discoveries = found.discoveries();
    for name in ALWAYS {
        let Some(path) = discoveries.get(name) else { continue };
        let acts = path.clone().into_actions();
        writeln!(text, "{name}, in {} steps:", acts.len()).unwrap();
        for act in acts {
            writeln!(text, "    {act:?}").unwrap();
        }
    }
    let (states, depth) = (found.unique_state_count(), found.max_depth());
    println!("{setup:?}: {states} states, depth {depth}, complete {}", found.is_done());
    let never = [SHARE, CACHES, OLD, NEW, REFUSED, OVER, APART, UNKNOWN, NOT];
    let never = never.into_iter().filter(|name| !discoveries.contains_key(name)).collect();
    (found.is_done(), text, never)
}

fn setup(most: Budget) -> Setup {
    Setup { nodes: 2, most, direct: most.expiries == 0, mutant: None, wrong: None }
}

/// Nothing is broken in any order, and each of those is seen.
fn holds(setup: &Setup, seen: &[&'static str]) {
    let (complete, broken, never) = search(setup, 100);
    assert!(broken.is_empty(), "{broken}");
    assert!(complete, "not all orders were tried: {setup:?}");
    let missed: Vec<_> = seen.iter().filter(|name| never.contains(name)).collect();
    assert!(missed.is_empty(), "never seen: {missed:?}");
}

fn few(writes: u8, requests: u8) -> Budget {
    Budget { writes, requests, ..Budget::default() }
}

#[test]
fn two_homes() {
    holds(&setup(Budget { views: 1, ..few(1, 2) }), &[CACHES, OLD, NEW, REFUSED]);
}

#[test]
fn two_homes_and_a_change_that_a_home_makes() {
    holds(&setup(Budget { views: 1, executes: 1, ..few(0, 2) }), &[CACHES, OLD, NEW]);
}

#[test]
fn a_home_that_crashes_with_its_lines() {
    holds(&setup(Budget { views: 1, crashes: 1, ..few(1, 2) }), &[CACHES, NEW]);
}

#[test]
fn leases_that_end_and_come_back() {
    holds(&setup(Budget { lapses: 2, ..few(1, 2) }), &[SHARE, CACHES]);
}

#[test]
fn values_that_are_over() {
    holds(&setup(Budget { expiries: 2, ..few(1, 3) }), &[SHARE, OVER, APART]);
}

#[test]
fn answers_that_are_lost() {
    let most = Budget { lost: 1, full: 1, unread: 1, lapses: 1, ..few(1, 2) };
    holds(&setup(most), &[UNKNOWN, NOT]);
}

/// Each is found.
#[test]
fn bugs_are_found() {
    let views = Budget { views: 1, ..few(1, 2) };
    let lapse = Budget { lapses: 1, ..few(1, 2) };
    let over = Budget { expiries: 1, ..few(1, 2) };
    let lost = Budget { lost: 1, ..few(1, 2) };
    let mutant = |mutant, most| Setup { mutant: Some(mutant), ..setup(most) };
    let wrong = |wrong, most, direct| Setup { wrong: Some(wrong), direct, ..setup(most) };
    let setups = [
        mutant(Mutant::NoFence, lapse),
        mutant(Mutant::NoPartitionFence, views),
        mutant(Mutant::NoFloor, views),
        mutant(Mutant::ReadDuringOwnWrite, views),
        mutant(Mutant::AcknowledgeDuringWrite, lost),
        mutant(Mutant::OldCopiesStay, over),
        mutant(Mutant::AbsentAgain, Budget { expiries: 2, ..few(1, 3) }),
        wrong(Wrong::NoWait, views, true),
        wrong(Wrong::LateCopies, Budget { writes: 2, ..lost }, false),
        wrong(Wrong::DirectOfExpiring, over, true),
    ];
    let mut missed = Vec::new();
    for setup in setups {
        let (_, broken, _) = search(&setup, 20);
        println!("{:?} {:?}: {broken}", setup.mutant, setup.wrong);
        if broken.is_empty() {
            missed.push(format!("{:?} {:?}", setup.mutant, setup.wrong));
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
