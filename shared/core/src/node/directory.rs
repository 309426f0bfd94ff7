//! The directory: whom a node knows, and for how long.

use std::collections::{BTreeMap, BTreeSet};

use super::{DirectoryEntry, Role};
use crate::name::Name;

/// Most nodes a directory holds, whoever announces them.
pub const DIRECTORY_MAX: usize = 1_024;
/// A node that belongs to nothing is forgotten when nobody has heard it for so long.
pub const FORGET_MS: u64 = 60_000;
/// Times are counted from so long before the clock began, so that what was heard before this
/// process started keeps its age.
const BEFORE: u64 = 1 << 48;

/// The nodes that are known, by name.
///
/// A node that is kept ([`Directory::keep`]) stays for ever; any other is forgotten once nobody has
/// heard it for [`FORGET_MS`], and not learned again from those who still remember it.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    entries: BTreeMap<Name, (DirectoryEntry, u64)>,
    kept: BTreeSet<String>,
}

impl Directory {
    /// Takes an entry in. A higher incarnation replaces a lower one; of one incarnation the more
    /// recently heard counts. `now_ms` is this node's clock.
    ///
    /// # Limits
    /// An entry that is too large is left out, and so is a new one where [`DIRECTORY_MAX`] are.
    pub fn merge(&mut self, now_ms: u64, entry: DirectoryEntry) {
        if !entry.fits() {
            return;
        }
        if entry.heard_ms_ago > FORGET_MS && !self.keeps(&entry) {
            return;
        }
        let heard = moment(now_ms).saturating_sub(entry.heard_ms_ago);
        let full = self.entries.len() >= DIRECTORY_MAX;
        match self.entries.get_mut(&entry.node) {
            Some((old, old_heard)) => {
                let newer = entry.incarnation > old.incarnation;
                if newer || (entry.incarnation == old.incarnation && heard > *old_heard) {
                    *old_heard = heard;
                    *old = entry;
                }
            }
            None if full => {}
            None => {
                self.entries.insert(entry.node.clone(), (entry, heard));
            }
        }
    }

    /// Sets whom to keep, however long they are silent: names of members, and addresses that the
    /// configuration has. Forgets the others whose time is up.
    pub fn keep(&mut self, now_ms: u64, names_and_addresses: BTreeSet<String>) {
        self.kept = names_and_addresses;
        let kept = &self.kept;
        self.entries.retain(|_, (entry, heard)| {
            moment(now_ms).saturating_sub(*heard) <= FORGET_MS || is_among(kept, entry)
        });
    }

    fn keeps(&self, entry: &DirectoryEntry) -> bool {
        is_among(&self.kept, entry)
    }

    /// Every entry, its age counted up to `now_ms`.
    pub fn list(&self, now_ms: u64) -> Vec<DirectoryEntry> {
        self.entries
            .values()
            .map(|(entry, heard)| DirectoryEntry {
                heard_ms_ago: moment(now_ms).saturating_sub(*heard),
                ..entry.clone()
            })
            .collect()
    }

    /// The entry of that name.
    pub fn get(&self, node: &str) -> Option<&DirectoryEntry> {
        self.entries.get(node).map(|(entry, _)| entry)
    }

    /// The nodes of a role, the most recently heard first.
    pub fn of_role(&self, role: Role) -> Vec<DirectoryEntry> {
        let mut found: Vec<_> = self.entries.values().filter(|(e, _)| e.role == role).collect();
        found.sort_by_key(|(_, heard)| std::cmp::Reverse(*heard));
        found.into_iter().map(|(entry, _)| entry.clone()).collect()
    }
}

const fn moment(now_ms: u64) -> u64 {
    BEFORE.saturating_add(now_ms)
}

fn is_among(kept: &BTreeSet<String>, entry: &DirectoryEntry) -> bool {
    kept.contains(entry.node.as_str()) || kept.contains(&entry.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(node: &str, heard_ms_ago: u64) -> DirectoryEntry {
        DirectoryEntry {
            node: Name::parse("NODE_ID", node).unwrap(),
            role: Role::Lock,
            address: format!("{node}:8001"),
            incarnation: 1,
            version: "0.1.0".to_owned(),
            heard_ms_ago,
        }
    }

    fn names(directory: &Directory, now_ms: u64) -> Vec<(String, u64)> {
        directory.list(now_ms).into_iter().map(|e| (e.node.to_string(), e.heard_ms_ago)).collect()
    }

    fn kept() -> BTreeSet<String> {
        BTreeSet::from(["member".to_owned(), "peer:8001".to_owned()])
    }

    #[test]
    fn who_belongs_to_nothing_is_forgotten_after_a_minute_of_silence() {
        let mut directory = Directory::default();
        for node in ["member", "peer", "stranger"] {
            directory.merge(1_000, entry(node, 0));
        }
        directory.keep(61_000, kept());
        assert_eq!(names(&directory, 61_000).len(), 3, "heard exactly a minute ago");
        directory.keep(61_001, kept());
        let left = [("member".to_owned(), 60_001), ("peer".to_owned(), 60_001)];
        assert_eq!(names(&directory, 61_001), left);
    }

    #[test]
    fn the_forgotten_are_not_learned_again_from_others_but_from_themselves() {
        let mut directory = Directory::default();
        directory.keep(100_000, kept());
        for node in ["member", "peer", "stranger"] {
            directory.merge(100_000, entry(node, 60_001));
        }
        assert_eq!(names(&directory, 100_000).len(), 2);
        directory.merge(100_000, entry("stranger", 0));
        assert_eq!(names(&directory, 100_000).len(), 3);
    }

    #[test]
    fn nodes_that_tell_each_other_of_a_silent_one_do_not_keep_it_alive() {
        let (mut a, mut b) = (Directory::default(), Directory::default());
        a.merge(0, entry("stranger", 0));
        for now in (0..=70_000).step_by(500) {
            let (from_a, from_b) = (a.list(now), b.list(now));
            for entry in from_b {
                a.merge(now, entry);
            }
            for entry in from_a {
                b.merge(now, entry);
            }
            a.keep(now, kept());
            b.keep(now, kept());
        }
        assert!(a.list(70_000).is_empty() && b.list(70_000).is_empty());
    }

    #[test]
    fn what_was_heard_before_the_process_started_keeps_its_age() {
        let mut directory = Directory::default();
        directory.merge(5_000, entry("stranger", 50_000));
        assert_eq!(names(&directory, 6_000), [("stranger".to_owned(), 51_000)]);
    }

    #[test]
    fn an_entry_that_is_too_large_is_left_out() {
        let mut directory = Directory::default();
        directory.merge(1_000, entry("a", 0));
        let news = || DirectoryEntry { incarnation: 2, ..entry("a", 0) };
        directory.merge(1_000, DirectoryEntry { version: "1".repeat(65), ..news() });
        directory.merge(1_000, DirectoryEntry { address: "a".repeat(263), ..news() });
        assert_eq!(directory.get("a").unwrap(), &entry("a", 0));
        directory.merge(1_000, DirectoryEntry { version: "1".repeat(64), ..news() });
        assert_eq!(directory.get("a").unwrap().incarnation, 2);
    }

    #[test]
    fn a_new_start_replaces_and_old_news_does_not() {
        let mut directory = Directory::default();
        directory.merge(1_000, entry("a", 0));
        directory.merge(1_000, DirectoryEntry { address: "old:1".into(), ..entry("a", 500) });
        assert_eq!(directory.get("a").unwrap().address, "a:8001");
        let started = DirectoryEntry { incarnation: 2, address: "new:1".into(), ..entry("a", 900) };
        directory.merge(1_000, started);
        assert_eq!(directory.get("a").unwrap().address, "new:1");
    }
}
