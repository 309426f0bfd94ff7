//! The Raft log on disk: numbered segments of checksummed records, written by one writer.
//!
//! Why not a crate: `docs/adr/004-own-raft-log.md`.
//!
//! # On disk
//! A folder of files `log-<sequence, 16 hex digits>.seg`. A segment is the eight bytes `DSYNCLOG`
//! and records, then zeros: space is written ahead so that a sync need not change the file's
//! length. A record is
//! `length u32 | crc32c u32 | kind u8 | format u8 | synced u32 | payload`, little endian, where
//! `synced` is how many bytes of this segment were on disk when the record was written, and the
//! checksum covers the segment's sequence, the record's offset, the fields after it and the
//! payload. Payloads are [`dsync::peer`] types in postcard. The first record is a head: the state
//! (vote, committed, purged, last) at that point, so that older segments can be removed.
//!
//! # Invariants
//! 1. An append is reported flushed, and a vote saved, only after `sync_data` returned.
//! 2. All records go through one queue, in order; callbacks complete in that order.
//! 3. The first failed write or sync stops the store for good: every later call fails with that
//!    error, nothing is retried, and the process should end.
//! 4. A new segment gets its name only when its head is on disk and the one before it is complete
//!    on disk.
//! 5. A segment is removed only when the purge that frees it is on disk.
//! 6. At start the last segment is written anew into a file of its own before anything is served:
//!    a byte that was read is then known to be on disk, even after an fsync that failed.
//!
//! # What a bad record means at start
//! In a segment that is not the last, or in a head: damage, and the store refuses to open. In the
//! last segment it is damage when a good record behind it says, in `synced`, that the bad place
//! was on disk already; else it is what an interrupted write leaves, and is cut off with a line
//! in the log. Of one kind of damage nothing is left to tell: bytes of the very last batch, when
//! nothing was written after it. A clean stop ends with a record that closes this gap.
//!
//! # Limits
//! Entries stay in memory from the last purge on and are read from memory only: the snapshot
//! policy bounds them. One entry is at most [`RECORD_MAX`] encoded; the queue holds
//! [`QUEUE_MAX`] calls, then appends wait.

mod error;
mod memory;
mod mutant;
mod record;
mod recover;
mod segment;
mod stats;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{LogError, LogFailure};
pub use record::RECORD_MAX;
pub use segment::holds_log;
pub use stats::SyncLatency;
pub use store::{LogOptions, LogReader, LogStatus, LogStore, LogWatch, QUEUE_MAX, WriterKind};
