//! How long the writer waits for company before it syncs.
//!
//! Callers who are answered together usually call again together. A writer that goes on with
//! whatever is there splits them into two halves that wait for each other's syncs for ever: half
//! the throughput at twice the latency. So it waits for as many as were on their way when it last
//! answered, and never longer than a fraction of what a sync takes. A single caller never waits.

use std::time::Duration;

/// Longest wait, whatever a sync takes.
const PATIENCE_MAX: Duration = Duration::from_millis(1);

/// Longest time awake without work.
const AWAKE_MAX: Duration = Duration::from_micros(50);

/// What the last answer tells of the next batch.
#[derive(Debug, Default)]
pub(super) struct Pace {
    expected: usize,
    patience: Duration,
}

impl Pace {
    /// A batch was answered: so many calls were in it, so many were waiting by then, and its sync
    /// took so long.
    pub(super) fn answered(&mut self, calls: usize, waiting: usize, took: Duration) {
        self.expected = calls + waiting;
        self.patience = (took / 4).min(PATIENCE_MAX);
    }

    /// True while the writer, with nothing to do, had better not sleep yet.
    pub(super) fn stays_awake(&self, idle: Duration) -> bool {
        idle < self.patience.min(AWAKE_MAX)
    }

    /// True while it is worth waiting for more than the calls at hand.
    pub(super) fn waits(&self, calls: usize, waited: Duration) -> bool {
        calls < self.expected && waited < self.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_single_caller_never_waits() {
        let mut pace = Pace::default();
        assert!(!pace.waits(1, Duration::ZERO));
        pace.answered(1, 0, 40 * MS);
        assert!(!pace.waits(1, Duration::ZERO));
    }

    #[test]
    fn callers_are_waited_for_a_quarter_of_a_sync_at_most() {
        let mut pace = Pace::default();
        pace.answered(30, 34, 2 * MS);
        assert!(pace.waits(34, Duration::ZERO));
        assert!(!pace.waits(64, Duration::ZERO));
        assert!(!pace.waits(34, MS / 2));
        pace.answered(30, 34, 400 * MS);
        assert!(!pace.waits(34, PATIENCE_MAX));
    }
}
