//! L4: a waiter is granted within lease + 2 s after the lock is free. L5: waiters keep their order.

use std::collections::BTreeMap;

use super::{Action, Answer, History, Hold, Op, Us, Violation};

/// What the invariant allows beyond the lease.
const PATIENCE: Us = 2_000_000;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut by_lock: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    for hold in history.holds() {
        by_lock.entry(hold.lock.clone()).or_default().push(hold);
    }
    for holds in by_lock.values_mut() {
        holds.sort_by_key(|h| h.token);
        found.extend(late(history, holds));
    }
    found.extend(overtaken(history));
    found.extend(unanswered(history));
    found
}

/// Two exclusive grants in a row: the second came in time after the first was free.
fn late(history: &History, holds: &[Hold]) -> Vec<Violation> {
    let pairs = holds.iter().zip(holds.iter().skip(1)).filter(|(a, b)| a.exclusive && b.exclusive);
    pairs
        .filter_map(|(before, after)| {
            let ttl = history.ttl_of(before.session);
            let free = before.freed.unwrap_or_else(|| history.lease_over(before.session));
            let begin = free.max(after.called);
            let allowed = ttl + PATIENCE + history.outage_within(begin, after.from);
            let took = after.from.saturating_sub(begin);
            (took > allowed).then(|| {
                let text = format!(
                    "{}: {} waited {took} µs after {} was gone; {allowed} µs are allowed",
                    after.lock, after.owner, before.owner
                );
                Violation::new("L4", text)
            })
        })
        .collect()
}

/// An exclusive acquire that knew itself queued before another was sent is granted before it.
fn overtaken(history: &History) -> Vec<Violation> {
    let mut by_lock: BTreeMap<&str, Vec<(&Op, u64)>> = BTreeMap::new();
    for op in &history.ops {
        if let (Action::Acquire { exclusive: true }, Answer::Granted(token)) =
            (op.action, &op.answer)
        {
            by_lock.entry(&op.lock).or_default().push((op, *token));
        }
    }
    let mut found = Vec::new();
    for (lock, ops) in by_lock {
        for (first, token) in &ops {
            let Some(queued) = first.queued else { continue };
            let overtakers = ops.iter().filter(|(op, t)| op.called > queued && t < token);
            for (second, other) in overtakers {
                let text = format!(
                    "{lock}: {} was queued at {queued} µs and got token {token}; {} asked at {} µs and got {other}",
                    first.owner, second.owner, second.called
                );
                found.push(Violation::new("L5", text));
            }
        }
    }
    found
}

/// Every acquire was answered one way or the other, unless its client died.
fn unanswered(history: &History) -> Vec<Violation> {
    let alive = |op: &&Op| {
        history
            .leases
            .iter()
            .any(|l| l.session == op.session && l.ended.is_none() && l.told_expired.is_none())
    };
    history
        .ops
        .iter()
        .filter(|op| op.returned.is_none() && op.answer != Answer::Unknown)
        .filter(alive)
        .map(|op| Violation::new("L4", format!("{} on {} was never answered", op.owner, op.lock)))
        .collect()
}

impl History {
    fn ttl_of(&self, session: u64) -> Us {
        self.leases.iter().find(|l| l.session == session).map_or(0, |l| l.ttl)
    }

    /// By when a session that nobody closed must have run out: the last keep-alive may have been
    /// committed although no answer came, at the latest when its client stopped trying.
    fn lease_over(&self, session: u64) -> Us {
        let lease = self.leases.iter().find(|l| l.session == session);
        lease.map_or(0, |l| {
            let acknowledged = l.renewals.iter().map(|(_, acked)| *acked).max().unwrap_or(0);
            acknowledged.max(l.last_sent) + l.ttl + self.lock_delay
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, acquire, broken, history, op, release};
    use super::*;

    #[test]
    fn a_grant_that_comes_too_late_is_found_and_an_outage_excuses_it() {
        let mut h = history();
        h.ops = vec![
            acquire(1, S, S + 1, 1),
            release(1, 2 * S, 2 * S + 1, 1),
            acquire(2, S + 5, 15 * S, 2),
        ];
        assert_eq!(broken(&h), ["L4"]);
        h.outages = vec![(3 * S, 6 * S)];
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_waiter_that_is_never_answered_is_found() {
        let mut h = history();
        let mut lost = op(2, S + 5, 0, Action::Acquire { exclusive: true }, Answer::NotGranted);
        lost.returned = None;
        h.ops = vec![acquire(1, S, S + 1, 1), lost];
        assert_eq!(broken(&h), ["L4"]);
        h.leases[1].ended = Some(5 * S);
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_waiter_that_is_overtaken_is_found() {
        let mut h = history();
        let mut first = acquire(2, S + 5, 4 * S, 3);
        first.queued = Some(S + 10);
        h.ops = vec![
            acquire(1, S, S + 1, 1),
            first,
            acquire(3, S + 20, 2 * S + 5, 2),
            release(1, 2 * S, 2 * S + 1, 1),
            release(3, 3 * S, 3 * S + 1, 2),
        ];
        assert_eq!(broken(&h), ["L5"]);
    }
}
