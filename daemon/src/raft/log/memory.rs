//! What the log holds: the entries since the last purge, and the rules that changes obey.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};

use super::error::LogError;
use super::record::Head;
use crate::raft::types::{
    Entry, EntryPayload, LogId, Unusable, Vote, log_id_from_peer, log_id_to_peer, vote_from_peer,
    vote_to_peer,
};

/// Vote, pointers and entries, in openraft's types.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The last entry, or what was purged last.
    pub(super) last: Option<LogId>,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The oldest segment says that there were entries before it.
    begun_late: bool,
}

/// What an entry takes in memory, near enough for a bound.
pub(super) fn weight(entry: &Entry) -> usize {
    let data = match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.data.len(),
        EntryPayload::Blank => 0,
        EntryPayload::Membership(membership) => 128 * membership.nodes().count(),
    };
    data + size_of::<Entry>()
}

impl Memory {
    /// Adds an entry at the end. An empty log that was never purged may begin anywhere.
    pub(super) fn append(&mut self, entry: Entry) -> Result<(), LogError> {
        self.check_next(entry.log_id.index())?;
        self.last = Some(entry.log_id);
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
        Ok(())
    }

    fn check_next(&self, index: u64) -> Result<(), LogError> {
        match self.last {
            Some(last) if index != last.index() + 1 => {
                Err(LogError::Hole { index, last: last.index() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Adds entries at the end: all of them, or none if that would leave a hole.
    pub(super) fn append_all(&mut self, entries: Vec<Entry>) -> Result<(), LogError> {
        self.check(&entries)?;
        entries.into_iter().try_for_each(|entry| self.append(entry))
    }

    fn check(&self, entries: &[Entry]) -> Result<(), LogError> {
        let Some(first) = entries.first() else { return Ok(()) };
        self.check_next(first.log_id.index())?;
        for (before, after) in entries.iter().zip(entries.iter().skip(1)) {
            let (last, index) = (before.log_id.index(), after.log_id.index());
            if index != last + 1 {
                return Err(LogError::Hole { index, last });
            }
        }
        Ok(())
    }

    /// Drops everything after a place.
    pub(super) fn truncate_after(&mut self, place: Option<LogId>) {
        let keep = |entry: &Entry| place.is_some_and(|p| entry.log_id.index() <= p.index());
        while self.entries.back().is_some_and(|entry| !keep(entry)) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, weight);
        }
        let place = later(place, self.purged);
        if self.last.map(|last| last.index()) > place.map(|p| p.index()) {
            self.last = place;
        }
    }

    /// Drops everything up to a place; the log may end before it.
    pub(super) fn purge(&mut self, place: LogId) {
        if self.purged.is_some_and(|purged| purged.index() >= place.index()) {
            return;
        }
        let gone = |entry: &Entry| entry.log_id.index() <= place.index();
        while self.entries.front().is_some_and(gone) {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, weight);
        }
        self.purged = Some(place);
        if self.last.is_none_or(|last| last.index() < place.index()) {
            self.last = Some(place);
        }
    }

    /// Index of the first entry held.
    pub(super) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index())
    }

    /// How many entries, and about how many bytes of memory they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.bytes)
    }

    /// The entries held of a range.
    pub(super) fn range(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let first = self.first().unwrap_or(0);
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => u64::MAX,
        };
        let position = |index: u64| {
            let offset = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
            offset.min(self.entries.len())
        };
        let (start, end) = (position(start), position(end));
        self.entries.range(start..end.max(start))
    }

    /// First and last of the entries that were written and are not there.
    pub(super) fn missing(&self) -> Option<(u64, u64)> {
        let last = self.last?.index();
        let start = match self.purged {
            Some(purged) => purged.index() + 1,
            None if self.begun_late => 0,
            None => return None,
        };
        let first = self.first().unwrap_or(last + 1);
        (first > start).then(|| (start, first - 1))
    }

    /// Takes over the state at the head of the oldest segment.
    pub(super) fn begin(&mut self, head: &Head) -> Result<(), Unusable> {
        self.vote = head.vote.as_ref().map(vote_from_peer).transpose()?;
        self.committed = head.committed.map(log_id_from_peer);
        self.purged = head.purged.map(log_id_from_peer);
        self.last = head.last.map(log_id_from_peer);
        self.begun_late = self.last.is_some();
        Ok(())
    }

    /// The state as a segment's head says it.
    pub(super) fn head(&self, sequence: u64) -> Head {
        Head {
            sequence,
            vote: self.vote.as_ref().map(vote_to_peer),
            committed: self.committed.as_ref().map(log_id_to_peer),
            purged: self.purged.as_ref().map(log_id_to_peer),
            last: self.last.as_ref().map(log_id_to_peer),
        }
    }
}

fn later(a: Option<LogId>, b: Option<LogId>) -> Option<LogId> {
    if a.map(|id| id.index()) < b.map(|id| id.index()) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(index: u64) -> Entry {
        Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank }
    }

    fn ten() -> Memory {
        let mut memory = Memory::default();
        (0..10).for_each(|index| memory.append(blank(index)).unwrap());
        memory
    }

    fn indices(memory: &Memory, range: impl RangeBounds<u64>) -> Vec<u64> {
        memory.range(&range).map(|entry| entry.log_id.index()).collect()
    }

    #[test]
    fn ranges_are_cut_to_what_is_held() {
        let mut memory = ten();
        memory.purge(LogId::new_term_index(1, 3));
        assert_eq!(indices(&memory, ..), (4..10).collect::<Vec<_>>());
        assert_eq!(indices(&memory, 0..6), [4, 5]);
        assert_eq!(indices(&memory, 5..=6), [5, 6]);
        assert_eq!(indices(&memory, 0..2), [0_u64; 0]);
        assert_eq!(indices(&memory, 20..30), [0_u64; 0]);
        assert_eq!(indices(&memory, std::ops::Range { start: 8, end: 5 }), [0_u64; 0]);
    }

    #[test]
    fn no_hole_is_taken() {
        let mut memory = ten();
        assert!(matches!(memory.append(blank(11)), Err(LogError::Hole { index: 11, last: 9 })));
        assert!(matches!(memory.append(blank(9)), Err(LogError::Hole { index: 9, last: 9 })));
        assert!(memory.check(&[blank(10), blank(12)]).is_err());
        assert!(memory.check(&[blank(10), blank(11)]).is_ok());
    }

    #[test]
    fn truncation_and_purge_move_the_end() {
        let mut memory = ten();
        memory.truncate_after(Some(LogId::new_term_index(1, 6)));
        assert_eq!(memory.last, Some(LogId::new_term_index(1, 6)));
        memory.purge(LogId::new_term_index(2, 20));
        assert_eq!(memory.last, Some(LogId::new_term_index(2, 20)));
        assert_eq!(memory.size(), (0, 0));
        memory.append(blank(21)).unwrap();
        memory.truncate_after(None);
        assert_eq!(memory.last, Some(LogId::new_term_index(2, 20)));
    }
}
