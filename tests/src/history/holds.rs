//! L2: the intervals in which two clients are sure to hold exclude each other.

use std::collections::BTreeMap;

use dsync_core::lock::Mode;

use super::{Action, Answer, Granted, History, Hold, Lease, Op, Us, Violation, apart};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut by_lock: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    for hold in history.holds() {
        by_lock.entry(hold.lock.clone()).or_default().push(hold);
    }
    for mut holds in by_lock.into_values() {
        holds.retain(|h| h.from < h.until);
        holds.sort_by_key(|h| h.from);
        let mut open: Vec<Hold> = Vec::new();
        for hold in holds {
            open.retain(|earlier| earlier.until > hold.from);
            let clash = open.iter().find(|e| e.token != hold.token && apart(e.mode, hold.mode));
            if let Some(earlier) = clash {
                let text = format!("{}, and {}", told(earlier), told(&hold));
                found.push(Violation::new("L2", text));
            } else if let Mode::Permits { of, .. } = hold.mode
                && permits(&open) + permits(std::slice::from_ref(&hold)) > of
            {
                let text = format!("with {} more than {of} permits are held", told(&hold));
                found.push(Violation::new("L2", text));
            }
            open.push(hold);
        }
    }
    found
}

fn permits(holds: &[Hold]) -> u32 {
    let taken =
        holds.iter().map(|h| if let Mode::Permits { take, .. } = h.mode { take } else { 0 });
    taken.sum()
}

fn told(hold: &Hold) -> String {
    format!(
        "{} held {} {:?} with token {} from {} to {} µs",
        hold.owner, hold.lock, hold.mode, hold.token, hold.from, hold.until
    )
}

/// One grant from its beginning over its conversions to its end.
struct Chain<'a> {
    lease: &'a Lease,
    /// The last one is open while `over` is not set.
    holds: Vec<Hold>,
    over: bool,
}

impl Chain<'_> {
    fn begin<'a>(op: &Op, grant: &Granted, lease: &'a Lease, from: Us) -> Chain<'a> {
        let hold = Hold {
            client: op.client,
            session: op.session,
            owner: op.owner.clone(),
            lock: grant.lock.clone(),
            mode: grant.mode,
            token: grant.token,
            called: op.called,
            from,
            until: lease.sure_until(from),
            freed: lease.closed,
        };
        Chain { lease, holds: vec![hold], over: false }
    }

    /// The client claims it no longer in the way it does now.
    fn end(&mut self, at: Us) {
        if let Some(hold) = self.holds.last_mut() {
            hold.until = hold.until.min(at);
        }
    }

    fn convert(&mut self, op: &Op, to: Mode) {
        let Some(last) = self.holds.last().cloned() else { return };
        match (&op.answer, op.returned) {
            (Answer::NotHolder, _) => {
                self.end(op.called);
                self.over = true;
            }
            // From when it is sent on, one that goes down counts on no more than what it asked for.
            (_, _) if to == Mode::Shared => {
                self.end(op.called);
                self.holds.push(Hold { mode: to, called: op.called, from: op.called, ..last });
            }
            (Answer::Granted(grants), Some(at)) => {
                let token = grants.first().map_or(last.token, |g| g.token);
                let until = self.lease.sure_until(at);
                self.end(at);
                let (mode, called) = (to, op.called);
                self.holds.push(Hold { mode, token, called, from: at, until, ..last });
            }
            _ => {}
        }
    }

    fn release(&mut self, op: &Op) {
        match op.answer {
            Answer::Released { remaining } if remaining > 0 => return,
            Answer::Released { .. } => {
                for hold in &mut self.holds {
                    hold.freed = op.returned;
                }
            }
            _ => {}
        }
        self.end(op.called);
        self.over = true;
    }
}

impl History {
    /// Every grant, with the times in which its client could be sure of it, in one way or another.
    pub fn holds(&self) -> Vec<Hold> {
        self.chains().into_iter().flatten().collect()
    }

    /// The same, one list per grant.
    pub fn chains(&self) -> Vec<Vec<Hold>> {
        let leases: BTreeMap<u64, &Lease> = self.leases.iter().map(|l| (l.session, l)).collect();
        let mut ops: Vec<&Op> = self.ops.iter().collect();
        ops.sort_by_key(|op| op.called);
        let mut chains: Vec<Chain<'_>> = Vec::new();
        let mut by_token: BTreeMap<(String, u64), usize> = BTreeMap::new();
        for op in ops {
            match &op.action {
                Action::Acquire(_) => {
                    let (Some(lease), Some(at)) = (leases.get(&op.session), op.returned) else {
                        continue;
                    };
                    for grant in op.granted().iter().filter(|g| g.count == 1) {
                        by_token.insert((grant.lock.clone(), grant.token), chains.len());
                        chains.push(Chain::begin(op, grant, lease, at));
                    }
                }
                Action::Convert { lock, token, to } => {
                    let Some(at) = by_token.get(&(lock.clone(), *token)).copied() else { continue };
                    for grant in op.granted() {
                        by_token.insert((lock.clone(), grant.token), at);
                    }
                    if let Some(chain) = chains.get_mut(at).filter(|chain| !chain.over) {
                        chain.convert(op, *to);
                    }
                }
                Action::Release { lock, token, .. } => {
                    let at = by_token.get(&(lock.clone(), *token));
                    let chain = at.and_then(|at| chains.get_mut(*at)).filter(|chain| !chain.over);
                    if let Some(chain) = chain {
                        chain.release(op);
                    }
                }
                Action::Get { .. } => {}
            }
        }
        chains.into_iter().map(|chain| chain.holds).collect()
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
    use super::super::sample::{S, acquire, broken, convert, granted, history, release};
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
        let shared = |client, at, token| granted(client, at, at + 1, token, Mode::Shared);
        h.ops = vec![shared(1, S, 1), shared(2, 2 * S, 2)];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(acquire(3, 3 * S, 3 * S + 1, 3));
        assert_eq!(broken(&h), ["L2", "L10"]);
    }

    #[test]
    fn one_permit_too_many_is_found() {
        let mut h = history();
        let some = |client, at, token, take| {
            granted(client, at, at + 1, token, Mode::Permits { take, of: 3 })
        };
        h.ops = vec![some(1, S, 1, 1), some(2, 2 * S, 2, 1), some(3, 3 * S, 3, 1)];
        assert_eq!(broken(&h), [""; 0]);
        h.ops[2] = some(3, 3 * S, 3, 2);
        assert_eq!(broken(&h), ["L2", "L10"]);
    }

    #[test]
    fn a_conversion_changes_what_is_sure_and_when() {
        let mut h = history();
        let shared = granted(2, 5 * S, 5 * S + 1, 2, Mode::Shared);
        h.ops = vec![
            acquire(1, S, S + 1, 1),
            convert(1, 3 * S, 6 * S, (1, 1), Mode::Shared),
            shared.clone(),
            release(2, 7 * S, 7 * S + 1, 2),
            convert(1, 8 * S, 8 * S + 1, (1, 3), Mode::Exclusive),
        ];
        for op in &mut h.ops {
            op.owner = format!("c{}", op.client);
        }
        assert_eq!(broken(&h), [""; 0]);
        let times: Vec<_> = h.chains()[0].iter().map(|h| (h.from, h.token, h.mode)).collect();
        let (e, s) = (Mode::Exclusive, Mode::Shared);
        assert_eq!(times, [(S + 1, 1, e), (3 * S, 1, s), (8 * S + 1, 3, e)]);
        // Granted before the other even asked to go down.
        h.ops[2].called = 2 * S;
        h.ops[2].returned = Some(2 * S + 1);
        assert_eq!(broken(&h), ["L2", "L10"]);
        // Made exclusive while another shares.
        (h.ops[2].called, h.ops[2].returned) = (shared.called, shared.returned);
        h.ops[3].called = 9 * S;
        h.ops[3].returned = Some(9 * S + 1);
        assert_eq!(broken(&h), ["L2", "L10"]);
    }

    #[test]
    fn a_grant_that_was_entered_twice_is_held_until_both_levels_are_given_up() {
        let mut h = history();
        let mut again = acquire(1, 2 * S, 2 * S + 1, 1);
        again.owner = format!("c1/{S}");
        if let Answer::Granted(grants) = &mut again.answer {
            grants[0].count = 2;
        }
        let level = |at, remaining| {
            let mut one = release(1, at, at + 1, 1);
            one.action = Action::Release { lock: "a".to_owned(), token: 1, all: false };
            one.answer = Answer::Released { remaining };
            one
        };
        h.ops = vec![acquire(1, S, S + 1, 1), again, level(3 * S, 1), level(5 * S, 0)];
        h.ops.push(acquire(2, 6 * S, 6 * S + 1, 2));
        assert_eq!(broken(&h), [""; 0]);
        h.ops[4] = acquire(2, 4 * S, 4 * S + 1, 2);
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
