//! A lease as its holder counts it (rule T6). Pure.
//!
//! The holder counts from when it *sent* the last keep-alive that was acknowledged, and takes a
//! margin off: so it gives up before the cluster, which counts from the commit, may grant to
//! another.

use std::time::Duration;

/// A lease that was acknowledged. Times are readings of one clock that runs on while the machine
/// sleeps (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When the request was sent that was acknowledged last.
    pub confirmed: Duration,
    /// How long the lease runs from then.
    pub ttl: Duration,
}

impl Lease {
    /// What is taken off: clocks do not run equally fast, and a killed child needs a moment to be
    /// gone.
    fn margin(self) -> Duration {
        self.ttl / 50 + Duration::from_millis(50)
    }

    /// From then on someone else may be granted what is held on this lease.
    pub fn deadline(self) -> Duration {
        self.confirmed + self.ttl.saturating_sub(self.margin())
    }

    /// Time left until the deadline.
    pub fn left(self, now: Duration) -> Duration {
        self.deadline().saturating_sub(now)
    }

    /// When the next keep-alive is due: after a third, so that a few may fail.
    pub fn renew_at(self) -> Duration {
        self.confirmed + self.ttl / 3
    }

    /// Longest time for one keep-alive: a node that does not answer, or hands it to a leader that
    /// does not, must leave time for others before the child of `lock run` is asked to end.
    pub fn attempt(self) -> Duration {
        (self.ttl / 8).max(Duration::from_millis(200))
    }

    /// Pause after a keep-alive that failed.
    pub fn retry_after(self) -> Duration {
        (self.ttl / 30).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// An acknowledgement of what was sent then, after which `expires_in` was left. An older one
    /// changes nothing; one that gives more than the lease, as a new leader does for a while, is
    /// not counted on.
    pub fn acknowledge(&mut self, sent: Duration, expires_in: Duration) {
        let counted = (sent + expires_in.min(self.ttl)).saturating_sub(self.ttl);
        self.confirmed = self.confirmed.max(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn counts_from_the_send_time_minus_a_margin() {
        let lease = Lease { confirmed: SECOND * 100, ttl: SECOND * 15 };
        // 15 s / 50 + 50 ms = 350 ms.
        assert_eq!(lease.deadline(), Duration::from_millis(114_650));
        assert_eq!(lease.renew_at(), SECOND * 105);
        assert_eq!(lease.attempt(), Duration::from_millis(1_875));
        assert_eq!(lease.left(SECOND * 114), Duration::from_millis(650));
        assert_eq!(lease.left(SECOND * 200), Duration::ZERO);
        let tiny = Lease { confirmed: SECOND, ttl: Duration::from_millis(1) };
        assert_eq!(tiny.deadline(), SECOND, "never after the cluster's");
    }

    #[test]
    fn an_acknowledgement_moves_it_forward_by_what_it_gave() {
        let mut lease = Lease { confirmed: SECOND * 100, ttl: SECOND * 15 };
        lease.acknowledge(SECOND * 106, SECOND * 15);
        assert_eq!(lease.confirmed, SECOND * 106);
        lease.acknowledge(SECOND * 101, SECOND * 15);
        assert_eq!(lease.confirmed, SECOND * 106, "a late acknowledgement of an older one");
        lease.acknowledge(SECOND * 110, SECOND * 60);
        assert_eq!(lease.confirmed, SECOND * 110, "more than the lease");
        lease.acknowledge(SECOND * 114, SECOND * 14);
        assert_eq!(lease.confirmed, SECOND * 113, "less than the lease");
    }
}
