//! L5: waiters keep their order, and a group is granted all at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Granted, History, Op, Violation, apart};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut by_lock: BTreeMap<&str, Vec<(&Op, &Granted)>> = BTreeMap::new();
    for op in &history.ops {
        for grant in op.fresh() {
            by_lock.entry(&grant.lock).or_default().push((op, grant));
        }
    }
    let mut found = Vec::new();
    for (lock, grants) in by_lock {
        for (first, grant) in &grants {
            found.extend(overtakers(first, grant, &grants).map(|(second, other)| {
                let text = format!(
                    "{lock}: {first} was queued at {:?} µs and got token {}; {second} got {}",
                    first.queued, grant.token, other.token
                );
                Violation::new("L5", text)
            }));
        }
    }
    found.extend(torn_groups(history));
    found
}

/// Those who asked when `first` knew itself queued, and were granted before it although they had to
/// wait for it. Conversions go to the head of the queue and overtake nobody.
fn overtakers<'a>(
    first: &'a Op,
    grant: &'a Granted,
    others: &'a [(&'a Op, &'a Granted)],
) -> impl Iterator<Item = &'a (&'a Op, &'a Granted)> {
    let queued = first.queued;
    others.iter().filter(move |(op, other)| {
        // A group may wait for another lock; then those that go with it here need not wait.
        let waits = !first.is_group() || apart(grant.mode, other.mode);
        let later = queued.is_some_and(|queued| op.called > queued);
        later && waits && !op.is_conversion() && other.token < grant.token
    })
}

/// Groups with a grant of another request between their own.
fn torn_groups(history: &History) -> Vec<Violation> {
    let tokens: BTreeSet<u64> =
        history.ops.iter().flat_map(|op| op.fresh().map(|grant| grant.token)).collect();
    let mut found = Vec::new();
    for op in history.ops.iter().filter(|op| op.is_group()) {
        let own: BTreeSet<u64> = op.fresh().map(|grant| grant.token).collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        if let Some(other) = tokens.range(first..=last).find(|token| !own.contains(token)) {
            let text = format!("{op} got the tokens {own:?}, and another got {other} between them");
            found.push(Violation::new("L5", text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::Mode;

    use super::super::sample::{S, acquire, broken, granted, grants, history, op, release, wants};

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

    #[test]
    fn a_sharer_that_passes_a_waiting_exclusive_one_is_found() {
        let mut h = history();
        let mut first = acquire(2, S + 5, 4 * S, 3);
        first.queued = Some(S + 10);
        h.ops = vec![
            granted(1, S, S + 1, 1, Mode::Shared),
            first,
            granted(3, S + 20, S + 25, 2, Mode::Shared),
            release(1, 2 * S, 2 * S + 1, 1),
            release(3, 3 * S, 3 * S + 1, 2),
        ];
        assert_eq!(broken(&h), ["L5"]);
    }

    #[test]
    fn a_group_that_is_overtaken_or_torn_is_found() {
        let (e, s) = (Mode::Exclusive, Mode::Shared);
        let group = |first, second, mode| {
            let got = grants(&[("a", mode, first), ("b", mode, second)]);
            let mut op = op(2, S + 5, 4 * S, wants(&[("a", mode), ("b", mode)]), got);
            op.queued = Some(S + 10);
            op
        };
        let mut h = history();
        let one = |client, at, token, lock, mode| {
            op(client, at, at + 1, wants(&[(lock, mode)]), grants(&[(lock, mode, token)]))
        };
        let mut free = release(1, 3 * S, 3 * S + 1, 1);
        free.action = super::super::Action::Release { lock: "b".to_owned(), token: 1, all: true };
        h.ops = vec![one(1, S, 1, "b", e), free, group(3, 4, s)];
        // The group waits for b only: a sharer of a need not wait.
        h.ops.push(one(3, S + 20, 2, "a", s));
        assert_eq!(broken(&h), [""; 0]);
        h.ops[3] = one(3, S + 20, 2, "a", e);
        h.ops.push(release(3, 2 * S, 2 * S + 1, 2));
        assert_eq!(broken(&h), ["L5"]);
        h.ops.truncate(2);
        h.ops.extend([group(3, 5, e), one(3, 4 * S - 10, 4, "c", e)]);
        assert_eq!(broken(&h), ["L5"]);
    }
}
