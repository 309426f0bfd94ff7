//! L10: (acquire, release, get) on each name behave as if one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use porcupine_rs::{CheckResult, Model, Operation, check_operations_timeout};

use super::{Action, Answer, History, Op, Us, Violation};

/// Longest search per name; a search that takes longer has not shown what it should.
const SEARCH: Duration = Duration::from_secs(20);
/// After all that happened.
const NEVER: i64 = i64::MAX;

/// A lock as one caller after the other sees it.
#[derive(Debug, Clone)]
struct Lock;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Granted {
        owner: String,
        exclusive: bool,
    },
    WouldBlock,
    /// No answer: it has its effect at some time, or at the end of all times.
    MaybeGranted {
        owner: String,
        exclusive: bool,
    },
    Released {
        owner: String,
    },
    NotHolder {
        owner: String,
    },
    /// A release without an answer, or a lease that may have run out.
    MaybeReleased {
        owner: String,
    },
    Holders(Vec<String>),
}

/// Who holds, and whether alone; sorted by owner.
type Holders = BTreeMap<String, bool>;

fn admits(state: &Holders, exclusive: bool) -> bool {
    state.is_empty() || (!exclusive && !state.values().any(|alone| *alone))
}

impl Model for Lock {
    type State = Holders;
    type Op = Step;
    type Metadata = ();

    fn init() -> Holders {
        Holders::new()
    }

    fn step(state: &Holders, op: &Step) -> (bool, Holders) {
        let with = |owner: &String, alone: bool| {
            let mut next = state.clone();
            next.insert(owner.clone(), alone);
            next
        };
        let without = |owner: &String| {
            let mut next = state.clone();
            next.remove(owner);
            next
        };
        match op {
            Step::Granted { owner, exclusive } if admits(state, *exclusive) => {
                (true, with(owner, *exclusive))
            }
            Step::Granted { .. } => (false, state.clone()),
            Step::MaybeGranted { owner, exclusive } if admits(state, *exclusive) => {
                (true, with(owner, *exclusive))
            }
            Step::MaybeGranted { .. } => (true, state.clone()),
            Step::WouldBlock => (!state.is_empty(), state.clone()),
            Step::Released { owner } => (state.contains_key(owner), without(owner)),
            Step::NotHolder { owner } => (!state.contains_key(owner), state.clone()),
            Step::MaybeReleased { owner } => (true, without(owner)),
            Step::Holders(seen) => (state.keys().eq(seen.iter()), state.clone()),
        }
    }
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    for (lock, operations) in operations(history) {
        match check_operations_timeout(&operations, SEARCH) {
            CheckResult::Ok => {}
            CheckResult::Illegal => found.push(Violation::new(
                "L10",
                format!("{lock}: no order of its {} operations explains them", operations.len()),
            )),
            CheckResult::Unknown => found.push(Violation::new(
                "L10",
                format!(
                    "{lock}: no verdict on {} operations in {SEARCH:?}: use more names or fewer clients",
                    operations.len()
                ),
            )),
        }
    }
    found
}

fn operations(history: &History) -> BTreeMap<&str, Vec<Operation<Lock>>> {
    let owners: BTreeMap<u64, &String> =
        history.ops.iter().filter_map(|op| op.granted().map(|token| (token, &op.owner))).collect();
    let released: BTreeSet<u64> = history.ops.iter().filter_map(Op::released).collect();
    let mut by_lock: BTreeMap<&str, Vec<Operation<Lock>>> = BTreeMap::new();
    for op in &history.ops {
        let owner = match op.action {
            Action::Release { token } => owners.get(&token).map_or(&op.owner, |owner| *owner),
            Action::Acquire { .. } | Action::Get => &op.owner,
        };
        let Some((step, lost)) = step(op.action, &op.answer, owner.clone()) else { continue };
        let returned = if lost { None } else { op.returned };
        by_lock.entry(&op.lock).or_default().push(operation(op.client, op.called, returned, step));
    }
    for hold in history.holds().iter().filter(|h| !released.contains(&h.token)) {
        // The session was closed, or its lease ran out some time after the client was sure of it.
        let step = Step::MaybeReleased { owner: hold.owner.clone() };
        let entry = by_lock.iter_mut().find(|(lock, _)| **lock == hold.lock);
        if let Some((_, operations)) = entry {
            operations.push(operation(hold.client, hold.until.max(hold.from), None, step));
        }
    }
    by_lock
}

/// What the model does for an operation, and whether its end is open; `None`: it says nothing.
fn step(action: Action, answer: &Answer, owner: String) -> Option<(Step, bool)> {
    Some(match (action, answer) {
        (Action::Acquire { exclusive }, Answer::Granted(_)) => {
            (Step::Granted { owner, exclusive }, false)
        }
        (Action::Acquire { exclusive }, Answer::Unknown) => {
            (Step::MaybeGranted { owner, exclusive }, true)
        }
        (Action::Acquire { .. }, Answer::WouldBlock) => (Step::WouldBlock, false),
        (Action::Release { .. }, Answer::Released) => (Step::Released { owner }, false),
        (Action::Release { .. }, Answer::NotHolder) => (Step::NotHolder { owner }, false),
        (Action::Release { .. }, Answer::Unknown) => (Step::MaybeReleased { owner }, true),
        (Action::Get, Answer::Holders(seen)) => {
            let mut seen = seen.clone();
            seen.sort();
            (Step::Holders(seen), false)
        }
        _ => return None,
    })
}

fn operation(client: u32, called: Us, returned: Option<Us>, op: Step) -> Operation<Lock> {
    let time = |us: Us| i64::try_from(us).unwrap_or(NEVER);
    Operation {
        client_id: Some(client),
        call_time: time(called),
        return_time: returned.map_or(NEVER, time),
        op,
        metadata: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, acquire, broken, history, op, release};
    use super::*;

    fn get(called: Us, seen: &[&str]) -> Op {
        let seen = seen.iter().map(|s| (*s).to_owned()).collect();
        op(3, called, called + 1, Action::Get, Answer::Holders(seen))
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut h = history();
        h.ops = vec![acquire(1, S, S + 1, 1), get(2 * S, &["c1/1000000"])];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(get(3 * S, &[]));
        assert_eq!(broken(&h), ["L10"]);
    }

    #[test]
    fn a_refusal_of_a_free_lock_is_found() {
        let mut h = history();
        let refused =
            |at| op(2, at, at + 1, Action::Acquire { exclusive: true }, Answer::WouldBlock);
        h.ops = vec![acquire(1, S, S + 1, 1), refused(2 * S), release(1, 3 * S, 3 * S + 1, 1)];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(refused(4 * S));
        assert_eq!(broken(&h), ["L10"]);
    }

    #[test]
    fn a_lost_answer_explains_either_outcome_but_not_both() {
        let mut h = history();
        let lost = op(2, S, 0, Action::Acquire { exclusive: true }, Answer::Unknown);
        let owner = lost.owner.clone();
        h.ops = vec![lost, get(2 * S, &[]), get(3 * S, &[&owner]), acquire(1, 40 * S, 50 * S, 9)];
        // Granted after the first read; then it must be gone before another is granted.
        assert_eq!(broken(&h), ["L10"]);
        h.ops.pop();
        h.ops.push(acquire(1, S / 2, S / 2 + 1, 1));
        h.ops.push(release(1, S / 2 + 5, S / 2 + 6, 1));
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_lease_may_run_out_by_itself() {
        let mut h = history();
        h.leases[0].renewals.truncate(3);
        h.leases[0].last_sent = 2 * S;
        h.leases[0].ended = Some(3 * S);
        h.ops = vec![acquire(1, S, S + 1, 1), acquire(2, 2 * S, 14 * S, 2)];
        assert_eq!(broken(&h), [""; 0]);
    }
}
