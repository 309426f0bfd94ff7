//! Signs of life as the leader of the nodes hears them. They are not replicated: a new leader hears
//! them anew, and a node is counted out by what others saw, not by what is missing here.

use std::collections::BTreeMap;
use std::time::Duration;

use dsync_core::cache::command::Sign;
use dsync_core::cache::view::{Beat, View};
use dsync_core::name::Name;
use tokio::time::Instant;

/// One that is in no view is forgotten after so long.
const FORGET: Duration = Duration::from_secs(60);

/// Who gave a sign of life, and when.
#[derive(Debug, Default)]
pub(super) struct Beats {
    of: BTreeMap<Name, (Beat, Instant)>,
}

impl Beats {
    /// Takes a sign of life. Gives what stood under its name before: who asks knows its own sign, and
    /// that of another process of its name is to be seen.
    pub(super) fn note(&mut self, sign: &Sign, now: Instant) -> Option<Beat> {
        let node = &sign.member.node;
        let before = self.of.get(node).map(|(beat, _)| beat.clone());
        if !sign.leaves {
            let beat = Beat { member: sign.member.clone(), count: sign.count };
            self.of.insert(node.clone(), (beat, now));
        } else if self.of.get(node).is_some_and(|(beat, _)| beat.member == sign.member) {
            self.of.remove(node);
        }
        before
    }

    /// All that are known, by name; who is in no view and has been silent is forgotten.
    pub(super) fn all(&mut self, view: &View, now: Instant) -> Vec<Beat> {
        self.of.retain(|node, (_, at)| {
            now.saturating_duration_since(*at) <= FORGET || view.member(node).is_some()
        });
        self.of.values().map(|(beat, _)| beat.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::cache::view::Member;

    use super::*;

    fn sign(node: &str, incarnation: u64, leaves: bool) -> Sign {
        let node = Name::parse("node", node).unwrap();
        let address = "a:1".to_owned();
        let member = Member { node, incarnation, address, lease_ms: 1, writes_back: false };
        Sign { member, count: 1, leaves }
    }

    #[test]
    fn who_is_silent_is_forgotten_unless_it_takes_part() {
        let (mut beats, begin) = (Beats::default(), Instant::now());
        let view = View { epoch: 1, members: vec![sign("a", 1, false).member], ..View::default() };
        let names = |beats: Vec<Beat>| -> Vec<String> {
            beats.into_iter().map(|beat| beat.member.node.to_string()).collect()
        };
        for node in ["c", "a", "b"] {
            assert_eq!(beats.note(&sign(node, 1, false), begin), None);
        }
        let before = beats.note(&sign("c", 2, true), begin).unwrap();
        assert_eq!(before.member.incarnation, 1, "what stood there");
        assert_eq!(names(beats.all(&view, begin)), ["a", "b", "c"], "another run of it left");
        beats.note(&sign("c", 1, true), begin);
        assert_eq!(names(beats.all(&view, begin + FORGET)), ["a", "b"]);
        assert_eq!(names(beats.all(&view, begin + FORGET * 2)), ["a"]);
    }
}
