//! L1: tokens strictly increase in grant order and are never reused. L8: one request, one token.

use std::collections::BTreeMap;

use super::{Action, Granted, History, Op, Violation};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut ops: Vec<&Op> = history.ops.iter().filter(|op| !op.granted().is_empty()).collect();
    ops.sort_by_key(|op| op.called);
    let mut found = Vec::new();
    let mut by_token: BTreeMap<u64, (&Op, &str)> = BTreeMap::new();
    let mut by_request: BTreeMap<(u64, u64), &[Granted]> = BTreeMap::new();
    for op in &ops {
        for grant in op.granted() {
            let (earlier, lock) = *by_token.entry(grant.token).or_insert((op, &grant.lock));
            if (earlier.session, &earlier.owner, lock) != (op.session, &op.owner, &grant.lock) {
                let text = format!(
                    "token {} went to {} for {lock} and to {} for {}",
                    grant.token, earlier.owner, op.owner, grant.lock
                );
                found.push(Violation::new("L1", text));
            }
        }
        found.extend(not_kept(op, &by_token));
        let key = (op.session, op.request);
        if let Some(earlier) = by_request.insert(key, op.granted())
            && earlier != op.granted()
        {
            let text = format!("{op} got {earlier:?}, then {:?}", op.granted());
            found.push(Violation::new("L8", text));
        }
    }
    found.extend(changed_answers(history));
    found.extend(rising(&history.ops));
    found
}

/// A grant that is not new has the token that it had.
fn not_kept(op: &Op, by_token: &BTreeMap<u64, (&Op, &str)>) -> Vec<Violation> {
    let old = op.granted().iter().filter(|grant| !op.fresh().any(|fresh| fresh == *grant));
    let kept = |grant: &&Granted| match &op.action {
        Action::Convert { token, .. } => grant.token == *token,
        _ => by_token.get(&grant.token).is_some_and(|(first, _)| first.request != op.request),
    };
    let lost = old.filter(|grant| !kept(grant));
    lost.map(|grant| Violation::new("L1", format!("{op} had a grant, and now has {grant:?}")))
        .collect()
}

/// Whoever asks again is told the same. That nobody is granted late is L6.
fn changed_answers(history: &History) -> Vec<Violation> {
    let changed = history.ops.iter().flat_map(|op| op.again.iter().map(move |again| (op, again)));
    changed
        .filter(|(op, again)| op.answer != **again)
        .map(|(op, again)| {
            Violation::new("L8", format!("{op} was told {:?}, then {again:?}", op.answer))
        })
        .collect()
}

/// A grant that was known before another was asked for has the smaller token.
fn rising(ops: &[Op]) -> Vec<Violation> {
    let mut by_return: Vec<(&Op, u64)> =
        ops.iter().flat_map(|op| op.granted().iter().map(move |g| (op, g.token))).collect();
    by_return.sort_by_key(|(op, _)| op.returned);
    let mut by_call: Vec<(&Op, u64)> =
        ops.iter().flat_map(|op| op.fresh().map(move |g| (op, g.token))).collect();
    by_call.sort_by_key(|(op, _)| op.called);
    let mut found = Vec::new();
    let mut known: Option<(u64, &Op)> = None;
    let mut returns = by_return.into_iter().peekable();
    for (op, token) in by_call {
        while let Some((earlier, smaller)) =
            returns.next_if(|(earlier, _)| earlier.returned.is_some_and(|r| r < op.called))
        {
            if known.is_none_or(|(largest, _)| largest < smaller) {
                known = Some((smaller, earlier));
            }
        }
        if let Some((largest, earlier)) = known.filter(|(largest, _)| *largest >= token) {
            found.push(Violation::new(
                "L1",
                format!("{op} got token {token} after {earlier} had got {largest}"),
            ));
        }
    }
    found
}

/// Tokens as the cluster's own event log tells of them must rise too.
///
/// # Errors
/// The first token that does not.
pub fn rise_in_log_order(tokens: impl IntoIterator<Item = u64>) -> Result<(), Violation> {
    let mut last = 0;
    for token in tokens {
        if token <= last {
            let text = format!("the log grants token {token} after token {last}");
            return Err(Violation::new("L1", text));
        }
        last = token;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::Mode;

    use super::super::Answer;
    use super::super::sample::{S, acquire, broken, convert, granted, grants, history, release};
    use super::*;

    #[test]
    fn a_token_given_twice_is_found() {
        let mut h = history();
        h.ops = vec![
            acquire(1, S, S + 1, 7),
            release(1, 2 * S, 2 * S + 1, 7),
            acquire(2, 2 * S, 2 * S + 5, 7),
        ];
        assert!(broken(&h).contains(&"L1"));
    }

    #[test]
    fn a_token_that_falls_is_found() {
        let mut h = history();
        h.ops = vec![
            acquire(1, S, S + 1, 7),
            release(1, 2 * S, 2 * S + 1, 7),
            acquire(2, 3 * S, 3 * S + 5, 6),
        ];
        assert_eq!(broken(&h), ["L1"]);
        assert!(rise_in_log_order([1, 2, 2]).is_err());
        assert!(rise_in_log_order([1, 2, 9]).is_ok());
    }

    #[test]
    fn an_upgrade_under_an_old_token_and_a_downgrade_under_a_new_one_are_found() {
        let mut h = history();
        let shared = granted(1, S, S + 1, 7, Mode::Shared);
        let mut up = convert(1, 2 * S, 2 * S + 1, (7, 8), Mode::Exclusive);
        up.owner.clone_from(&shared.owner);
        let mut down = convert(1, 3 * S, 3 * S + 1, (8, 8), Mode::Shared);
        down.owner.clone_from(&shared.owner);
        h.ops = vec![shared, up, down];
        assert_eq!(broken(&h), [""; 0]);
        h.ops[2].answer = grants(&[("a", Mode::Shared, 9)]);
        assert_eq!(broken(&h), ["L1"]);
        h.ops[1].answer = grants(&[("a", Mode::Exclusive, 7)]);
        h.ops.pop();
        assert_eq!(broken(&h), ["L1"]);
    }

    #[test]
    fn an_entry_under_another_token_is_found() {
        let mut h = history();
        let mut again = acquire(1, 2 * S, 2 * S + 1, 8);
        again.owner = format!("c1/{S}");
        if let Answer::Granted(grants) = &mut again.answer {
            grants[0].count = 2;
        }
        h.ops = vec![acquire(1, S, S + 1, 7), again];
        assert_eq!(broken(&h), ["L1"]);
    }

    #[test]
    fn another_answer_to_the_same_request_is_found() {
        let mut h = history();
        let mut first = acquire(1, S, S + 1, 7);
        first.again = vec![first.answer.clone()];
        h.ops = vec![first];
        assert_eq!(broken(&h), [""; 0]);
        h.ops[0].again.push(grants(&[("a", Mode::Exclusive, 8)]));
        assert_eq!(broken(&h), ["L8"]);
    }

    #[test]
    fn two_tokens_for_one_request_are_found() {
        let mut h = history();
        let mut again = acquire(1, 3 * S, 3 * S + 1, 8);
        again.request = S;
        h.ops = vec![acquire(1, S, S + 1, 7), release(1, 2 * S, 2 * S + 1, 7), again];
        assert_eq!(broken(&h), ["L8"]);
    }
}
