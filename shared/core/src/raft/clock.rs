//! Cluster time: one monotone clock, the leader's, that every log entry carries.
//!
//! - It never goes back, over leaders too: a new leader goes on from the largest time that it has
//!   seen, in an applied entry or in an append of its predecessor.
//! - It never runs ahead of real time elapsed under leaders with quorum contact: it advances only
//!   up to one election timeout beyond the last acknowledgement of a quorum, and stands still
//!   without a leader. So a lease is never cut short by an election, a partition or a pause.

/// The leader's clock. Local times are milliseconds of any monotone clock of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of the name")]
pub struct LeaderClock {
    t_ms: u64,
    local_ms: u64,
    election_timeout_ms: u64,
}

impl LeaderClock {
    /// Starts at `base_ms`, the largest cluster time seen so far.
    pub const fn new(base_ms: u64, local_ms: u64, election_timeout_ms: u64) -> Self {
        Self { t_ms: base_ms, local_ms, election_timeout_ms }
    }

    /// Cluster time now, given when a quorum last acknowledged this leader (`None`: not yet).
    pub fn read(&mut self, local_ms: u64, last_quorum_ack_ms: Option<u64>) -> u64 {
        let trusted_until = last_quorum_ack_ms
            .map_or(self.local_ms, |ack| ack.saturating_add(self.election_timeout_ms));
        let until = local_ms.min(trusted_until);
        self.t_ms = self.t_ms.saturating_add(until.saturating_sub(self.local_ms));
        // What lies between `until` and `local_ms` is time without a quorum: it never counts, not
        // even when contact comes back.
        self.local_ms = self.local_ms.max(local_ms);
        self.t_ms
    }

    /// Goes on from `t_ms` if that is later: a restored backup may have seen more time pass.
    pub const fn catch_up(&mut self, t_ms: u64) -> u64 {
        if t_ms > self.t_ms {
            self.t_ms = t_ms;
        }
        self.t_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_with_contact_and_stands_still_without() {
        let mut clock = LeaderClock::new(1_000, 0, 300);
        assert_eq!(clock.read(50, None), 1_000, "no quorum has acknowledged yet");
        assert_eq!(clock.read(100, Some(90)), 1_050);
        assert_eq!(clock.read(200, Some(190)), 1_150);
        // Contact lost at 190: trusted until 490.
        assert_eq!(clock.read(5_000, Some(190)), 1_440);
        assert_eq!(clock.read(6_000, Some(190)), 1_440);
        // Contact back: the gap is not made up for.
        assert_eq!(clock.read(6_100, Some(6_090)), 1_540);
    }

    #[test]
    fn a_later_state_moves_it_on() {
        let mut clock = LeaderClock::new(1_000, 0, 300);
        assert_eq!(clock.catch_up(900), 1_000);
        assert_eq!(clock.catch_up(5_000), 5_000);
        assert_eq!(clock.read(100, Some(90)), 5_100);
    }

    #[test]
    fn stands_still_at_the_end_of_its_range() {
        let mut clock = LeaderClock::new(u64::MAX - 10, 0, u64::MAX);
        assert_eq!(clock.read(100, Some(90)), u64::MAX);
        assert_eq!(clock.read(200, Some(u64::MAX)), u64::MAX);
    }

    #[test]
    fn never_goes_back() {
        let mut clock = LeaderClock::new(7, 100, 300);
        assert_eq!(clock.read(90, Some(95)), 7);
        assert_eq!(clock.read(110, Some(105)), 17);
    }
}
