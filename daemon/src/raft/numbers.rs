//! Terms, indices and times that come from outside: which of them are taken in.
//!
//! openraft adds 1 to terms and indices without a look, and what a vote says is on disk before
//! anything else is known of its sender. A number near the end of its range would end every node
//! that hears of it, and again after each start. So a number must not lie far from where this node
//! is: below half of the range anything goes, since such a number only makes the next ones larger;
//! beyond it only what is within reach. A call therefore never uses the range up, and a cluster
//! that stands at the half goes on.

use dsync::peer::{Entry, LogId, Payload, RaftCall, Vote};

/// Terms and indices up to here are taken from anyone.
const NUMBER: u64 = u64::MAX / 2;
/// Cluster times up to here are: nine thousand years.
const TIME_MS: u64 = 1 << 48;
/// Beyond that, a number may be so much larger than this node's own. To use the range up by such
/// steps takes two thousand million calls, each of which waits for a disk.
const REACH: u64 = 1 << 32;

/// How far a node has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OwnNumbers {
    /// The term of its vote.
    pub(super) term: u64,
    /// The last entry of its log.
    pub(super) index: u64,
    /// The largest cluster time seen.
    pub(super) t_ms: u64,
}

/// Why a call's numbers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadNumber {
    /// It is out of reach.
    #[error("{what} {number} is out of reach: this node is at {own}")]
    Far { what: &'static str, number: u64, own: u64 },
    /// Entries do not follow each other.
    #[error("entry {index} where entry {expected} belongs")]
    Gap { index: u64, expected: u64 },
    /// Something is of a later term than the leader that sends it.
    #[error("{what} is of term {term}, its leader of term {leader}")]
    LaterTerm { what: &'static str, term: u64, leader: u64 },
}

/// Checks every number of a call before anything is done with it. `own` is asked for only where a
/// number is unusually large.
pub(super) fn check(call: &RaftCall, own: impl Fn() -> OwnNumbers) -> Result<(), BadNumber> {
    let judge = Judge { own };
    match call {
        RaftCall::Append { vote, prev, commit, entries, t_ms } => {
            judge.vote(vote)?;
            judge.place("the entry before", *prev)?;
            judge.place("the commit", *commit)?;
            judge.time(*t_ms)?;
            judge.entries(vote, *prev, entries)
        }
        RaftCall::Vote { vote, last, .. } => {
            judge.vote(vote)?;
            judge.place("the last entry", *last)
        }
        RaftCall::Snapshot { vote, last, membership_at, .. } => {
            judge.vote(vote)?;
            judge.place("the last entry", *last)?;
            judge.place("the membership", *membership_at)?;
            not_later("a snapshot", *last, vote)
        }
        RaftCall::Transfer { from, last, .. } => {
            judge.vote(from)?;
            judge.place("the last entry", *last)
        }
    }
}

/// Checks a vote in an answer to a node that is in term `own`.
pub(super) fn check_answered(vote: &Vote, own: u64) -> Result<(), BadNumber> {
    near("term", vote.term, NUMBER, || own)
}

fn near(
    what: &'static str,
    number: u64,
    limit: u64,
    own: impl Fn() -> u64,
) -> Result<(), BadNumber> {
    if number <= limit {
        return Ok(());
    }
    let own = own();
    let reach = own.saturating_add(REACH).min(u64::MAX - REACH);
    if number <= reach { Ok(()) } else { Err(BadNumber::Far { what, number, own }) }
}

fn not_later(what: &'static str, id: Option<LogId>, vote: &Vote) -> Result<(), BadNumber> {
    match id {
        Some(id) if id.term > vote.term => {
            Err(BadNumber::LaterTerm { what, term: id.term, leader: vote.term })
        }
        Some(_) | None => Ok(()),
    }
}

struct Judge<F> {
    own: F,
}

impl<F: Fn() -> OwnNumbers> Judge<F> {
    fn vote(&self, vote: &Vote) -> Result<(), BadNumber> {
        near("term", vote.term, NUMBER, || (self.own)().term)
    }

    fn place(&self, what: &'static str, id: Option<LogId>) -> Result<(), BadNumber> {
        let Some(id) = id else { return Ok(()) };
        near(what, id.term, NUMBER, || (self.own)().term)?;
        near(what, id.index, NUMBER, || (self.own)().index)
    }

    fn time(&self, t_ms: u64) -> Result<(), BadNumber> {
        near("cluster time", t_ms, TIME_MS, || (self.own)().t_ms)
    }

    /// They begin behind `prev` and leave nothing out: openraft takes that for granted.
    fn entries(
        &self,
        vote: &Vote,
        prev: Option<LogId>,
        entries: &[Entry],
    ) -> Result<(), BadNumber> {
        let first = prev.map_or(0, |prev| prev.index.saturating_add(1));
        for (expected, entry) in (first..).zip(entries) {
            if entry.id.index != expected {
                return Err(BadNumber::Gap { index: entry.id.index, expected });
            }
            self.place("an entry", Some(entry.id))?;
            not_later("an entry", Some(entry.id), vote)?;
            if let Payload::Normal { t_ms, .. } = &entry.payload {
                self.time(*t_ms)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = u64::MAX / 2;

    fn vote(term: u64) -> Vote {
        Vote { term, node: Some(1), committed: true }
    }

    fn at(term: u64, index: u64) -> LogId {
        LogId { term, index }
    }

    fn young() -> OwnNumbers {
        OwnNumbers { term: 3, index: 10, t_ms: 5_000 }
    }

    fn append(prev: Option<LogId>, entries: &[(u64, u64)], t_ms: u64) -> RaftCall {
        let entry =
            |(term, index): &(u64, u64)| Entry { id: at(*term, *index), payload: Payload::Blank };
        let entries = entries.iter().map(entry).collect();
        RaftCall::Append { vote: vote(3), prev, commit: None, entries, t_ms }
    }

    fn elect(term: u64, last: Option<LogId>) -> RaftCall {
        RaftCall::Vote { vote: vote(term), last, pre: false, transfer: true }
    }

    #[test]
    fn half_of_the_range_is_free_and_the_rest_is_not() {
        for term in [0, 4, u64::MAX / 4, HALF] {
            assert_eq!(check(&elect(term, Some(at(1, HALF))), young), Ok(()), "{term}");
        }
        for term in [HALF + 1, u64::MAX - 1, u64::MAX] {
            assert!(check(&elect(term, None), young).is_err(), "{term}");
            assert!(check(&elect(3, Some(at(term, 1))), young).is_err(), "{term}");
            assert!(check(&elect(3, Some(at(1, term))), young).is_err(), "{term}");
            let from = RaftCall::Transfer { from: vote(term), to: 1, last: None };
            assert!(check(&from, young).is_err(), "{term}");
        }
    }

    /// Else a single call with the largest number that is free would be the last one.
    #[test]
    fn a_cluster_at_the_half_goes_on_and_never_comes_to_the_end() {
        let there = || OwnNumbers { term: HALF, index: HALF, t_ms: TIME_MS };
        assert_eq!(check(&elect(HALF + 1, Some(at(HALF + 1, HALF + 1))), there), Ok(()));
        assert_eq!(check(&append(None, &[], TIME_MS + 100), there), Ok(()));
        assert!(check(&elect(HALF + REACH + 1, None), there).is_err());
        let end = || OwnNumbers { term: u64::MAX, index: u64::MAX, t_ms: u64::MAX };
        assert!(check(&elect(u64::MAX, None), end).is_err());
        assert_eq!(check_answered(&vote(HALF + 1), HALF), Ok(()));
        assert!(check_answered(&vote(u64::MAX), 3).is_err());
    }

    #[test]
    fn entries_follow_what_is_before_them() {
        assert_eq!(check(&append(None, &[(1, 0), (3, 1)], 0), young), Ok(()));
        assert_eq!(check(&append(Some(at(1, 4)), &[(1, 5), (1, 6)], 0), young), Ok(()));
        for entries in [&[(1, 1)][..], &[(1, 0), (1, 2)], &[(1, u64::MAX)], &[(4, 0)]] {
            assert!(check(&append(None, entries, 0), young).is_err(), "{entries:?}");
        }
        let last = Some(at(1, u64::MAX));
        assert!(check(&append(last, &[(1, u64::MAX)], 0), young).is_err());
    }

    #[test]
    fn times_and_snapshots_are_looked_at() {
        assert_eq!(check(&append(None, &[], TIME_MS), young), Ok(()));
        assert!(check(&append(None, &[], u64::MAX), young).is_err());
        let snapshot = |term, index| RaftCall::Snapshot {
            vote: vote(3),
            id: 1,
            last: Some(at(term, index)),
            membership_at: Some(at(1, 0)),
            membership: dsync::peer::Membership::default(),
            offset: 0,
            data: bytes::Bytes::new(),
            done: true,
        };
        assert_eq!(check(&snapshot(3, 100), young), Ok(()));
        assert!(check(&snapshot(4, 100), young).is_err(), "of a later term than its leader");
        assert!(check(&snapshot(3, u64::MAX), young).is_err());
    }
}
