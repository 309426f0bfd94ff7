//! Small histories for the checkers' own tests.

use dsync_core::lock::Mode;

use super::{Action, Answer, Granted, History, Lease, Op, Us, Want};

/// One second.
pub(super) const S: Us = 1_000_000;

/// Three clients, sessions 1 to 3, leases of 10 s that are renewed every second up to 60 s.
pub(super) fn history() -> History {
    let leases = (1..=3_u32)
        .map(|client| Lease {
            session: u64::from(client),
            client,
            ttl: 10 * S,
            renewals: (0..60).map(|i| (i * S, i * S + 1_000)).collect(),
            last_sent: 59 * S,
            ..Lease::default()
        })
        .collect();
    History { leases, lock_delay: S, ..History::default() }
}

pub(super) fn op(client: u32, called: Us, returned: Us, action: Action, answer: Answer) -> Op {
    Op {
        client,
        session: u64::from(client),
        request: called,
        owner: format!("c{client}/{called}"),
        called,
        queued: None,
        withdrawn: None,
        returned: Some(returned),
        action,
        answer,
        again: Vec::new(),
    }
}

/// To hold these locks.
pub(super) fn wants(wants: &[(&str, Mode)]) -> Action {
    let want = |(lock, mode): &(&str, Mode)| Want { lock: (*lock).to_owned(), mode: *mode };
    Action::Acquire(wants.iter().map(want).collect())
}

pub(super) fn grants(grants: &[(&str, Mode, u64)]) -> Answer {
    let grant = |(lock, mode, token): &(&str, Mode, u64)| Granted {
        lock: (*lock).to_owned(),
        mode: *mode,
        token: *token,
        count: 1,
    };
    Answer::Granted(grants.iter().map(grant).collect())
}

/// An acquire of lock `a` alone that was granted.
pub(super) fn acquire(client: u32, called: Us, returned: Us, token: u64) -> Op {
    granted(client, called, returned, token, Mode::Exclusive)
}

pub(super) fn granted(client: u32, called: Us, returned: Us, token: u64, mode: Mode) -> Op {
    op(client, called, returned, wants(&[("a", mode)]), grants(&[("a", mode, token)]))
}

/// Lock `a` alone, asked for with that answer.
pub(super) fn asked(client: u32, called: Us, returned: Us, answer: Answer) -> Op {
    op(client, called, returned, wants(&[("a", Mode::Exclusive)]), answer)
}

pub(super) fn release(client: u32, called: Us, returned: Us, token: u64) -> Op {
    let action = Action::Release { lock: "a".to_owned(), token, all: true };
    op(client, called, returned, action, Answer::Released { remaining: 0 })
}

/// A conversion from one token to the other.
pub(super) fn convert(
    client: u32,
    called: Us,
    returned: Us,
    (token, new): (u64, u64),
    to: Mode,
) -> Op {
    let action = Action::Convert { lock: "a".to_owned(), token, to };
    op(client, called, returned, action, grants(&[("a", to, new)]))
}

/// The invariants that the history breaks.
pub(super) fn broken(history: &History) -> Vec<&'static str> {
    let mut names: Vec<_> =
        history.check().err().unwrap_or_default().iter().map(|v| v.invariant).collect();
    names.dedup();
    names
}

#[test]
fn a_good_history_passes_and_an_empty_one_does_not() {
    let mut good = history();
    good.ops = vec![
        acquire(1, S, S + 10, 1),
        release(1, 2 * S, 2 * S + 10, 1),
        acquire(2, S + 20, 2 * S + 20, 2),
        release(2, 3 * S, 3 * S + 10, 2),
    ];
    good.faults.insert("kill".to_owned(), 1);
    let report = good.check().unwrap();
    assert_eq!((report.operations, report.grants), (4, 2));
    assert_eq!(broken(&history()), ["vacuous"]);
    good.faults.insert("pause".to_owned(), 0);
    assert_eq!(broken(&good), ["vacuous"]);
}
