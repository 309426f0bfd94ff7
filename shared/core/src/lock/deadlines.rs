//! When what ends: an index in order of time, so that a pass costs what is due and no more.

use std::collections::BTreeSet;

use super::state::TicketId;
use super::{SessionId, Token};
use crate::name::Name;

/// Something that ends at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The lease of a session.
    Session(SessionId),
    /// The longest hold of a grant.
    Hold(Name, Token),
    /// The grace of a wounded grant.
    Wound(Name, Token),
    /// The delay after a lost grant.
    Delay(Name, Token),
    /// The wait of a ticket.
    Wait(TicketId),
}

impl Due {
    /// True for what takes a grant away: it waits for the grace of a new term (T2).
    fn takes_a_grant(&self) -> bool {
        match self {
            Self::Session(_) | Self::Hold(..) | Self::Wound(..) => true,
            Self::Delay(..) | Self::Wait(_) => false,
        }
    }
}

/// All deadlines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Deadlines {
    takes: BTreeSet<(u64, Due)>,
    other: BTreeSet<(u64, Due)>,
}

impl Deadlines {
    /// Adds one.
    pub(super) fn add(&mut self, at_ms: u64, due: Due) {
        self.side(&due).insert((at_ms, due));
    }

    /// Removes one; nothing happens when it is not there.
    pub(super) fn remove(&mut self, at_ms: u64, due: Due) {
        self.side(&due).remove(&(at_ms, due));
    }

    fn side(&mut self, due: &Due) -> &mut BTreeSet<(u64, Due)> {
        if due.takes_a_grant() { &mut self.takes } else { &mut self.other }
    }

    /// Takes out the next one that is due: first what takes grants, then the rest, each in order
    /// of time.
    pub(super) fn pop(&mut self, now_ms: u64, no_expiry_before_ms: u64) -> Option<Due> {
        if now_ms >= no_expiry_before_ms
            && let Some(due) = pop_before(&mut self.takes, now_ms)
        {
            return Some(due);
        }
        pop_before(&mut self.other, now_ms)
    }

    /// Cluster time of the first one.
    pub(super) fn next(&self, no_expiry_before_ms: u64) -> Option<u64> {
        let takes = self.takes.first().map(|(at, _)| (*at).max(no_expiry_before_ms));
        let other = self.other.first().map(|(at, _)| *at);
        takes.into_iter().chain(other).min()
    }
}

fn pop_before(set: &mut BTreeSet<(u64, Due)>, now_ms: u64) -> Option<Due> {
    if set.first()?.0 > now_ms {
        return None;
    }
    set.pop_first().map(|(_, due)| due)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_term_holds_back_only_what_takes_grants() {
        let mut deadlines = Deadlines::default();
        deadlines.add(10, Due::Session(SessionId(1)));
        deadlines.add(20, Due::Wait(TicketId(1)));
        assert_eq!(deadlines.next(0), Some(10));
        assert_eq!(deadlines.next(50), Some(20));
        assert_eq!(deadlines.pop(30, 50), Some(Due::Wait(TicketId(1))));
        assert_eq!(deadlines.pop(49, 50), None);
        assert_eq!(deadlines.pop(50, 50), Some(Due::Session(SessionId(1))));
        assert_eq!(deadlines.next(0), None);
    }
}
