//! L1: tokens strictly increase in grant order and are never reused. L8: one request, one token.

use std::collections::BTreeMap;

use super::{History, Op, Violation};

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let grants: Vec<(&Op, u64)> =
        history.ops.iter().filter_map(|op| Some((op, op.granted()?))).collect();
    let mut by_token: BTreeMap<u64, &Op> = BTreeMap::new();
    let mut by_request: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (op, token) in &grants {
        if let Some(earlier) = by_token.insert(*token, op)
            && (earlier.session, &earlier.owner) != (op.session, &op.owner)
        {
            found.push(Violation::new(
                "L1",
                format!("token {token} went to {} and to {}", earlier.owner, op.owner),
            ));
        }
        let earlier = by_request.insert((op.session, op.request), *token);
        if let Some(earlier) = earlier.filter(|earlier| earlier != token) {
            found.push(Violation::new(
                "L8",
                format!(
                    "request {} of session {} got token {earlier}, then token {token}",
                    op.request, op.session
                ),
            ));
        }
    }
    found.extend(rising(&grants));
    found
}

/// A grant that was known before another was asked for has the smaller token.
fn rising(grants: &[(&Op, u64)]) -> Vec<Violation> {
    let mut by_return: Vec<_> = grants.to_vec();
    by_return.sort_by_key(|(op, _)| op.returned);
    let mut by_call: Vec<_> = grants.to_vec();
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
        // A re-entered grant keeps its token; every acquire of a history has a label of its own.
        if let Some((largest, earlier)) = known.filter(|(l, e)| *l >= token && e.owner != op.owner)
        {
            found.push(Violation::new(
                "L1",
                format!("{} got token {token} after {} had got {largest}", op.owner, earlier.owner),
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
    use super::super::sample::{S, acquire, broken, history, release};
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
    fn two_tokens_for_one_request_are_found() {
        let mut h = history();
        let mut again = acquire(1, 3 * S, 3 * S + 1, 8);
        again.request = S;
        h.ops = vec![acquire(1, S, S + 1, 7), release(1, 2 * S, 2 * S + 1, 7), again];
        assert_eq!(broken(&h), ["L8"]);
    }
}
