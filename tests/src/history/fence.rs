//! L3: a resource that remembers the largest token lets no older one in, and no sure holder out.

use std::collections::BTreeMap;

use dsync_core::lock::Mode;

use super::{History, Us, Violation, Write};

/// Resources guarded by fencing tokens: the pattern that users are told to follow.
#[derive(Debug, Default)]
pub struct Fence {
    largest: BTreeMap<u64, u64>,
}

impl Fence {
    /// Tries to write; true when let in.
    pub fn write(&mut self, at: Us, resource: u64, token: u64) -> Write {
        let largest = self.largest.entry(resource).or_insert(0);
        let accepted = token >= *largest;
        *largest = token.max(*largest);
        Write { at, resource, token, accepted }
    }
}

pub(super) fn check(history: &History) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut largest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut writes = history.writes.clone();
    writes.sort_by_key(|w| w.at);
    for write in &writes {
        let seen = largest.entry(write.resource).or_insert(0);
        if write.accepted && write.token < *seen {
            let text = format!("{write:?} was let in after token {seen}");
            found.push(Violation::new("L3", text));
        }
        *seen = write.token.max(*seen);
    }
    let holds = history.holds().into_iter().filter(|h| h.mode == Mode::Exclusive);
    let holds: BTreeMap<u64, _> = holds.map(|h| (h.token, h)).collect();
    for write in writes.iter().filter(|w| !w.accepted) {
        let sure = holds.get(&write.token).filter(|h| h.from <= write.at && write.at < h.until);
        if let Some(hold) = sure {
            let text = format!("{} was sure to hold, yet {write:?} was refused", hold.owner);
            found.push(Violation::new("L3", text));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::sample::{S, acquire, broken, history};
    use super::*;

    #[test]
    fn a_stale_write_that_is_let_in_is_found() {
        let mut h = history();
        h.ops = vec![acquire(1, S, S + 1, 5)];
        let write = |at, token, accepted| Write { at, resource: 1, token, accepted };
        h.writes = vec![write(S, 5, true), write(2 * S, 4, false), write(3 * S, 6, true)];
        assert_eq!(broken(&h), [""; 0]);
        h.writes.push(write(4 * S, 5, true));
        assert_eq!(broken(&h), ["L3"]);
    }

    #[test]
    fn a_sure_holder_that_is_refused_is_found() {
        let mut h = history();
        h.ops = vec![acquire(1, S, S + 1, 5)];
        h.writes = vec![Write { at: 2 * S, resource: 1, token: 5, accepted: false }];
        assert_eq!(broken(&h), ["L3"]);
    }

    #[test]
    fn the_fence_refuses_what_is_older() {
        let mut fence = Fence::default();
        assert!(fence.write(1, 1, 5).accepted);
        assert!(fence.write(2, 1, 5).accepted);
        assert!(!fence.write(3, 1, 4).accepted);
        assert!(fence.write(4, 2, 4).accepted, "another resource");
    }
}
