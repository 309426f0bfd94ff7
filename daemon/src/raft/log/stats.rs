//! How long syncs take.

use std::collections::VecDeque;
use std::time::Duration;

/// Syncs that the figures look back on.
const WINDOW: usize = 1_000;

/// Durations of the last syncs.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    recent: VecDeque<Duration>,
    total: u64,
}

/// How long the last 1 000 syncs took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncLatency {
    /// Half of them were no slower.
    pub p50: Duration,
    /// 99 of 100 were no slower.
    pub p99: Duration,
    /// Syncs since the start.
    pub total: u64,
}

impl Latencies {
    pub(super) fn record(&mut self, took: Duration) {
        if self.recent.len() == WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(took);
        self.total += 1;
    }

    pub(super) fn summary(&self) -> SyncLatency {
        let mut sorted: Vec<Duration> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default()
        };
        SyncLatency { p50: at(50), p99: at(99), total: self.total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_over_the_last_thousand() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), SyncLatency::default());
        (0..500).for_each(|_| latencies.record(Duration::from_secs(9)));
        (1..=1_000).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let summary = latencies.summary();
        assert_eq!(summary.p50, Duration::from_millis(500));
        assert_eq!(summary.p99, Duration::from_millis(990));
        assert_eq!(summary.total, 1_500);
    }
}
