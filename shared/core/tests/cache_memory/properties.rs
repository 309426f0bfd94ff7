//! Random histories against the reference.

use dsync_core::cache::command::{By, Command, Done, Found, Query, Selector, Written};
use dsync_core::cache::item::Session;
use dsync_core::cache::op::{Action, Condition, Op};
use dsync_core::cache::view::{View, partition_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::bench::{Bench, name, set, value};
use crate::reference::Reference;

#[derive(Debug, Clone)]
enum Act {
    Do(Command),
    /// The command so many before this one is told again.
    Again(usize),
    Wait(u64),
    Look(Query),
}

fn one(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(of)
}

fn key() -> impl Strategy<Value = &'static str> {
    one(&["a", "a:1", "a:2", "b", "ü"])
}

fn action() -> impl Strategy<Value = Action> {
    let condition = prop_oneof![
        4 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        2 => (0_u64..40).prop_map(Condition::Version),
    ];
    let text = one(&["", "x", "5", "-7", "9223372036854775807", "01"]);
    let tags = prop::collection::vec(one(&["red", "blue"]), 0..3);
    let ttl = prop::option::weighted(0.4, 1_u64..3_000);
    let by = prop::sample::select(&[0, 1, -1, i64::MAX, i64::MIN][..]);
    prop_oneof![
        4 => (text, tags, condition.clone(), ttl).prop_map(|(text, tags, condition, ttl)| {
            set(value(text, &tags), condition, ttl)
        }),
        2 => condition.prop_map(|condition| Action::Delete { condition }),
        2 => by.prop_map(|by| Action::Increment { by }),
    ]
}

fn session() -> impl Strategy<Value = Session> {
    let epoch = prop_oneof![1 => Just(1_u64), 6 => Just(2), 2 => Just(3)];
    (epoch, 1_u64..4).prop_map(|(epoch, generation)| Session { epoch, generation })
}

fn command() -> impl Strategy<Value = Command> {
    let node = || one(&["n1", "n2"]);
    let by = prop_oneof![
        (node(), session()).prop_map(|(node, session)| By::Holder(name(node), session)),
        session().prop_map(|session| By::Home(session.epoch)),
    ];
    let write = prop_oneof![
        9 => action().prop_map(|action| Written::Apply(Op { request: 0, action })),
        1 => (one(&["p", "7"]), 0_u64..50).prop_map(|(text, version)| {
            Written::Put { value: value(text, &["red"]), version }
        }),
    ];
    prop_oneof![
        20 => (key(), by, write).prop_map(|(key, by, write)| {
            Command::Write { key: name(key), by, id: 0, write }
        }),
        2 => (key(), node(), session()).prop_map(|(key, node, session)| Command::Fence {
            partition: partition_of(&name(key)),
            node: name(node),
            session,
        }),
        1 => (0_u64..5, 0_u64..5).prop_map(|(epoch, next)| Command::Replace {
            epoch,
            view: View { epoch: next, ..View::default() },
        }),
        1 => (0_u64..5).prop_map(|epoch| Command::TakeOver { epoch }),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let of = prop_oneof![
        one(&["", "a", "a:", "z"]).prop_map(|prefix| Selector::Prefix(prefix.to_owned())),
        one(&["red", "blue"]).prop_map(|tag| Selector::Tag(name(tag))),
    ];
    let after = prop::option::of(key().prop_map(name));
    prop_oneof![
        key().prop_map(|key| Query::Get(name(key))),
        Just(Query::Size),
        (of, after, 0_u32..4).prop_map(|(of, after, limit)| Query::Keys { of, after, limit }),
    ]
}

fn history() -> impl Strategy<Value = Vec<Act>> {
    let pause = prop_oneof![8 => 0_u64..50, 3 => 0_u64..4_000, 1 => 50_000_u64..70_000];
    let act = prop_oneof![
        8 => command().prop_map(Act::Do),
        2 => (1_usize..5).prop_map(Act::Again),
        2 => pause.prop_map(Act::Wait),
        4 => query().prop_map(Act::Look),
    ];
    prop::collection::vec(act, 1..120)
}

/// The reference counts no bytes.
fn comparable(mut found: Found) -> Found {
    if let Found::Size(size) = &mut found {
        (size.bytes, size.limit) = (0, 0);
    }
    found
}

fn run(acts: &[Act]) -> Result<(), String> {
    let (mut bench, mut reference) = (Bench::default(), Reference::default());
    let mut told: Vec<Command> = Vec::new();
    let view = View { epoch: 2, ..View::default() };
    let begin = [Command::Replace { epoch: 0, view }, Command::TakeOver { epoch: 2 }];
    for command in begin {
        let expected = reference.run(0, &command);
        assert_eq!(bench.run(command), expected);
    }
    for (serial, act) in (1_u128..).zip(acts) {
        let command = match act {
            Act::Wait(ms) => {
                bench.now += ms;
                continue;
            }
            Act::Look(query) => {
                let (seen, expected) =
                    (comparable(bench.look(query)), reference.look(bench.now, query));
                if seen != expected {
                    return Err(format!("{query:?}: {seen:?}, the reference says {expected:?}"));
                }
                continue;
            }
            Act::Again(back) => match told.len().checked_sub(*back).and_then(|at| told.get(at)) {
                Some(command) => command.clone(),
                None => continue,
            },
            Act::Do(command) => {
                let mut command = command.clone();
                if let Command::Write { id, .. } = &mut command {
                    *id = serial;
                }
                command
            }
        };
        told.push(command.clone());
        let expected = reference.run(bench.now, &command);
        let done = bench.run(command.clone());
        if done != expected {
            return Err(format!("{command:?}: {done:?}, the reference says {expected:?}"));
        }
    }
    if bench.restored() != bench.machine {
        return Err("the machine of a snapshot is another one".to_owned());
    }
    Ok(())
}

#[test]
fn histories_follow_the_reference() {
    let given = Config::default();
    let cases = given.cases.max(1_500);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..given });
    runner.run(&history(), |acts| run(&acts).map_err(TestCaseError::fail)).unwrap();
}

/// One entry with many commands is many entries with one.
#[test]
fn batches_change_nothing() {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let commands = prop::collection::vec(command(), 1..60);
    let outcome = runner.run(&commands, |mut commands| {
        for (serial, command) in (1_u128..).zip(&mut commands) {
            if let Command::Write { id, .. } = command {
                *id = serial;
            }
        }
        let (mut together, mut apart) = (Bench::serving(2), Bench::serving(2));
        let all = together.apply(commands.clone());
        let each: Vec<Done> = commands.into_iter().map(|command| apart.run(command)).collect();
        prop_assert_eq!(all, each);
        Ok(())
    });
    outcome.unwrap();
}
