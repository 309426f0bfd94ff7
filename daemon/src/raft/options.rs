//! How the engine is set.

use std::io;
use std::sync::Arc;

use dsync_core::config::Timers;
use openraft::{Config, SnapshotPolicy};

/// Largest command of one log entry, unless a role has larger ones.
pub const COMMAND_MAX: usize = 128 * 1024;
/// Bytes of a log in memory.
const LOG_BYTES: usize = 64 << 20;
/// Bytes of the entries of one append: together they stay below the peers' frame limit of 16 MiB.
const APPEND_MAX: usize = 13 << 20;
/// Entries of one append.
const ENTRIES_PER_APPEND: usize = 100;

/// How the engine keeps its log short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineOptions {
    /// Entries between two snapshots. A tenth as many are kept behind one, for followers that are
    /// a little behind.
    pub snapshot_every: u64,
    /// Largest command of one entry.
    pub command_max: usize,
    /// Bytes of the log in memory above which a snapshot is taken, whatever the entries.
    pub log_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { snapshot_every: 20_000, command_max: COMMAND_MAX, log_bytes: LOG_BYTES }
    }
}

impl EngineOptions {
    fn entries_per_append(self) -> u64 {
        let fit = APPEND_MAX / self.command_max.max(1);
        u64::try_from(fit.clamp(1, ENTRIES_PER_APPEND)).unwrap_or(1)
    }
}

/// openraft's settings for our timers and options.
pub(super) fn raft_config(timers: &Timers, options: EngineOptions) -> io::Result<Arc<Config>> {
    let config = Config {
        cluster_name: "dsync".to_owned(),
        heartbeat_interval: timers.heartbeat_ms,
        election_timeout_min: timers.election_min_ms,
        election_timeout_max: timers.election_max_ms,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: None,
        quorum_loss_probe_interval: Some(2 * timers.election_max_ms),
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        install_snapshot_timeout: 30_000,
        max_payload_entries: options.entries_per_append(),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every),
        max_in_snapshot_log_to_keep: options.snapshot_every / 10,
        replication_lag_threshold: options.snapshot_every.saturating_mul(2),
        broadcast_submitted_on_append: Some(true),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(io::Error::other)
}
