//! L4: a waiter is granted within lease + 2 s after nothing is in its way any more.

use std::collections::BTreeMap;

use dsync_core::lock::Mode;

use super::{Answer, History, Hold, Op, Us, Violation};

/// What the invariant allows beyond the lease.
const PATIENCE: Us = 2_000_000;

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut by_lock: BTreeMap<&str, Vec<Tenure<'_>>> = BTreeMap::new();
    let chains = history.chains();
    for chain in &chains {
        for hold in chain {
            by_lock.entry(&hold.lock).or_default().push(Tenure::of(history, hold, chain));
        }
    }
    for tenures in by_lock.values_mut() {
        // Of one token the first, which says how it began.
        tenures.sort_by_key(|t| t.token);
        tenures.dedup_by_key(|t| t.token);
    }
    let quitters: Vec<(&Op, Us)> =
        history.ops.iter().filter_map(|op| Some((op, history.gave_up(op)?))).collect();
    let waited = history.ops.iter().filter(|op| op.fresh().next().is_some());
    let late = waited.filter_map(|op| late(history, op, &by_lock, &quitters));
    late.chain(unanswered(history)).collect()
}

/// One token's time.
struct Tenure<'a> {
    token: u64,
    owner: &'a str,
    session: u64,
    exclusive: bool,
    /// By when sharers could join: it went down.
    opened: Option<Us>,
    /// By when the lock was free of it.
    free: Us,
}

impl<'a> Tenure<'a> {
    fn of(history: &History, hold: &'a Hold, chain: &[Hold]) -> Self {
        let down = chain.iter().find(|h| h.token == hold.token && h.called > hold.called);
        Self {
            token: hold.token,
            owner: &hold.owner,
            session: hold.session,
            exclusive: hold.mode == Mode::Exclusive,
            opened: down.filter(|h| h.mode == Mode::Shared).and_then(|h| history.told(h)),
            free: hold.freed.unwrap_or_else(|| history.lease_over(hold.session)),
        }
    }
}

/// The grant came in time after nothing was in its way any more.
fn late(
    history: &History,
    op: &Op,
    by_lock: &BTreeMap<&str, Vec<Tenure<'_>>>,
    quitters: &[(&Op, Us)],
) -> Option<Violation> {
    let at = op.returned?;
    let mut begin = op.called;
    let mut ttl = history.ttl_of(op.session);
    let mut after = "nobody";
    for grant in op.fresh() {
        let shared = grant.mode == Mode::Shared;
        let earlier = by_lock.get(grant.lock.as_str())?.iter().rev();
        // Whoever held before the last exclusive one was gone before that was granted.
        for tenure in earlier.skip_while(|t| t.token >= grant.token) {
            let free = tenure.opened.filter(|_| shared).unwrap_or(tenure.free);
            if free > begin && tenure.owner != op.owner {
                (begin, ttl, after) = (free, history.ttl_of(tenure.session), tenure.owner);
            }
            if tenure.exclusive {
                break;
            }
        }
    }
    for (quitter, gone) in quitters {
        if *gone > begin && quitter.called < at && *gone < at && held_up_by(op, quitter) {
            (begin, after) = (*gone, &quitter.owner);
        }
    }
    let allowed = ttl + PATIENCE + history.outage_within(begin, at);
    let took = at.saturating_sub(begin);
    (took > allowed).then(|| {
        let text =
            format!("{op} waited {took} µs after {after} was gone; {allowed} µs are allowed");
        Violation::new("L4", text)
    })
}

/// True when `op` may have waited for one who waited itself, and not just for the same holder.
fn held_up_by(op: &Op, quitter: &Op) -> bool {
    let (exclusive, group) = (Mode::Exclusive, quitter.is_group());
    op.owner != quitter.owner
        && op.fresh().any(|grant| {
            quitter.wants().any(|(lock, _)| {
                lock == grant.lock
                    && (group || grant.mode != exclusive || quitter.answer == Answer::Unknown)
            })
        })
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
        .map(|op| Violation::new("L4", format!("{op} was never answered")))
        .collect()
}

impl History {
    /// When a request that was not granted was surely out of every queue; `None`: it was granted.
    fn gave_up(&self, op: &Op) -> Option<Us> {
        match op.answer {
            Answer::Granted(_) => None,
            Answer::Unknown => Some(self.lease_over(op.session)),
            _ => Some(op.returned.unwrap_or_else(|| self.lease_over(op.session))),
        }
    }

    /// When the conversion that began a hold was answered.
    fn told(&self, hold: &Hold) -> Option<Us> {
        let of = |op: &&Op| op.session == hold.session && op.called == hold.called;
        self.ops.iter().find(|op| of(op) && op.is_conversion())?.returned
    }

    fn ttl_of(&self, session: u64) -> Us {
        self.leases.iter().find(|l| l.session == session).map_or(0, |l| l.ttl)
    }

    /// By when a session that nobody closed must have run out: the last keep-alive may have been
    /// committed although no answer came, at the latest when its client stopped trying.
    pub(super) fn lease_over(&self, session: u64) -> Us {
        let lease = self.leases.iter().find(|l| l.session == session);
        lease.map_or(0, |l| {
            let acknowledged = l.renewals.iter().map(|(_, acked)| *acked).max().unwrap_or(0);
            acknowledged.max(l.last_sent) + l.ttl + self.lock_delay
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::sample::{
        S, acquire, asked, broken, granted, grants, history, op, release, wants,
    };
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
        let mut lost = asked(2, S + 5, 0, Answer::NotGranted);
        lost.returned = None;
        h.ops = vec![acquire(1, S, S + 1, 1), lost];
        assert_eq!(broken(&h), ["L4"]);
        h.leases[1].ended = Some(5 * S);
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_sharer_and_a_group_that_come_too_late_are_found() {
        let mut h = history();
        let taken = |client, at, lock, token| {
            let wants = wants(&[(lock, Mode::Exclusive)]);
            op(client, at, at + 1, wants, grants(&[(lock, Mode::Exclusive, token)]))
        };
        let late = granted(2, S + 5, 15 * S, 3, Mode::Shared);
        let mut free = release(1, 2 * S, 2 * S + 1, 1);
        free.session = 1;
        h.ops = vec![taken(1, S, "a", 1), free.clone(), late];
        assert_eq!(broken(&h), ["L4"]);
        let both = [("a", Mode::Exclusive), ("b", Mode::Exclusive)];
        let got = grants(&[("a", Mode::Exclusive, 3), ("b", Mode::Exclusive, 4)]);
        let mut other = release(3, 5 * S, 5 * S + 1, 2);
        other.action = Action::Release { lock: "b".to_owned(), token: 2, all: true };
        h.ops = vec![taken(1, S, "a", 1), free, taken(3, S, "b", 2), other];
        h.ops.push(op(2, S + 5, 16 * S, wants(&both), got));
        // It counts from when the second of its locks was free.
        assert_eq!(broken(&h), [""; 0]);
        h.ops[4].returned = Some(18 * S);
        assert_eq!(broken(&h), ["L4"]);
    }
}
