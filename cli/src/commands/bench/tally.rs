//! Counting: what each client saw, and all of it together.

use std::time::Duration;

use dsync_core::Fault;
use hdrhistogram::Histogram;

use crate::output::human;

/// Longest operation that is told from a longer one: ten minutes.
const LONGEST_US: u64 = 600_000_000;

/// What was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Report {
    /// `lock`, `lock-contended`, `sessions`, `queue` or `cache`.
    pub(crate) what: &'static str,
    pub(crate) clients: u32,
    pub(crate) connections: u32,
    /// Operations per second.
    pub(crate) rate: f64,
    pub(crate) operations: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
    pub(crate) errors: u64,
    /// One error in words, so that a number is not all there is.
    pub(crate) error: Option<String>,
}

/// Latencies and errors of one measurement.
#[derive(Debug)]
pub(super) struct Tally {
    /// Always there: the bounds are valid.
    latencies: Option<Histogram<u64>>,
    errors: u64,
    error: Option<String>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            latencies: Histogram::new_with_bounds(1, LONGEST_US, 3).ok(),
            errors: 0,
            error: None,
        }
    }

    /// Counts one operation.
    pub(super) fn operation(&mut self, took: Duration) {
        if let Some(latencies) = &mut self.latencies {
            latencies.saturating_record(human::micros(took).max(1));
        }
    }

    /// Counts one failure.
    pub(super) fn error(&mut self, fault: &Fault) {
        self.errors += 1;
        self.error.get_or_insert_with(|| fault.message.clone());
    }

    /// Operations so far.
    pub(super) fn operations(&self) -> u64 {
        self.latencies.as_ref().map_or(0, Histogram::len)
    }

    /// Errors so far.
    pub(super) fn errors(&self) -> u64 {
        self.errors
    }

    /// The figures.
    pub(super) fn report(
        &self,
        what: &'static str,
        clients: u32,
        connections: u32,
        elapsed: Duration,
    ) -> Report {
        let operations = self.operations();
        let counted: f64 = f64::from(u32::try_from(operations).unwrap_or(u32::MAX));
        let ms = |quantile: f64| {
            let us = self.latencies.as_ref().map_or(0, |l| l.value_at_quantile(quantile));
            Duration::from_micros(us).as_secs_f64() * 1e3
        };
        Report {
            what,
            clients,
            connections,
            rate: counted / elapsed.as_secs_f64().max(1e-9),
            operations,
            elapsed_ms: human::millis(elapsed),
            p50_ms: ms(0.5),
            p90_ms: ms(0.9),
            p99_ms: ms(0.99),
            p999_ms: ms(0.999),
            max_ms: ms(1.0),
            errors: self.errors,
            error: self.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_rate_come_from_what_was_counted() {
        let mut tally = Tally::new();
        for ms in 1..=100 {
            tally.operation(Duration::from_millis(ms));
        }
        tally.error(&Fault::unavailable("first"));
        tally.error(&Fault::unavailable("second"));
        let report = tally.report("lock", 4, 2, Duration::from_secs(2));
        assert!((report.rate - 50.0).abs() < 1e-9);
        assert!((report.p50_ms - 50.0).abs() < 0.1, "{}", report.p50_ms);
        assert!((report.p99_ms - 99.0).abs() < 0.1, "{}", report.p99_ms);
        assert_eq!((report.errors, report.error.as_deref()), (2, Some("first")));
    }
}
