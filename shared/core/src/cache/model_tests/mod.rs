//! Every order of events for one key, at two or three nodes and a home, searched for one that
//! breaks a promise. The steps are those of the daemon; what is modelled here is what lies between
//! them: a network that reorders and delays, leases, crashes.
//!
//! Versions are the memory's, and it gives them out in the order in which changes happen. So a read
//! is linearizable if its version is not below what the memory had when the read began.

#![expect(clippy::print_stdout, reason = "how much was searched belongs to a test's output")]

mod two_homes;
mod two_homes_world;
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};

use self::world::{Act, At, Budget, Setup, World, Wrong};
use super::item::Right;
use super::mutants::{self, Mutant};
use super::told::WritePolicy;

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
                let on_its_way = world.nodes.iter().any(|at| at.line.is_flushing());
                world.told_lost || on_its_way || world.acknowledged <= world.current()
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
        "{setup:?}: {} states, depth {}, complete {}",
        found.unique_state_count(),
        found.max_depth(),
        found.is_done(),
    );
    (found.is_done(), broken, text)
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
    holds(&setup(2, Budget { executes: 1, expiries: 1, ..few(1, 2) }));
}

#[test]
fn three_nodes_without_faults() {
    holds(&setup(3, few(1, 3)));
}

#[test]
fn three_nodes_with_a_lease_that_ends_and_a_crash() {
    holds(&setup(3, Budget { expiries: 1, crashes: 1, ..few(1, 2) }));
}

#[test]
fn two_nodes_with_every_fault() {
    holds(&setup(2, Budget { expiries: 1, crashes: 1, home_moves: 1, ..few(1, 2) }));
}

#[test]
fn two_nodes_that_write_back_and_a_lease_that_ends() {
    let back = Setup { policy: WritePolicy::Back, ..setup(2, Budget { expiries: 1, ..few(2, 2) }) };
    holds(&back);
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
