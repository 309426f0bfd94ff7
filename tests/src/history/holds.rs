//! L2: the intervals in which two clients are sure to hold exclude each other.

use std::collections::BTreeMap;

use super::{Action, Answer, History, Hold, Lease, Us, Violation};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut by_lock: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    for hold in history.holds() {
        by_lock.entry(hold.lock.clone()).or_default().push(hold);
    }
    for (lock, mut holds) in by_lock {
        holds.retain(|h| h.from < h.until);
        holds.sort_by_key(|h| h.from);
        let mut open: Vec<Hold> = Vec::new();
        for hold in holds {
            open.retain(|earlier| earlier.until > hold.from);
            for earlier in open.iter().filter(|e| excludes(e, &hold)) {
                found.push(Violation::new(
                    "L2",
                    format!(
                        "{lock}: {} held with token {} from {} to {} µs, and {} with token {} from {} to {} µs",
                        earlier.owner, earlier.token, earlier.from, earlier.until,
                        hold.owner, hold.token, hold.from, hold.until
                    ),
                ));
            }
            open.push(hold);
        }
    }
    found
}

fn excludes(a: &Hold, b: &Hold) -> bool {
    a.token != b.token && (a.exclusive || b.exclusive)
}

impl History {
    /// Every grant, with the time in which its client could be sure of it.
    pub fn holds(&self) -> Vec<Hold> {
        let leases: BTreeMap<u64, &Lease> = self.leases.iter().map(|l| (l.session, l)).collect();
        let mut releases: BTreeMap<u64, (Us, Option<Us>)> = BTreeMap::new();
        for op in &self.ops {
            if let Action::Release { token } = op.action {
                let (called, freed) = releases.entry(token).or_insert((op.called, None));
                *called = op.called.min(*called);
                if op.answer == Answer::Released {
                    *freed = op.returned;
                }
            }
        }
        self.ops
            .iter()
            .filter_map(|op| {
                let Answer::Granted(token) = op.answer else { return None };
                let Action::Acquire { exclusive } = op.action else { return None };
                let from = op.returned?;
                let lease = leases.get(&op.session)?;
                let release = releases.get(&token);
                let mut until = lease.sure_until(from);
                if let Some((called, _)) = release {
                    until = until.min(*called);
                }
                Some(Hold {
                    client: op.client,
                    session: op.session,
                    owner: op.owner.clone(),
                    lock: op.lock.clone(),
                    exclusive,
                    token,
                    called: op.called,
                    from,
                    until,
                    freed: release.and_then(|(_, freed)| *freed).or(lease.closed),
                })
            })
            .collect()
    }
}

impl Lease {
    /// How long a client that is sure at `from` stays sure: each keep-alive counts from when it
    /// was sent, less a margin of ttl/50 + 50 ms, and only if it was acknowledged in time.
    pub fn sure_until(&self, from: Us) -> Us {
        let margin = self.ttl / 50 + 50_000;
        let deadline = |sent: Us| (sent + self.ttl).saturating_sub(margin);
        let mut limit = 0;
        for (sent, acknowledged) in &self.renewals {
            if *acknowledged <= limit.max(from) {
                limit = limit.max(deadline(*sent));
            }
        }
        self.ended.map_or(limit, |ended| limit.min(ended))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, acquire, broken, history, release};
    use super::*;

    #[test]
    fn two_holders_at_once_are_found() {
        let mut h = history();
        h.ops = vec![
            acquire(1, S, S + 1, 1),
            acquire(2, 2 * S, 2 * S + 1, 2),
            release(1, 3 * S, 3 * S + 1, 1),
        ];
        assert_eq!(broken(&h), ["L2", "L10"]);
    }

    #[test]
    fn sharers_are_not_an_exclusive_one_is() {
        let mut h = history();
        let shared = |mut op: super::super::Op| {
            op.action = Action::Acquire { exclusive: false };
            op
        };
        h.ops = vec![shared(acquire(1, S, S + 1, 1)), shared(acquire(2, 2 * S, 2 * S + 1, 2))];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(acquire(3, 3 * S, 3 * S + 1, 3));
        assert_eq!(broken(&h), ["L2", "L10"]);
    }

    #[test]
    fn a_hold_ends_with_the_clients_own_deadline() {
        let lease = Lease {
            ttl: 10 * S,
            renewals: vec![(0, 1), (5 * S, 5 * S + 1), (30 * S, 30 * S + 1)],
            ..Lease::default()
        };
        // The third keep-alive came after the second one's deadline: it mends nothing.
        assert_eq!(lease.sure_until(2), 15 * S - 250_000);
        assert_eq!(lease.sure_until(31 * S), 40 * S - 250_000);
        let dead = Lease { ended: Some(7 * S), ..lease };
        assert_eq!(dead.sure_until(2), 7 * S);
    }
}
