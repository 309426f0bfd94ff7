//! Replies stay below a frame, however long the names are and however many wait.

use serde::Serialize;

use crate::api::lock::{
    Command, LockView, META_MAX, Mode, Outcome, PAGE_BYTES, Policy, SessionId, Token, Want, Weight,
};
use crate::api::name::Name;
use crate::limits::{Node, key};
use crate::support::history::name;

/// Largest frame that a client takes.
const FRAME: usize = 1024 * 1024;
const GROUP: usize = 64;
const WAITERS: usize = 80;

fn fits<T: Serialize>(reply: &T) {
    let size = postcard::to_stdvec(reply).unwrap().len();
    assert!(size < FRAME - 4_096, "a reply of {size} bytes");
}

fn long(number: usize) -> Name {
    name(&format!("{number:03}{}", "x".repeat(252)))
}

fn group(owner: &Name, wait_ms: u64) -> Command {
    let want = |n| Want { lock: long(n), mode: Mode::Exclusive };
    Command::Acquire {
        wants: (0..GROUP).map(want).collect(),
        owner: owner.clone(),
        wait_ms,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

/// 64 locks with long names, and 80 who wait for all of them.
fn crowded() -> Node {
    let mut node = Node::default();
    let session = node.open_with(1, String::new());
    for (seq, n) in (1..).zip(0..=WAITERS) {
        let outcome = node.ask(key(session, seq), group(&long(n), 60_000));
        let expected = matches!(outcome, Outcome::Granted(_) | Outcome::Queued { .. });
        assert!(expected, "{outcome:?}");
    }
    node
}

fn shown_of(view: &LockView) -> (usize, usize) {
    let all = |shown: usize, more: u32| shown + usize::try_from(more).unwrap();
    (all(view.holders.len(), view.more_holders), all(view.waiters.len(), view.more_waiters))
}

#[test]
fn a_lock_names_who_waits_as_far_as_they_fit_and_counts_the_rest() {
    let node = crowded();
    let view = node.machine.get(long(0).as_str()).unwrap();
    fits(&view);
    assert_eq!(shown_of(&view), (1, WAITERS));
    assert!(view.waiters.len() > 10 && view.more_waiters > 10, "{}", view.waiters.len());
    let places: Vec<u32> = view.waiters.iter().map(|w| w.position).collect();
    let expected: Vec<u32> = (1..).take(places.len()).collect();
    assert_eq!(places, expected, "the first ones, in order");
}

#[test]
fn a_listing_comes_in_pages_that_fit() {
    let node = crowded();
    let (mut seen, mut pages): (Vec<LockView>, usize) = (Vec::new(), 0);
    loop {
        let after = seen.last().map(|view| view.name.clone());
        let (items, more) = node.machine.list("", false, after.as_ref(), 1_000);
        fits(&items);
        assert!(!items.is_empty() && items.weight() <= PAGE_BYTES);
        seen.extend(items);
        pages += 1;
        if !more {
            break;
        }
    }
    assert!(pages > 1, "one page");
    let names: Vec<Name> = seen.iter().map(|view| view.name.clone()).collect();
    assert_eq!(names, (0..GROUP).map(long).collect::<Vec<_>>());
    assert!(seen.iter().all(|view| shown_of(view) == (1, WAITERS)));
}

#[test]
fn the_wait_graph_is_cut_and_says_so() {
    let (steps, more) = crowded().machine.wait_graph();
    fits(&steps);
    assert!(more && steps.len() > 500, "{} steps", steps.len());
    let mut node = Node::default();
    let session = node.open_with(1, String::new());
    node.ask(key(session, 1), group(&name("a"), 0));
    node.ask(key(session, 2), group(&name("b"), 60_000));
    let (steps, more) = node.machine.wait_graph();
    assert_eq!((steps.len(), more), (GROUP, false));
}

#[test]
fn sessions_come_in_pages_that_fit() {
    let mut node = Node::default();
    let opened: Vec<SessionId> =
        (1..=1_000).map(|n| node.open_with(n, "m".repeat(META_MAX))).collect();
    let mut seen: Vec<SessionId> = Vec::new();
    loop {
        let after = seen.last().copied().unwrap_or_default();
        let (items, more) = node.machine.sessions(after, 1_000);
        fits(&items);
        seen.extend(items.iter().map(|view| view.session));
        if !more {
            break;
        }
        assert!(items.weight() <= PAGE_BYTES && !items.is_empty());
    }
    assert_eq!(seen, opened);
    let (items, more) = node.machine.sessions(SessionId(0), 3);
    assert!(items.len() == 3 && more);
}

#[test]
fn many_holders_with_short_names_are_named_up_to_a_thousand() {
    let mut node = Node::default();
    let session = node.open_with(1, String::new());
    for seq in 1..=1_100 {
        let command = Command::Acquire {
            wants: vec![Want { lock: name("s"), mode: Mode::Shared }],
            owner: name(&format!("o{seq}")),
            wait_ms: 0,
            policy: Policy::Detect,
            age: 0,
            max_hold_ms: 0,
        };
        node.ask(key(session, seq), command);
    }
    let view = node.machine.get("s").unwrap();
    assert_eq!((view.holders.len(), view.more_holders), (1_000, 100));
    assert!(view.holders.first().is_some_and(|h| h.token == Token(1)));
    let (listed, _) = node.machine.list("s", false, None, 10);
    assert_eq!(shown_of(&listed[0]), (1_100, 0));
}
