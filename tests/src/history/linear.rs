//! L10: (acquire, convert, release, get) on each name behave as if one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dsync_core::lock::Mode;
use porcupine_rs::{CheckResult, Operation, check_operations_timeout};

use super::model::{Lock, Owner, Step};
use super::{Action, Answer, Granted, History, Hold, Op, Us, Violation};

/// Longest search per name; a search that takes longer has not shown what it should.
const SEARCH: Duration = Duration::from_secs(20);
/// After all that happened.
const NEVER: i64 = i64::MAX;

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
    let mut all = Operations::of(history);
    for op in &history.ops {
        all.add(op);
    }
    for chain in history.chains() {
        all.add_end(&chain);
    }
    all.by_lock
}

/// What a history says, lock by lock, with numbers for owner labels.
struct Operations<'a> {
    history: &'a History,
    owners: BTreeMap<&'a str, Owner>,
    /// Who holds each (lock, token).
    of_token: BTreeMap<(&'a str, u64), &'a str>,
    /// Tokens that were given up for good.
    released: BTreeSet<(&'a str, u64)>,
    /// (lock, owner) that someone saw holding.
    seen: BTreeSet<(&'a str, &'a str)>,
    by_lock: BTreeMap<&'a str, Vec<Operation<Lock>>>,
}

impl<'a> Operations<'a> {
    fn of(history: &'a History) -> Self {
        let (mut owners, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let (mut of_token, mut released) = (BTreeMap::new(), BTreeSet::new());
        for op in &history.ops {
            let next = owners.len();
            owners.entry(op.owner.as_str()).or_insert(next);
            for grant in op.granted() {
                of_token.insert((grant.lock.as_str(), grant.token), op.owner.as_str());
            }
            match (&op.action, &op.answer) {
                (Action::Release { lock, token, .. }, Answer::Released { remaining: 0 }) => {
                    released.insert((lock.as_str(), *token));
                }
                (Action::Get { lock }, Answer::Holders(holders, _)) => {
                    seen.extend(holders.iter().map(|h| (lock.as_str(), h.owner.as_str())));
                }
                (_, Answer::WouldBlock(holders)) => {
                    let locks = op.wants().map(|(lock, _)| lock);
                    seen.extend(locks.flat_map(|l| holders.iter().map(move |h| (l, h.as_str()))));
                }
                _ => {}
            }
        }
        Self { history, owners, of_token, released, seen, by_lock: BTreeMap::new() }
    }

    /// The number of a label; one that nobody asked under is like no other.
    fn owner(&self, label: &str) -> Owner {
        self.owners.get(label).copied().unwrap_or(Owner::MAX)
    }

    fn put(
        &mut self,
        lock: &'a str,
        client: u32,
        (called, returned): (Us, Option<Us>),
        step: Step,
    ) {
        let time = |us: Us| i64::try_from(us).unwrap_or(NEVER);
        self.by_lock.entry(lock).or_default().push(Operation {
            client_id: Some(client),
            call_time: time(called),
            return_time: returned.map_or(NEVER, time),
            op: step,
            metadata: None,
        });
    }

    fn add(&mut self, op: &'a Op) {
        match &op.action {
            Action::Acquire(_) => self.add_acquire(op),
            Action::Convert { lock, token, to } => self.add_convert(op, (lock, *token), *to),
            Action::Release { lock, token, all } => self.add_release(op, (lock, *token), *all),
            Action::Get { lock } => {
                if let Answer::Holders(seen, _) = &op.answer {
                    let holders = seen.iter().map(|h| (self.owner(&h.owner), (h.mode, h.count)));
                    let step = Step::Holders(holders.collect());
                    self.put(lock, op.client, (op.called, op.returned), step);
                }
            }
        }
    }

    /// Every lock of a group by itself: what they have to do with each other is L5.
    fn add_acquire(&mut self, op: &'a Op) {
        let (owner, client) = (self.owner(&op.owner), op.client);
        let whole = (op.called, op.returned);
        match &op.answer {
            Answer::Granted(grants) => {
                for Granted { lock, mode, count, .. } in grants {
                    let step = Step::Granted { owner, mode: *mode, count: *count };
                    self.put(lock, client, whole, step);
                }
            }
            Answer::WouldBlock(holders) if !op.is_group() && !holders.is_empty() => {
                self.add_blocked(op, holders);
            }
            Answer::Unknown => {
                // Its client knows of no grant, and can give none up: only the lease ends it.
                let lease = self.history.leases.iter().find(|l| l.session == op.session);
                let sure = lease.map_or(op.called, |lease| lease.sure_until(op.called));
                for (lock, mode) in op.wants() {
                    let step = Step::MaybeGranted { owner, mode };
                    self.put(lock, client, (op.called, None), step);
                    let end = (op.called.max(sure), None);
                    self.put(lock, client, end, Step::MaybeReleased { owner });
                }
            }
            Answer::Cancelled => {
                // It may have been granted and given back in between. That counts only if someone
                // saw it; if nobody did, without it everything else is as it was, or easier.
                for (lock, mode) in op.wants() {
                    if !self.seen.contains(&(lock, op.owner.as_str())) {
                        continue;
                    }
                    self.put(lock, client, whole, Step::MaybeGranted { owner, mode });
                    self.put(lock, client, whole, Step::MaybeReleased { owner });
                    let after = op.returned.map(|at| at + 1);
                    let gone = (after.unwrap_or(op.called), after);
                    self.put(lock, client, gone, Step::NotHolder { owner });
                }
            }
            _ => {}
        }
    }

    fn add_blocked(&mut self, op: &'a Op, holders: &[String]) {
        let by = holders.iter().map(|holder| self.owner(holder)).collect();
        let step = Step::Blocked { owner: self.owner(&op.owner), by };
        for (lock, _) in op.wants() {
            self.put(lock, op.client, (op.called, op.returned), step.clone());
        }
    }

    fn add_convert(&mut self, op: &'a Op, (lock, token): (&'a str, u64), to: Mode) {
        let owner = self.owner(self.of_token.get(&(lock, token)).unwrap_or(&op.owner.as_str()));
        let whole = (op.called, op.returned);
        match &op.answer {
            Answer::Granted(_) => self.put(lock, op.client, whole, Step::Converted { owner, to }),
            Answer::NotHolder => self.put(lock, op.client, whole, Step::NotHolder { owner }),
            Answer::WouldBlock(holders) if !holders.is_empty() => self.add_blocked(op, holders),
            Answer::Unknown => {
                let step = Step::MaybeConverted { owner, to };
                self.put(lock, op.client, (op.called, None), step);
            }
            _ => {}
        }
    }

    fn add_release(&mut self, op: &'a Op, (lock, token): (&'a str, u64), all: bool) {
        let owner = self.owner(self.of_token.get(&(lock, token)).unwrap_or(&op.owner.as_str()));
        let whole = (op.called, op.returned);
        let open = (op.called, None);
        match &op.answer {
            Answer::Released { remaining } => {
                let step = Step::Released { owner, remaining: *remaining, all };
                self.put(lock, op.client, whole, step);
            }
            Answer::NotHolder => self.put(lock, op.client, whole, Step::NotHolder { owner }),
            Answer::Unknown if all => {
                self.put(lock, op.client, open, Step::MaybeReleased { owner });
            }
            Answer::Unknown => self.put(lock, op.client, open, Step::MaybeLeft { owner }),
            _ => {}
        }
    }

    /// The end of a grant that nobody gave up: its session was closed, or its lease ran out some
    /// time after the client was sure of it.
    fn add_end(&mut self, chain: &[Hold]) {
        let Some(last) = chain.last() else { return };
        let given_up = |hold: &Hold| self.released.contains(&(hold.lock.as_str(), hold.token));
        let Some((lock, _)) = self.by_lock.get_key_value(last.lock.as_str()) else { return };
        if !chain.iter().any(given_up) {
            let step = Step::MaybeReleased { owner: self.owner(&last.owner) };
            let lock = *lock;
            self.put(lock, last.client, (last.until.max(last.from), None), step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::sample::{
        S, acquire, asked, broken, convert, granted, history, op, release, wants,
    };
    use super::*;

    const E: Mode = Mode::Exclusive;

    fn see(called: Us, seen: &[(&str, Mode, u32)]) -> Op {
        let one = |(owner, mode, count): &(&str, Mode, u32)| Seen {
            owner: (*owner).to_owned(),
            mode: *mode,
            count: *count,
        };
        let seen = seen.iter().map(one).collect();
        let action = Action::Get { lock: "a".to_owned() };
        op(3, called, called + 1, action, Answer::Holders(seen, Vec::new()))
    }

    fn get(called: Us, seen: &[&str]) -> Op {
        let seen: Vec<_> = seen.iter().map(|owner| (*owner, E, 1)).collect();
        see(called, &seen)
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
    fn a_read_of_another_mode_or_depth_is_found() {
        let mut h = history();
        let name = "c1/1000000";
        h.ops = vec![granted(1, S, S + 1, 1, Mode::Shared), see(2 * S, &[(name, Mode::Shared, 1)])];
        let mut up = convert(1, 3 * S, 3 * S + 1, (1, 2), E);
        up.owner = name.to_owned();
        h.ops.extend([up, see(4 * S, &[(name, E, 1)])]);
        assert_eq!(broken(&h), [""; 0]);
        h.ops[3] = see(4 * S, &[(name, Mode::Shared, 1)]);
        assert_eq!(broken(&h), ["L10"]);
        h.ops[3] = see(4 * S, &[(name, E, 2)]);
        assert_eq!(broken(&h), ["L10"]);
    }

    #[test]
    fn a_refusal_of_a_free_lock_is_found() {
        let mut h = history();
        let by = |who: &str| Answer::WouldBlock(vec![who.to_owned()]);
        let refused = |at, who| asked(2, at, at + 1, by(who));
        h.ops = vec![
            acquire(1, S, S + 1, 1),
            refused(2 * S, "c1/1000000"),
            release(1, 3 * S, 3 * S + 1, 1),
        ];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(refused(4 * S, "c1/1000000"));
        assert_eq!(broken(&h), ["L10"]);
        h.ops.pop();
        h.ops[1] = refused(2 * S, "another");
        assert_eq!(broken(&h), ["L10"]);
    }

    #[test]
    fn a_lost_answer_explains_either_outcome_but_not_both() {
        let mut h = history();
        let lost = asked(2, S, 0, Answer::Unknown);
        let owner = lost.owner.clone();
        h.ops = vec![lost, get(2 * S, &[]), get(3 * S, &[&owner]), acquire(1, 40 * S, 50 * S, 9)];
        // Granted after the first read; then it must be gone before another is granted.
        assert_eq!(broken(&h), ["L10"]);
        // Once its lease may be over, it may be gone.
        h.leases[1].renewals.truncate(20);
        h.leases[1].last_sent = 19 * S;
        assert_eq!(broken(&h), [""; 0]);
        h = History { ops: h.ops, ..history() };
        h.ops.pop();
        h.ops.push(acquire(1, S / 2, S / 2 + 1, 1));
        h.ops.push(release(1, S / 2 + 5, S / 2 + 6, 1));
        assert_eq!(broken(&h), [""; 0]);
    }

    #[test]
    fn a_grant_that_stays_after_it_was_withdrawn_is_found() {
        let mut h = history();
        let gone = asked(2, S, 3 * S, Answer::Cancelled);
        let owner = gone.owner.clone();
        let first = acquire(1, S / 2, S / 2 + 1, 1);
        let free = release(1, S + 5, S + 6, 1);
        h.ops = vec![first, free, gone, get(2 * S, &[&owner]), get(4 * S, &[])];
        assert_eq!(broken(&h), [""; 0]);
        h.ops[4] = get(4 * S, &[&owner]);
        assert_eq!(broken(&h), ["L10"]);
    }

    #[test]
    fn one_of_a_group_that_was_not_free_is_found() {
        let mut h = history();
        let both = wants(&[("a", E), ("b", E)]);
        let got = super::super::sample::grants(&[("a", E, 2), ("b", E, 3)]);
        h.ops = vec![op(2, 2 * S, 2 * S + 1, both, got)];
        assert_eq!(broken(&h), [""; 0]);
        h.ops.push(acquire(1, S, S + 1, 1));
        assert_eq!(broken(&h), ["L2", "L10"]);
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
