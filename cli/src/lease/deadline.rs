//! What becomes of a child as its lease runs out, pure. Times are readings of `CLOCK_BOOTTIME`.

use std::time::Duration;

use dsync_core::lock::Lease;

/// Longest time between TERM and KILL unless asked otherwise.
const GRACE: Duration = Duration::from_secs(10);

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

/// Time from TERM to KILL: what was asked for, at most a third of the lease.
pub(crate) fn grace(lease: Lease, asked: Option<Duration>) -> Duration {
    asked.unwrap_or(GRACE).min(lease.ttl / 3)
}

/// What to do with the child at `now`.
pub(crate) fn phase(lease: Lease, now: Duration, grace: Duration) -> Phase {
    let deadline = lease.deadline();
    let term = deadline.saturating_sub(grace);
    if now >= deadline {
        Phase::Kill
    } else if now >= term {
        Phase::Term(deadline.saturating_sub(now))
    } else {
        Phase::Run(term.saturating_sub(now))
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
    fn the_grace_is_at_most_a_third() {
        assert_eq!(grace(LEASE, None), ms(5_000));
        assert_eq!(grace(LEASE, Some(ms(60_000))), ms(5_000));
        assert_eq!(grace(LEASE, Some(ms(100))), ms(100));
        assert_eq!(grace(Lease { ttl: ms(3_600_000), ..LEASE }, None), ms(10_000));
    }

    #[test]
    fn first_term_then_kill() {
        let at = |now| phase(LEASE, ms(now), ms(5_000));
        assert_eq!(at(100_000), Phase::Run(ms(9_650)));
        assert_eq!(at(109_649), Phase::Run(ms(1)));
        assert_eq!(at(109_650), Phase::Term(ms(5_000)));
        assert_eq!(at(114_649), Phase::Term(ms(1)));
        assert_eq!(at(114_650), Phase::Kill);
        // A machine that slept past the deadline kills at once.
        assert_eq!(at(900_000), Phase::Kill);
    }

    #[test]
    fn a_lease_shorter_than_its_margin_is_over_at_once() {
        let tiny = Lease { confirmed: ms(0), ttl: ms(10) };
        assert_eq!(phase(tiny, ms(0), grace(tiny, None)), Phase::Kill);
    }

    #[test]
    fn a_keep_alive_in_time_always_comes_before_term() {
        for ttl in [1_000, 1_500, 15_000, 86_400_000] {
            let lease = Lease { confirmed: ms(0), ttl: ms(ttl) };
            let term = lease.deadline().saturating_sub(grace(lease, None));
            assert!(lease.renew_at() < term, "{ttl}");
        }
    }
}
