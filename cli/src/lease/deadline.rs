//! When a lease ends for its holder (rule T6), pure. Times are readings of `CLOCK_BOOTTIME`.
//!
//! The holder counts from when it *sent* the last keep-alive that was acknowledged, and takes a margin
//! off: so it gives up before the cluster, which counts from the commit, may grant to another.

use std::time::Duration;

/// Longest time between TERM and KILL unless asked otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// A lease as its holder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// When the request was sent that was last acknowledged.
    pub(crate) confirmed: Duration,
    /// How long the lease runs from then.
    pub(crate) ttl: Duration,
}

/// What to do with a child now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Let it run; look again after so long.
    Run(Duration),
    /// Ask it to end; kill it after so long.
    Term(Duration),
    /// Kill it.
    Kill,
}

impl Lease {
    /// Taken off: clocks drift, and a killed child needs a moment to be gone.
    fn margin(self) -> Duration {
        self.ttl / 50 + Duration::from_millis(50)
    }

    /// From here on the lock may be someone else's.
    pub(crate) fn deadline(self) -> Duration {
        (self.confirmed + self.ttl).saturating_sub(self.margin())
    }

    /// Time left until the deadline.
    pub(crate) fn left(self, now: Duration) -> Duration {
        self.deadline().saturating_sub(now)
    }

    /// When the next keep-alive is due: after a third, so that two may fail.
    pub(crate) fn renew_at(self) -> Duration {
        self.confirmed + self.ttl / 3
    }

    /// Time from TERM to KILL: what was asked for, at most a third of the lease.
    pub(crate) fn grace(self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(GRACE).min(self.ttl / 3)
    }

    /// What to do with the child at `now`.
    pub(crate) fn phase(self, now: Duration, grace: Duration) -> Phase {
        let deadline = self.deadline();
        let term = deadline.saturating_sub(grace);
        if now >= deadline {
            Phase::Kill
        } else if now >= term {
            Phase::Term(deadline.saturating_sub(now))
        } else {
            Phase::Run(term.saturating_sub(now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const LEASE: Lease = Lease { confirmed: ms(100_000), ttl: ms(15_000) };

    #[test]
    fn the_deadline_is_before_the_clusters_own() {
        // 15 s / 50 + 50 ms = 350 ms.
        assert_eq!(LEASE.deadline(), ms(114_650));
        assert_eq!(LEASE.renew_at(), ms(105_000));
        assert_eq!(LEASE.left(ms(114_000)), ms(650));
        assert_eq!(LEASE.left(ms(200_000)), ms(0));
    }

    #[test]
    fn the_grace_is_at_most_a_third() {
        assert_eq!(LEASE.grace(None), ms(5_000));
        assert_eq!(LEASE.grace(Some(ms(60_000))), ms(5_000));
        assert_eq!(LEASE.grace(Some(ms(100))), ms(100));
        let long = Lease { ttl: ms(3_600_000), ..LEASE };
        assert_eq!(long.grace(None), ms(10_000));
    }

    #[test]
    fn first_term_then_kill() {
        let grace = ms(5_000);
        assert_eq!(LEASE.phase(ms(100_000), grace), Phase::Run(ms(9_650)));
        assert_eq!(LEASE.phase(ms(109_649), grace), Phase::Run(ms(1)));
        assert_eq!(LEASE.phase(ms(109_650), grace), Phase::Term(ms(5_000)));
        assert_eq!(LEASE.phase(ms(114_649), grace), Phase::Term(ms(1)));
        assert_eq!(LEASE.phase(ms(114_650), grace), Phase::Kill);
        // A machine that slept past the deadline kills at once.
        assert_eq!(LEASE.phase(ms(900_000), grace), Phase::Kill);
    }

    #[test]
    fn a_lease_shorter_than_its_margin_is_over_at_once() {
        let tiny = Lease { confirmed: ms(0), ttl: ms(10) };
        assert_eq!(tiny.phase(ms(0), tiny.grace(None)), Phase::Kill);
    }

    #[test]
    fn a_keep_alive_in_time_always_comes_before_term() {
        for ttl in [1_000, 1_500, 15_000, 86_400_000] {
            let lease = Lease { confirmed: ms(0), ttl: ms(ttl) };
            let term = lease.deadline().saturating_sub(lease.grace(None));
            assert!(lease.renew_at() < term, "{ttl}");
        }
    }
}
