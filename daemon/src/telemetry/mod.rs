//! What a node tells of itself: logs, metrics, health.

mod cache;
mod escape;
mod http;
#[cfg(test)]
mod http_tests;
mod labels;
mod logging;
mod metrics;
mod readiness;
mod recent;

use std::sync::Arc;

pub use cache::{CacheMetrics, CacheNow};
pub use http::{CannotListen, HttpServer};
pub use labels::{CacheRead, CallTo, State};
pub use labels::{ElectionReason, Expired, JobEvent, Outcome, Plane, RaftState, RequestKind};
pub use logging::{CannotLog, init};
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use recent::Recent;

/// Handles of everything above, cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry {
    /// Counters, gauges and histograms.
    pub metrics: Arc<Metrics>,
    /// The last warnings.
    pub recent: Recent,
    /// Whether the node serves requests.
    pub readiness: Readiness,
}

impl Telemetry {
    /// Handles for a node that has not begun to serve; `recent` is what [`init`] gave.
    pub fn new(recent: Recent) -> Self {
        Self { metrics: Metrics::new(), recent, readiness: Readiness::new("starting") }
    }
}

/// The wall clock in milliseconds since 1970, for people: nothing is decided by it.
pub fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
