//! The client's own count of its lease (rule T6). Pure.

use std::time::Duration;

/// A lease that was acknowledged. Times are [`boot_time`](crate::net::Network::boot_time).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    /// When the request that the cluster acknowledged last was *sent*: the cluster counts from
    /// later, so this side gives up first.
    pub(super) sent: Duration,
    /// Its length.
    pub(super) ttl: Duration,
}

impl Lease {
    /// What is taken off, for clocks that do not run equally fast.
    pub(super) fn margin(ttl: Duration) -> Duration {
        ttl / 50 + Duration::from_millis(50)
    }

    /// From then on someone else may be granted what this session holds.
    pub(super) fn deadline(self) -> Duration {
        self.sent + self.ttl.saturating_sub(Self::margin(self.ttl))
    }

    /// When the next keep-alive is due.
    pub(super) fn renew_at(self) -> Duration {
        self.sent + self.ttl / 3
    }

    /// Pause after a keep-alive that failed.
    pub(super) fn retry_after(self) -> Duration {
        (self.ttl / 30).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// An acknowledgement of what was sent then. An older one changes nothing.
    pub(super) fn acknowledge(&mut self, sent: Duration) {
        self.sent = self.sent.max(sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_send_time_minus_a_margin() {
        let second = Duration::from_secs(1);
        let mut lease = Lease { sent: second * 100, ttl: second * 15 };
        assert_eq!(lease.deadline(), Duration::from_millis(114_650));
        assert_eq!(lease.renew_at(), second * 105);
        lease.acknowledge(second * 106);
        assert_eq!(lease.deadline(), Duration::from_millis(120_650));
        lease.acknowledge(second * 101);
        assert_eq!(lease.sent, second * 106, "a late acknowledgement of an older one");
        let tiny = Lease { sent: second, ttl: Duration::from_millis(1) };
        assert_eq!(tiny.deadline(), second, "never after the server's");
    }
}
