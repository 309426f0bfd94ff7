//! By what a node acts now: the view, its own lease, and its sessions with the homes.

use std::collections::VecDeque;
use std::sync::Arc;

use dsync_core::cache::item::Session;
use dsync_core::cache::op::Key;
use dsync_core::cache::session::NodeLease;
use dsync_core::cache::view::{Homes, Member, View, partition_of};
use dsync_core::name::Name;

/// Sessions that are over and still known, for reads that may be old.
const PAST_MAX: usize = 256;

/// What every request looks at first.
#[derive(Debug, Default)]
pub(super) struct Acting {
    pub(super) view: Arc<View>,
    pub(super) homes: Arc<Homes>,
    /// The node's own lease, for the epoch of the view.
    pub(super) until: u64,
    /// It may serve as a home.
    pub(super) serving: bool,
    /// It gives up what it has, for a change of the view or for good.
    pub(super) closing: bool,
    /// It does so for good.
    pub(super) leaving: bool,
    /// Sessions with the members, in their order.
    leases: Vec<Option<NodeLease>>,
    past: VecDeque<(Session, Name, u64)>,
}

impl Acting {
    /// Acts by that view; every session is over.
    pub(super) fn adopt(&mut self, view: View) {
        for number in 0..self.leases.len() {
            self.end(number);
        }
        self.homes = Arc::new(Homes::of(&view));
        self.leases = vec![None; view.members.len()];
        self.view = Arc::new(view);
        (self.until, self.serving, self.closing) = (0, false, self.leaving);
    }

    /// Number and record of the home of a key.
    pub(super) fn home(&self, key: &Key) -> Option<(usize, &Member)> {
        let number = self.homes.get(partition_of(key))?;
        Some((number, self.view.members.get(number)?))
    }

    /// The session by which a key is read and written now.
    pub(super) fn session(&self, key: &Key, now: u64) -> Option<Session> {
        if now >= self.until || self.closing {
            return None;
        }
        self.lease(key, now)
    }

    fn lease(&self, key: &Key, now: u64) -> Option<Session> {
        let number = self.homes.get(partition_of(key))?;
        self.leases.get(number)?.as_ref()?.session(now)
    }

    /// The session with the home of a key, whether any lease holds or not: one that has run out may
    /// still be renewed.
    pub(super) fn session_at_all(&self, key: &Key) -> Option<Session> {
        let number = self.homes.get(partition_of(key))?;
        Some(self.leases.get(number)?.as_ref()?.of())
    }

    /// The session with a member.
    pub(super) fn with(&self, number: usize, now: u64) -> Option<Session> {
        self.leases.get(number)?.as_ref()?.session(now)
    }

    /// When the session with the home of a key ends.
    pub(super) fn lease_left(&self, key: &Key, now: u64) -> Option<u64> {
        let number = self.homes.get(partition_of(key))?;
        let lease = self.leases.get(number)?.as_ref()?;
        let until = lease.until().min(self.until);
        (now < until).then(|| until - now)
    }

    /// A session was opened, by a request that was sent then.
    pub(super) fn opened(&mut self, number: usize, session: Session, sent: u64) {
        if session.epoch != self.view.epoch {
            return;
        }
        self.end(number);
        let lease_ms = self.view.members.get(number).map_or(0, |member| member.lease_ms);
        if let Some(lease) = self.leases.get_mut(number) {
            *lease = Some(NodeLease::opened(session, sent, lease_ms));
        }
    }

    /// A session was renewed, by a request that was sent then.
    pub(super) fn renewed(&mut self, number: usize, session: Session, sent: u64) {
        let lease_ms = self.view.members.get(number).map_or(0, |member| member.lease_ms);
        if let Some(Some(lease)) = self.leases.get_mut(number)
            && lease.of() == session
        {
            lease.renewed(sent, lease_ms);
        }
    }

    /// A session is over, as its home says.
    pub(super) fn over(&mut self, number: usize, session: Session) {
        let same = self.leases.get(number).and_then(Option::as_ref);
        if same.is_some_and(|lease| lease.of() == session) {
            self.end(number);
        }
    }

    /// Gives the session with a member up, before another one is asked for: the home ends it with that
    /// request, and a renewal of it that comes late must not bring it back. False, and nothing is done,
    /// if the node acts by another epoch, or gives everything up.
    pub(super) fn give_up(&mut self, number: usize, epoch: u64) -> bool {
        let may = self.view.epoch == epoch && !self.closing;
        if may {
            self.end(number);
        }
        may
    }

    fn end(&mut self, number: usize) {
        let Some(lease) = self.leases.get_mut(number).and_then(Option::take) else { return };
        let Some(home) = self.view.members.get(number) else { return };
        // What was read by it was current as long as both leases held.
        let until = lease.until().min(self.until.max(1));
        self.past.push_back((lease.of(), home.node.clone(), until));
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
    }

    /// How long ago a copy of that session was current for sure; `None`: nobody knows.
    pub(super) fn age(&self, session: Session, now: u64) -> Option<u64> {
        let of_now = self.leases.iter().flatten().filter(|lease| lease.of() == session);
        let until = of_now.map(|lease| lease.until().min(self.until));
        let past = self.past.iter().filter(|(of, _, _)| *of == session).map(|(_, _, until)| *until);
        // Two homes may have had sessions of one number: the older one counts.
        until.chain(past).min().map(|until| now.saturating_sub(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_given_up_is_not_renewed() {
        let node = Name::parse("node", "n").unwrap();
        let address = "n:1".to_owned();
        let member = Member { node, incarnation: 1, address, lease_ms: 1_000, writes_back: false };
        let mut acting = Acting::default();
        acting.adopt(View { epoch: 3, members: vec![member], ..View::default() });
        acting.until = 10_000;
        let (key, session) =
            (Name::parse("key", "k").unwrap(), Session { epoch: 3, generation: 1 });
        acting.opened(0, session, 100);
        assert_eq!(acting.session(&key, 1_000), Some(session));
        acting.renewed(0, session, 200);
        assert_eq!(acting.session(&key, 1_150), Some(session), "a renewal that came in time");
        assert!(!acting.give_up(0, 2), "of another epoch");
        assert_eq!(acting.session(&key, 1_150), Some(session));
        assert!(acting.give_up(0, 3));
        acting.renewed(0, session, 600);
        assert_eq!(acting.session(&key, 1_150), None, "and one that came late");
        assert_eq!(acting.session_at_all(&key), None);
        assert_eq!(acting.age(session, 1_300), Some(100), "it was current until its lease ended");
        acting.closing = true;
        assert!(!acting.give_up(0, 3));
    }
}
