//! Rules one by one.

use dsync_core::cache::command::{By, Command, Done, Found, Query, Selector};
use dsync_core::cache::machine::MemoryMachine;
use dsync_core::cache::op::{Action, Condition, Outcome};
use dsync_core::cache::view::{Member, View};

use crate::bench::{Bench, by, name, set, value};

fn put(bench: &mut Bench, key: &str, id: u128, text: &str, ttl: Option<u64>) -> Done {
    bench.run(by(key, By::Home(1), id, set(value(text, &["t"]), Condition::Always, ttl)))
}

fn delete(key: &str, id: u128) -> Command {
    by(key, By::Home(1), id, Action::Delete { condition: Condition::Always })
}

fn size(bench: &Bench) -> (u64, u64) {
    match bench.look(&Query::Size) {
        Found::Size(size) => (size.keys, size.bytes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_would_not_fit_is_refused_and_not_remembered() {
    let mut bench = Bench::serving(1);
    bench.limit = 1_000;
    put(&mut bench, "a", 1, &"x".repeat(300), None);
    let (_, used) = size(&bench);
    assert_eq!(put(&mut bench, "b", 2, &"x".repeat(300), None), Done::Full { used, limit: 1_000 });
    assert_eq!(size(&bench), (1, used));
    assert_eq!(put(&mut bench, "a", 3, &"x".repeat(800), None), Done::Full { used, limit: 1_000 });
    assert!(matches!(put(&mut bench, "a", 4, "x", None), Done::Written { .. }), "it shrinks");
    let Done::Written { outcome, item, .. } = put(&mut bench, "b", 2, &"x".repeat(300), None)
    else {
        panic!("there is room now")
    };
    assert_eq!((outcome, item.version), (Some(Outcome::Set), 3));
    bench.limit = 10;
    assert!(matches!(put(&mut bench, "a", 5, "y", None), Done::Written { .. }), "no growth");
    assert!(matches!(bench.run(delete("a", 6)), Done::Written { .. }));
    bench.run(delete("b", 7));
    assert_eq!(size(&bench), (0, 0));
}

#[test]
fn what_is_over_goes_bit_by_bit() {
    let mut bench = Bench::serving(1);
    for n in 0..600_u128 {
        put(&mut bench, &format!("k{n:03}"), n + 1, "x", Some(1_000));
    }
    put(&mut bench, "stays", 1_000, "x", None);
    bench.now = 1_000;
    assert_eq!(size(&bench).0, 1, "it is not seen any more");
    let mut steps = 0;
    while size(&bench).1 > 300 {
        bench.apply(Vec::new());
        steps += 1;
    }
    assert_eq!(steps, 3, "256 at a time");
    let all = Query::Keys { of: Selector::Tag(name("t")), after: None, limit: 10 };
    let Found::Keys { keys, more } = bench.look(&all) else { panic!() };
    assert_eq!((keys.len(), more), (1, false));
}

#[test]
fn a_page_has_no_more_bytes_than_it_may() {
    let mut bench = Bench::serving(1);
    let long: Vec<String> = (0..16).map(|n| format!("{n:02}{}", "t".repeat(250))).collect();
    let tags: Vec<&str> = long.iter().map(String::as_str).collect();
    for n in 0..1_000_u128 {
        let action = set(value("x", &tags), Condition::Always, None);
        bench.run(by(&format!("k{n:03}"), By::Home(1), n + 1, action));
    }
    let (mut after, mut seen, mut pages) = (None, 0, 0);
    loop {
        let of = Selector::Prefix("k".to_owned());
        let query = Query::Keys { of, after: after.clone(), limit: 1_000 };
        let Found::Keys { keys, more } = bench.look(&query) else { panic!() };
        seen += keys.len();
        pages += 1;
        after = keys.last().map(|one| one.key.clone());
        if !more {
            break;
        }
    }
    assert_eq!((seen, pages), (1_000, 8));
}

#[test]
fn a_deleted_keys_last_write_is_known_for_a_minute() {
    let mut bench = Bench::serving(1);
    put(&mut bench, "a", 1, "x", None);
    let done = |done: Done| match done {
        Done::Written { item, outcome, .. } => (item.version, outcome.unwrap()),
        other => panic!("{other:?}"),
    };
    assert_eq!(done(bench.run(delete("a", 2))), (2, Outcome::Deleted(true)));
    put(&mut bench, "b", 3, "x", None);
    assert_eq!(done(bench.run(delete("a", 2))), (3, Outcome::Deleted(true)));
    bench.now = 60_000;
    assert_eq!(done(bench.run(delete("a", 2))), (3, Outcome::Deleted(false)));
}

fn member(node: &str, incarnation: u64) -> Member {
    let (node, address) = (name(node), "a:1".to_owned());
    Member { node, incarnation, address, lease_ms: 2_000, writes_back: false }
}

#[test]
fn a_restored_backup_takes_no_write_of_before() {
    let mut bench = Bench::serving(1);
    put(&mut bench, "a", 1, "old", None);
    let bytes = postcard::to_stdvec(&bench.machine.snapshot_ref()).unwrap();
    let members = vec![member("n1", 1), member("n2", 1)];
    let silent = vec![member("n3", 1)];
    let view = View { epoch: 5, run: "raft".to_owned(), members: members.clone(), silent };
    bench.run(Command::Replace { epoch: 1, view });
    bench.run(Command::TakeOver { epoch: 5 });
    let action = || set(value("new", &[]), Condition::Always, None);
    bench.run(by("a", By::Home(5), 2, action()));
    let backup = postcard::from_bytes(&bytes).unwrap();
    bench.machine = bench.machine.restore_backup(backup).unwrap();
    let view = bench.machine.view().clone();
    assert_eq!((view.epoch, view.run.as_str(), &view.members), (6, "raft", &members));
    assert_eq!(view.silent, [member("n1", 1), member("n2", 1), member("n3", 1)]);
    assert_eq!(bench.machine.serving(), 0);
    assert_eq!(bench.run(by("a", By::Home(5), 3, action())), Done::Fenced);
    assert_eq!(bench.run(Command::TakeOver { epoch: 5 }), Done::Is(false));
    assert_eq!(bench.run(Command::TakeOver { epoch: 6 }), Done::Is(true));
    let Done::Written { item, .. } = bench.run(by("a", By::Home(6), 4, action())) else { panic!() };
    assert_eq!(item.version, 1_000_000_003);
}

#[test]
fn another_version_of_the_form_is_refused() {
    let mut bytes = postcard::to_stdvec(&MemoryMachine::new().snapshot_ref()).unwrap();
    if let Some(version) = bytes.first_mut() {
        *version = 9;
    }
    assert!(MemoryMachine::restore(postcard::from_bytes(&bytes).unwrap()).is_err());
}
