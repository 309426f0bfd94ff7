//! L6: whoever gave up, timed out or ended waits nowhere and gets nothing, and nothing is left.

use std::collections::BTreeMap;

use super::{Action, Answer, History, Op, Violation};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let left = history.remains.iter().flatten();
    let left =
        left.map(|what| Violation::new("L6", format!("{what}, though all clients are gone")));
    left.chain(granted_late(history)).chain(seen_waiting(history)).collect()
}

/// Requests that were told that they are over, and then were granted or waited.
fn granted_late(history: &History) -> Vec<Violation> {
    let refused = history.ops.iter().filter(|op| op.was_refused());
    refused
        .filter_map(|op| {
            let alive = |again: &&Answer| matches!(again, Answer::Granted(_) | Answer::Waits);
            let again = op.again.iter().find(alive)?;
            Some(Violation::new("L6", format!("{op} was told {:?}, then {again:?}", op.answer)))
        })
        .collect()
}

/// Readers that saw one wait whose request was over before they asked.
fn seen_waiting(history: &History) -> Vec<Violation> {
    let mut asked: BTreeMap<(&str, &str), Vec<&Op>> = BTreeMap::new();
    for op in &history.ops {
        for (lock, _) in op.wants() {
            asked.entry((&op.owner, lock)).or_default().push(op);
        }
    }
    let mut found = Vec::new();
    for op in &history.ops {
        let (Action::Get { lock }, Answer::Holders(_, waiting)) = (&op.action, &op.answer) else {
            continue;
        };
        for owner in waiting {
            let asked = asked.get(&(owner.as_str(), lock.as_str()));
            let may_wait = |one: &&&Op| Some(one.called) <= op.returned && one.over() >= op.called;
            if asked.into_iter().flatten().find(may_wait).is_none() {
                let text = format!("{owner} was seen waiting for {lock} at {} µs", op.called);
                found.push(Violation::new("L6", text));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::Mode;

    use super::super::sample::{S, acquire, asked, broken, grants, history, op};
    use super::*;

    #[test]
    fn what_is_left_at_the_end_is_found() {
        let mut h = history();
        h.ops = vec![acquire(1, S, S + 1, 1)];
        h.remains = Some(Vec::new());
        assert_eq!(broken(&h), [""; 0]);
        h.remains = Some(vec!["c2/5 waits for a".to_owned()]);
        assert_eq!(broken(&h), ["L6"]);
    }

    #[test]
    fn a_grant_after_a_refusal_is_found() {
        for told in [Answer::Cancelled, Answer::Timeout, Answer::Deadlock(Vec::new())] {
            let mut h = history();
            let mut refused = asked(2, 2 * S, 3 * S, told.clone());
            refused.again = vec![told.clone()];
            h.ops = vec![acquire(1, S, S + 1, 1), refused];
            assert!(!broken(&h).contains(&"L6"), "{told:?}");
            h.ops[1].again.push(grants(&[("a", Mode::Exclusive, 5)]));
            assert!(broken(&h).contains(&"L6"), "{told:?}");
        }
    }

    #[test]
    fn one_who_waits_after_a_timeout_is_found() {
        let mut h = history();
        let refused = asked(2, 2 * S, 3 * S, Answer::Timeout);
        let seen = super::super::Seen { owner: format!("c1/{S}"), mode: Mode::Exclusive, count: 1 };
        let ghost = Answer::Holders(vec![seen], vec![refused.owner.clone()]);
        let look = |at| op(3, at, at + 1, Action::Get { lock: "a".to_owned() }, ghost.clone());
        h.ops = vec![acquire(1, S, S + 1, 1), refused, look(3 * S - 5)];
        assert_eq!(broken(&h), [""; 0]);
        h.ops[2] = look(3 * S + 5);
        assert_eq!(broken(&h), ["L6"]);
    }
}
