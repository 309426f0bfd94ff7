//! Limits of a queue, set by its users.

use serde::{Deserialize, Serialize};

/// How long ids of acknowledged jobs are remembered unless set otherwise.
pub const DEDUP_MS: u64 = 120_000;

/// Limits of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Jobs that are ready, delayed or leased; 0: no limit of its own.
    pub max_jobs: u64,
    /// What a push to a full queue does.
    pub overflow: Overflow,
    /// Jobs that may be leased at one time; 0: no limit.
    pub max_in_flight: u32,
    /// Deliveries in a second, on average; 0: no limit.
    pub rate_per_s: u32,
    /// Deliveries at once after a pause; at least 1 with a rate.
    pub burst: u32,
    /// How long ids of acknowledged jobs are remembered.
    pub dedup_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_jobs: 0,
            overflow: Overflow::Reject,
            max_in_flight: 0,
            rate_per_s: 0,
            burst: 0,
            dedup_ms: DEDUP_MS,
        }
    }
}

/// What a push to a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// It is refused.
    Reject,
    /// The oldest ready job of the lowest priority goes to the dead letters to make room.
    DropOldest,
}
