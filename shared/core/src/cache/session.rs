//! Sessions: one lease for each pair of a home and a node, whatever number of keys.
//!
//! A node counts its lease from when it sent the request, its home from when that came, and a
//! little longer: so a node never reads after its home has counted it out, if the rates of their
//! clocks differ by less than the margin.

use std::collections::BTreeMap;

use super::item::Session;

/// By how much longer a home counts a lease: a twentieth.
pub const MARGIN_DIVISOR: u64 = 20;

/// A lease with the margin, in milliseconds.
pub const fn with_margin(lease_ms: u64) -> u64 {
    lease_ms + lease_ms.div_ceil(MARGIN_DIVISOR)
}

/// A node's lease, as the node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeLease {
    session: Session,
    until: u64,
}

impl NodeLease {
    /// The answer to a request to open a session that was sent then.
    pub fn opened(session: Session, sent: u64, lease_ms: u64) -> Self {
        Self { session, until: sent + lease_ms }
    }

    /// The answer to a renewal that was sent then. One that was sent earlier shortens nothing.
    pub fn renewed(&mut self, sent: u64, lease_ms: u64) {
        self.until = self.until.max(sent + lease_ms);
    }

    /// The session, whether the lease holds or not.
    pub fn of(&self) -> Session {
        self.session
    }

    /// When the lease ends.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// The session, while the lease holds.
    pub fn session(&self, now: u64) -> Option<Session> {
        (now < self.until).then_some(self.session)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Opened {
    incarnation: u64,
    session: Session,
    until: u64,
}

/// What came of a request for a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// There it is. An earlier one of the same run of the node ended with it.
    Opened {
        /// The new one.
        session: Session,
        /// The one that ended.
        ended: Option<Session>,
    },
    /// Another run of the node may still hold a session: ask again in so many milliseconds.
    Wait(u64),
    /// A later request of the node came before this one: nothing is done.
    Late,
}

/// The sessions of a home, in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HomeSessions<N> {
    epoch: u64,
    lease_ms: u64,
    open: BTreeMap<N, Opened>,
    generations: BTreeMap<N, u64>,
    /// The last request of each node: which run of it, and which of that run's.
    asked: BTreeMap<N, (u64, u64)>,
}

impl<N: Ord + Clone> HomeSessions<N> {
    /// None yet.
    pub fn new(epoch: u64, lease_ms: u64) -> Self {
        let (open, generations, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { epoch, lease_ms, open, generations, asked }
    }

    /// A node asks for a session, with a request whose number rises in each run of it. It has dropped
    /// what an earlier session of its run gave; so a request that comes late opens nothing: it would
    /// end the session that a later one has opened. Another run under the node's name may be paused,
    /// not dead: its lease is waited for.
    pub fn open(&mut self, node: &N, (incarnation, number): (u64, u64), now: u64) -> Opening {
        let last = self.asked.get(node).filter(|(run, _)| *run == incarnation);
        if last.is_some_and(|(_, last)| number <= *last) {
            return Opening::Late;
        }
        let before = self.open.get(node);
        if let Some(other) = before.filter(|one| one.incarnation != incarnation && now < one.until)
        {
            return Opening::Wait(other.until - now);
        }
        let ended = before.map(|one| one.session);
        self.asked.insert(node.clone(), (incarnation, number));
        let generation = self.generations.entry(node.clone()).or_default();
        *generation += 1;
        let session = Session { epoch: self.epoch, generation: *generation };
        let until = now + with_margin(self.lease_ms);
        self.open.insert(node.clone(), Opened { incarnation, session, until });
        Opening::Opened { session, ended }
    }

    /// Renews a session that is open. False: it is over.
    pub fn renew(&mut self, node: &N, session: Session, now: u64) -> bool {
        let until = now + with_margin(self.lease_ms);
        let Some(open) = self.open.get_mut(node) else { return false };
        let live = open.session == session && now < open.until;
        if live {
            open.until = until;
        }
        live
    }

    /// Ends a session that its node knows to be over.
    pub fn end(&mut self, node: &N, session: Session) -> bool {
        let open = self.open.get(node).is_some_and(|open| open.session == session);
        if open {
            self.open.remove(node);
        }
        open
    }

    /// Ends what has run out by now, and gives it.
    pub fn run_out(&mut self, now: u64) -> Vec<(N, Session)> {
        let (open, gone): (BTreeMap<N, Opened>, BTreeMap<N, Opened>) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, open)| now < open.until);
        self.open = open;
        gone.into_iter().map(|(node, open)| (node, open.session)).collect()
    }

    /// When the next one runs out.
    pub fn next_end(&self) -> Option<u64> {
        self.open.values().map(|open| open.until).min()
    }

    /// A node's session, as long as nobody has counted it out.
    pub fn live(&self, node: &N) -> Option<Session> {
        self.open.get(node).map(|open| open.session)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: u64 = 2_000;

    proptest! {
        /// Whatever was sent when, and however long it took: a node that still reads is not counted
        /// out, with clocks whose rates differ by up to 4 %.
        #[test]
        fn a_node_stops_before_its_home_counts_it_out(
            rate in 96_u64..=104,
            beats in prop::collection::vec((0_u64..1_500, 0_u64..1_900), 1..20),
        ) {
            // The node's clock goes `rate` to the home's 100.
            let of_node = |home: u64| home * rate / 100;
            let mut home = HomeSessions::new(1, LEASE);
            let mut now = 1_000;
            let Opening::Opened { session, .. } = home.open(&"n", (7, 1), now) else { panic!("free") };
            let mut node = NodeLease::opened(session, of_node(now), LEASE);
            for (pause, trip) in beats {
                let sent = now + pause;
                now = sent + trip;
                if node.session(of_node(now)).is_some() {
                    prop_assert_eq!(home.live(&"n"), Some(session));
                    prop_assert!(home.run_out(now).is_empty());
                }
                home.run_out(now);
                if home.renew(&"n", session, now) {
                    node.renewed(of_node(sent), LEASE);
                }
            }
        }
    }

    #[test]
    fn another_run_of_a_node_waits_for_the_lease() {
        let mut home = HomeSessions::new(3, LEASE);
        let first = Session { epoch: 3, generation: 1 };
        assert_eq!(home.open(&"n", (1, 1), 0), Opening::Opened { session: first, ended: None });
        assert_eq!(home.open(&"n", (2, 1), 100), Opening::Wait(with_margin(LEASE) - 100));
        let second = Session { epoch: 3, generation: 2 };
        let again = Opening::Opened { session: second, ended: Some(first) };
        assert_eq!(home.open(&"n", (1, 1), 100), Opening::Late, "a copy that comes late");
        assert_eq!(home.open(&"n", (1, 2), 100), again, "the same run dropped what it had");
        assert_eq!(home.open(&"n", (1, 2), 100), Opening::Late, "and ends nothing");
        assert_eq!(home.live(&"n"), Some(second));
        assert!(!home.renew(&"n", first, 100));
        assert_eq!(home.next_end(), Some(100 + with_margin(LEASE)));
        assert_eq!(home.run_out(100 + with_margin(LEASE)), [("n", second)]);
        assert_eq!(home.live(&"n"), None);
    }
}
