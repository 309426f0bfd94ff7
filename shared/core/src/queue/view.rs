//! Queues as shown to others.

use serde::{Deserialize, Serialize};

use super::limits::Limits;
use crate::name::Name;

/// One queue: how many jobs are where, and what has happened since it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Its name.
    pub queue: Name,
    /// Jobs that wait to be taken.
    pub ready: u64,
    /// Jobs that are not due yet.
    pub delayed: u64,
    /// Jobs that are taken.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Age of the oldest ready job.
    pub oldest_ms: Option<u64>,
    /// Bytes of all payloads.
    pub bytes: u64,
    /// Why nothing is delivered, if that is so.
    pub paused: Option<String>,
    /// Its limits.
    pub limits: Limits,
    /// What has happened.
    pub totals: Totals,
}

/// What became of jobs in one call, whoever asked for it, or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Happened {
    /// Jobs acknowledged, by the pop that took them too.
    pub acked: u64,
    /// Leases that ran out.
    pub expired: u64,
    /// Jobs that went to the dead letters.
    pub died: u64,
}

impl Happened {
    /// What happened between two looks at the counters; nothing if they began anew.
    pub(super) fn between(before: &Totals, after: &Totals) -> Self {
        Self {
            acked: after.acked.saturating_sub(before.acked),
            expired: after.expired.saturating_sub(before.expired),
            died: after.died.saturating_sub(before.died),
        }
    }

    pub(super) fn add(&mut self, more: Self) {
        self.acked += more.acked;
        self.expired += more.expired;
        self.died += more.died;
    }
}

/// Counters of a queue since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Jobs pushed.
    pub pushed: u64,
    /// Pushes of an id that was taken.
    pub duplicates: u64,
    /// Pushes refused because the queue was full.
    pub refused: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Jobs acknowledged.
    pub acked: u64,
    /// Deliveries that failed: nacked, rejected or expired.
    pub failed: u64,
    /// Leases that ran out.
    pub expired: u64,
    /// Jobs that went to the dead letters.
    pub died: u64,
    /// Dead letters put back.
    pub redriven: u64,
    /// Jobs removed by a purge, of the queue or of its dead letters.
    pub purged: u64,
}
