//! What is read at start, and what is refused.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use dsync::peer;

use super::error::LogError;
use super::memory::Memory;
use super::record::{self, Bad, FORMAT, Found, Head, Kind};
use super::segment::{self, MAGIC, Segment};
use crate::raft::fs::{Fs, read_all};
use crate::raft::types::{Unusable, entry_from_peer, log_id_from_peer, vote_from_peer};

/// A segment that is complete, and what it takes to know when it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) sequence: u64,
    /// Highest index of an entry in it.
    pub(super) highest: Option<u64>,
    pub(super) bytes: usize,
}

/// The log as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) memory: Memory,
    pub(super) complete: VecDeque<Complete>,
    pub(super) active: Segment,
    /// Highest index of an entry in the active segment.
    pub(super) highest: Option<u64>,
}

/// Reads all segments of a folder, or begins the first.
pub(super) fn recover(fs: &dyn Fs, dir: &Path) -> Result<Recovered, LogError> {
    let found = segment::list(fs, dir)?;
    let Some((&last, older)) = found.split_last() else {
        let active = Segment::create(fs, dir, &Head { sequence: 1, ..Head::default() })?;
        let (memory, complete) = (Memory::default(), VecDeque::new());
        return Ok(Recovered { memory, complete, active, highest: None });
    };
    let mut replay = Replay::default();
    let mut complete = VecDeque::new();
    for &sequence in unbroken(older, last) {
        let file = SegmentBytes::read(fs, dir, sequence)?;
        let highest = replay.segment(&file)?;
        let (end, bad) = replay.stopped;
        if bad.is_some() || file.used() > end {
            return Err(file.refusal(end, bad));
        }
        complete.push_back(Complete { sequence, highest, bytes: file.bytes.len() });
    }
    let file = SegmentBytes::read(fs, dir, last)?;
    let highest = replay.segment(&file)?;
    let (end, bad) = replay.stopped;
    check_tail(&file, end, bad)?;
    let oldest = complete.front().map_or(last, |segment| segment.sequence);
    if let Some((first, last)) = replay.memory.missing() {
        return Err(LogError::Missing { path: dir.join(segment::name(oldest)), first, last });
    }
    let intact = file.bytes.get(..end).unwrap_or_default();
    let active = Segment::create_with(fs, dir, last, intact, replay.body)?;
    remove_leftovers(fs, dir, &found, oldest)?;
    Ok(Recovered { memory: replay.memory, complete, active, highest })
}

/// The sequences that lead up to `last` without a gap. A gap is left by a purge that was
/// interrupted; if it is not, entries will turn out to be missing.
fn unbroken(older: &[u64], last: u64) -> &[u64] {
    let steps = older.iter().rev().zip(1..).take_while(|(seq, back)| **seq + back == last);
    older.get(older.len() - steps.count()..).unwrap_or_default()
}

fn remove_leftovers(fs: &dyn Fs, dir: &Path, found: &[u64], oldest: u64) -> Result<(), LogError> {
    for sequence in found.iter().filter(|sequence| **sequence < oldest) {
        let path = dir.join(segment::name(*sequence));
        tracing::info!(file = %path.display(), "removing what an interrupted purge left");
        fs.remove(&path).map_err(|e| LogError::io("remove", &path, e))?;
    }
    Ok(())
}

/// Tells an interrupted write from damage at the end of the last segment.
fn check_tail(file: &SegmentBytes, end: usize, bad: Option<Bad>) -> Result<(), LogError> {
    let used = file.used();
    if used <= end {
        return Ok(());
    }
    // A checksum that matches means that we wrote it so: not an interrupted write.
    let ours = matches!(bad, Some(Bad::Kind(_) | Bad::Format(_)));
    if ours || record::proof_of_damage(&file.bytes, file.sequence, end).is_some() {
        return Err(file.refusal(end, bad));
    }
    tracing::warn!(
        file = %file.path.display(),
        offset = end,
        bytes = used - end,
        "cut an interrupted write off the end of the log"
    );
    Ok(())
}

struct SegmentBytes {
    path: PathBuf,
    sequence: u64,
    bytes: Vec<u8>,
}

impl SegmentBytes {
    fn read(fs: &dyn Fs, dir: &Path, sequence: u64) -> Result<Self, LogError> {
        let path = dir.join(segment::name(sequence));
        let bytes = read_all(fs, &path).map_err(|e| LogError::io("read", &path, e))?;
        Ok(Self { path, sequence, bytes })
    }

    /// Offset behind the last byte that is not zero.
    fn used(&self) -> usize {
        self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
    }

    /// True when no record was begun at an offset.
    fn ends_at(&self, offset: usize) -> bool {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        rest.iter().take(record::HEADER).all(|byte| *byte == 0)
    }

    fn refusal(&self, offset: usize, bad: Option<Bad>) -> LogError {
        match bad {
            None => self.at(offset, "zeros where records were"),
            Some(Bad::Format(format)) => {
                let (path, known) = (self.path.clone(), FORMAT);
                let offset = u64::try_from(offset).unwrap_or(u64::MAX);
                LogError::Format { path, offset, format, known }
            }
            Some(bad) => self.at(offset, bad.describe()),
        }
    }

    fn at(&self, offset: usize, detail: impl Into<String>) -> LogError {
        LogError::damaged(&self.path, offset, detail)
    }
}

/// Applies segments in order.
#[derive(Debug, Default)]
struct Replay {
    memory: Memory,
    begun: bool,
    /// Where the records of the last segment ended, and why.
    stopped: (usize, Option<Bad>),
    /// Where the records behind the head of the last segment begin.
    body: usize,
}

impl Replay {
    /// Applies a segment up to its end or its first bad record; the highest entry's index.
    fn segment(&mut self, file: &SegmentBytes) -> Result<Option<u64>, LogError> {
        if !file.bytes.starts_with(MAGIC) {
            return Err(file.at(0, "it does not begin as a segment of the log does"));
        }
        let mut offset = self.head(file)?;
        self.body = offset;
        let mut highest = None;
        loop {
            if file.ends_at(offset) {
                self.stopped = (offset, None);
                return Ok(highest);
            }
            match record::read(&file.bytes, file.sequence, offset) {
                Ok(found) => {
                    let index = self.apply(&found).map_err(|detail| file.at(offset, detail))?;
                    highest = highest.max(index);
                    offset = found.end;
                }
                Err(bad) => {
                    self.stopped = (offset, Some(bad));
                    return Ok(highest);
                }
            }
        }
    }

    fn head(&mut self, file: &SegmentBytes) -> Result<usize, LogError> {
        let at = MAGIC.len();
        let found = record::read(&file.bytes, file.sequence, at)
            .map_err(|bad| file.refusal(at, Some(bad)))?;
        if found.kind != Kind::Head {
            return Err(file.at(at, "its first record is no head"));
        }
        let head: Head = record::decode(found.payload).map_err(|detail| file.at(at, detail))?;
        if !self.begun {
            self.begun = true;
            self.memory.begin(&head).map_err(|error| file.at(at, error.to_string()))?;
        } else if head != self.memory.head(file.sequence) {
            return Err(file.at(at, "its head does not follow from the segments before it"));
        }
        Ok(found.end)
    }

    fn apply(&mut self, found: &Found<'_>) -> Result<Option<u64>, String> {
        let unusable = |error: Unusable| error.to_string();
        match found.kind {
            Kind::Head => return Err("a head in the middle".to_owned()),
            Kind::Entries => {
                let entries: Vec<peer::Entry> = record::decode(found.payload)?;
                let highest = entries.iter().map(|entry| entry.id.index).max();
                for entry in entries {
                    let entry = entry_from_peer(entry).map_err(unusable)?;
                    self.memory.append(entry).map_err(|error| error.to_string())?;
                }
                return Ok(highest);
            }
            Kind::Vote => {
                let vote: peer::Vote = record::decode(found.payload)?;
                self.memory.vote = Some(vote_from_peer(&vote).map_err(unusable)?);
            }
            Kind::Truncate => {
                let place: Option<peer::LogId> = record::decode(found.payload)?;
                self.memory.truncate_after(place.map(log_id_from_peer));
            }
            Kind::Purge => {
                let place: peer::LogId = record::decode(found.payload)?;
                self.memory.purge(log_id_from_peer(place));
            }
            Kind::Committed => {
                let place: Option<peer::LogId> = record::decode(found.payload)?;
                self.memory.committed = place.map(log_id_from_peer);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_without_a_gap_count() {
        assert_eq!(unbroken(&[], 4), &[0_u64; 0]);
        assert_eq!(unbroken(&[1, 2, 3], 4), &[1, 2, 3]);
        assert_eq!(unbroken(&[1, 3], 4), &[3]);
        assert_eq!(unbroken(&[1, 2], 4), &[0_u64; 0]);
    }
}
