//! What clients saw of each key, and whether that is linearizable.
//!
//! Versions are given out by the memory in the order in which changes happen, and every answer names
//! one; that of a key that is not there is one that no later value of the key is below. So a history
//! of a key is linearizable if the order of versions fits: nothing that began after something of a
//! higher version was answered may have a lower one, a write's is above all answered before it began,
//! each version has one value, which somebody wrote no later than it was read, and a key that is not
//! there was deleted since its last value. A counter's sums rise with its versions, each by one write.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A read: the version and the value.
    Read(u64, String),
    /// There was no such key, at that version.
    Absent(u64),
    /// A condition did not hold, for the key had that version.
    Had(u64),
    /// A write of that value: its version.
    Wrote(String, u64),
    /// A write of that value of which nothing is known.
    Perhaps(String),
    /// A write of that value that was not made.
    Refused(String),
    /// The key was deleted, with that version.
    Deleted(u64),
    /// Whether it was deleted is not known.
    PerhapsDeleted,
    /// One was added: the sum, and its version.
    Counted(i64, u64),
    /// Whether one was added is not known.
    PerhapsCounted,
}

impl Seen {
    /// The version that it tells of; not that of an absent key.
    fn version(&self) -> Option<u64> {
        match self {
            Self::Read(version, _)
            | Self::Had(version)
            | Self::Wrote(_, version)
            | Self::Deleted(version)
            | Self::Counted(_, version) => Some(*version),
            Self::Absent(_)
            | Self::Perhaps(_)
            | Self::Refused(_)
            | Self::PerhapsDeleted
            | Self::PerhapsCounted => None,
        }
    }

    fn changes(&self) -> bool {
        matches!(self, Self::Wrote(..) | Self::Deleted(_) | Self::Counted(..))
    }
}

/// A request and its answer.
#[derive(Debug, Clone)]
pub struct Entry {
    begun: Duration,
    ended: Duration,
    client: String,
    seen: Seen,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, ended, client, seen } = self;
        write!(f, "{client} {seen:?} from {begun:?} to {ended:?}")
    }
}

/// The time that a journal goes by.
type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// What was seen of all keys.
pub struct Journal {
    clock: Clock,
    keys: Mutex<BTreeMap<String, Vec<Entry>>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Default for Journal {
    fn default() -> Self {
        let start = Instant::now();
        Self::new(move || start.elapsed())
    }
}

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Reads that were answered.
    pub reads: usize,
    /// Writes that were answered.
    pub writes: usize,
    /// Writes of which nothing is known.
    pub unknown: usize,
    /// Writes that were not made.
    pub refused: usize,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.unknown += other.unknown;
        self.refused += other.refused;
    }
}

impl Journal {
    /// Nothing seen yet, by that clock.
    pub fn new(clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), keys: Mutex::default() }
    }

    /// Now.
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Something was seen of a key.
    pub fn note(&self, client: &str, key: &str, begun: Duration, seen: Seen) {
        let entry = Entry { begun, ended: self.now(), client: client.to_owned(), seen };
        self.keys.lock().entry(key.to_owned()).or_default().push(entry);
    }

    /// The keys of which something was seen.
    pub fn keys(&self) -> Vec<String> {
        self.keys.lock().keys().cloned().collect()
    }

    /// How much was seen.
    pub fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        for entry in self.keys.lock().values().flatten() {
            match entry.seen {
                Seen::Read(..) | Seen::Absent(_) | Seen::Had(_) => sum.reads += 1,
                Seen::Wrote(..) | Seen::Deleted(_) | Seen::Counted(..) => sum.writes += 1,
                Seen::Perhaps(_) | Seen::PerhapsDeleted | Seen::PerhapsCounted => sum.unknown += 1,
                Seen::Refused(_) => sum.refused += 1,
            }
        }
        sum
    }

    /// Everything that is not linearizable.
    pub fn violations(&self) -> Vec<String> {
        self.violations_of(|_| true)
    }

    /// The same, of those keys.
    pub fn violations_of(&self, of: impl Fn(&str) -> bool) -> Vec<String> {
        let keys = self.keys.lock();
        let keys = keys.iter().filter(|(key, _)| of(key));
        keys.flat_map(|(key, entries)| violations(key, entries)).collect()
    }
}

fn violations(key: &str, entries: &[Entry]) -> Vec<String> {
    let counted = |entry: &Entry| matches!(entry.seen, Seen::Counted(..) | Seen::PerhapsCounted);
    let mut found = if entries.iter().any(counted) {
        sums(key, entries)
    } else {
        let mut found = values(key, entries);
        found.extend(gone(key, entries));
        found
    };
    found.extend(order(key, entries));
    found
}

/// Each version has one value, of somebody who had begun to write it.
fn values(key: &str, entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let written: HashMap<&str, &Entry> = entries
        .iter()
        .filter_map(|entry| match &entry.seen {
            Seen::Wrote(value, _) | Seen::Perhaps(value) | Seen::Refused(value) => {
                Some((value.as_str(), entry))
            }
            _ => None,
        })
        .collect();
    let mut values: BTreeMap<u64, &str> = BTreeMap::new();
    for entry in entries {
        let (version, value) = match &entry.seen {
            Seen::Wrote(value, version) | Seen::Read(version, value) => (*version, value.as_str()),
            _ => continue,
        };
        let first = *values.entry(version).or_insert(value);
        if first != value {
            found.push(format!("{key}: version {version} is {first} and {value}"));
        }
        match written.get(value) {
            None => found.push(format!("{key}: nobody wrote {value}: {entry}")),
            Some(write) if matches!(write.seen, Seen::Refused(_)) => {
                found.push(format!("{key}: {value} was refused and is there: {entry}"));
            }
            Some(write) if write.begun > entry.ended => {
                found.push(format!("{key}: {value} was read before it was written: {entry}"));
            }
            Some(_) => {}
        }
    }
    found
}

/// Who found no key after a value of it, must have had somebody delete it.
fn gone(key: &str, entries: &[Entry]) -> Vec<String> {
    let has = |entry: &Entry| match &entry.seen {
        Seen::Wrote(_, version) | Seen::Read(version, _) => Some((*version, true)),
        Seen::Deleted(version) => Some((*version, false)),
        _ => None,
    };
    let known: BTreeMap<u64, bool> = entries.iter().filter_map(has).collect();
    let perhaps = entries.iter().filter(|entry| entry.seen == Seen::PerhapsDeleted);
    let perhaps = perhaps.map(|entry| entry.begun).min();
    let mut found = Vec::new();
    for entry in entries {
        let Seen::Absent(version) = entry.seen else { continue };
        let last = known.range(..=version).next_back();
        if let Some((last, true)) = last
            && perhaps.is_none_or(|begun| begun > entry.ended)
        {
            found.push(format!("{key}: version {last} was not deleted and is gone: {entry}"));
        }
    }
    found
}

/// Sums rise by what was added, each told once.
fn sums(key: &str, entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_version: BTreeMap<u64, i64> = BTreeMap::new();
    let (mut told, mut perhaps) = (0, 0);
    let mut counted = BTreeSet::new();
    for entry in entries {
        let (version, sum) = match &entry.seen {
            Seen::Counted(sum, version) => {
                told += 1;
                if !counted.insert(*sum) {
                    found.push(format!("{key}: the sum {sum} is told twice: {entry}"));
                }
                (*version, *sum)
            }
            Seen::Read(version, text) => (*version, text.parse().unwrap_or(i64::MIN)),
            Seen::PerhapsCounted => {
                perhaps += 1;
                continue;
            }
            _ => continue,
        };
        let first = *by_version.entry(version).or_insert(sum);
        if first != sum {
            found.push(format!("{key}: version {version} is {first} and {sum}"));
        }
    }
    let all: Vec<(&u64, &i64)> = by_version.iter().collect();
    for pair in all.windows(2) {
        if let [(before, low), (after, high)] = pair
            && low >= high
        {
            found.push(format!("{key}: version {before} is {low}, and {after} only {high}"));
        }
    }
    let last = by_version.last_key_value().map_or(0, |(_, sum)| *sum);
    if last < told || last > told + perhaps {
        found.push(format!("{key}: {last} after {told} and perhaps {perhaps} more"));
    }
    found
}

/// Who began after an answer must not be behind it.
fn order(key: &str, entries: &[Entry]) -> Vec<String> {
    let known: BTreeSet<u64> = entries.iter().filter_map(|entry| entry.seen.version()).collect();
    // An absent key comes behind the last change that is not above its version, whichever that was.
    let place = |entry: &Entry| match entry.seen {
        Seen::Absent(version) => {
            Some(known.range(..=version).next_back().map_or(0, |last| 2 * last + 1))
        }
        ref other => other.version().map(|version| 2 * version),
    };
    let mut found = Vec::new();
    let mut by_end: Vec<&Entry> = entries.iter().collect();
    by_end.sort_by_key(|entry| entry.ended);
    let mut by_begin: Vec<&Entry> = entries.iter().collect();
    by_begin.sort_by_key(|entry| entry.begun);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: Option<(u64, &Entry)> = None;
    for entry in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < entry.begun) {
            let Some(place) = place(before) else { continue };
            if highest.is_none_or(|(most, _)| place > most) {
                highest = Some((place, before));
            }
        }
        let (Some((most, before)), Some(place)) = (highest, place(entry)) else { continue };
        if place < most || (entry.seen.changes() && place == most) {
            found.push(format!("{key}: {entry} began after {before} was answered"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(begun: u64, ended: u64, seen: Seen) -> Entry {
        let (begun, ended) = (Duration::from_millis(begun), Duration::from_millis(ended));
        Entry { begun, ended, client: "c".to_owned(), seen }
    }

    fn read(version: u64, value: &str) -> Seen {
        Seen::Read(version, value.to_owned())
    }

    fn wrote(value: &str, version: u64) -> Seen {
        Seen::Wrote(value.to_owned(), version)
    }

    #[test]
    fn a_good_history_has_no_violation() {
        let entries = [
            entry(0, 1, Seen::Absent(0)),
            entry(2, 9, wrote("a", 1)),
            entry(3, 4, Seen::Absent(0)),
            entry(3, 5, read(1, "a")),
            entry(6, 7, read(1, "a")),
            entry(8, 20, Seen::Perhaps("b".to_owned())),
            entry(10, 11, read(2, "b")),
            entry(12, 13, Seen::Refused("c".to_owned())),
            entry(12, 13, Seen::Had(2)),
            entry(14, 20, Seen::Deleted(3)),
            entry(15, 16, read(2, "b")),
            entry(17, 18, Seen::Absent(7)),
            entry(21, 22, wrote("d", 8)),
            entry(23, 24, Seen::PerhapsDeleted),
            entry(25, 26, Seen::Absent(10)),
            // A copy of before: nothing came between.
            entry(27, 28, Seen::Absent(9)),
        ];
        assert_eq!(violations("k", &entries), Vec::<String>::new());
        let entries = [
            entry(0, 9, Seen::Counted(1, 3)),
            entry(0, 9, Seen::PerhapsCounted),
            entry(3, 9, read(5, "2")),
            entry(6, 9, Seen::Counted(3, 6)),
        ];
        assert_eq!(violations("n", &entries), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_violation_is_found() {
        let a = || entry(0, 1, wrote("a", 1));
        let b = || entry(2, 3, wrote("b", 2));
        let refused = || entry(0, 1, Seen::Refused("x".to_owned()));
        let one = || entry(0, 1, Seen::Counted(1, 1));
        for (what, entries) in [
            ("stale read", vec![a(), b(), entry(4, 5, read(1, "a"))]),
            ("absent again", vec![a(), entry(4, 5, Seen::Absent(0))]),
            ("gone", vec![a(), entry(4, 5, Seen::Absent(3))]),
            ("back again", vec![a(), entry(2, 3, Seen::Deleted(2)), entry(4, 5, read(1, "a"))]),
            (
                "absent before",
                vec![a(), entry(2, 3, Seen::Deleted(2)), b(), entry(4, 5, Seen::Absent(0))],
            ),
            (
                "perhaps deleted, and back",
                vec![
                    a(),
                    entry(2, 3, Seen::PerhapsDeleted),
                    entry(4, 5, Seen::Absent(7)),
                    entry(6, 7, read(1, "a")),
                ],
            ),
            ("a condition on what was", vec![b(), entry(4, 5, Seen::Had(1))]),
            ("stale write", vec![b(), entry(4, 5, wrote("a", 1))]),
            ("two values", vec![a(), entry(0, 1, wrote("x", 1))]),
            ("of nobody", vec![entry(0, 1, read(1, "x"))]),
            ("refused", vec![refused(), entry(2, 3, read(1, "x"))]),
            ("from the future", vec![entry(0, 1, read(1, "x")), entry(2, 3, wrote("x", 1))]),
            ("one sum twice", vec![one(), entry(2, 3, Seen::Counted(1, 2))]),
            ("counted twice", vec![one(), entry(2, 3, read(2, "2"))]),
            (
                "not counted",
                vec![one(), entry(2, 3, Seen::Counted(2, 2)), entry(4, 5, read(3, "1"))],
            ),
        ] {
            assert_ne!(violations("k", &entries), Vec::<String>::new(), "{what}");
        }
    }
}
