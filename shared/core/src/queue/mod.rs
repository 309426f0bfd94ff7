//! The job queue: leased, fenced, at least once. Pure.
//!
//! [`QueueMachine`] is the queue itself, replicated by the Raft store. The Redis store does the same
//! in Lua, one queue at a time; one suite runs against both, and random histories are compared.
//!
//! # Time
//! All times are milliseconds of the store's own clock: cluster time with Raft, Redis `TIME` with
//! Redis. Clients say durations, never points in time.
//!
//! # Where a job is
//! A job exists from its push until it is acknowledged or removed. It is in exactly one place:
//! *ready*, *delayed* (pushed with a delay, or pausing after a failure), *leased*, or *dead*.
//! Ready jobs go by priority, 9 first, and within a priority in the order in which they became
//! ready; a job that was leased before goes to the head of its priority, all others to the tail.
//! A delayed job becomes ready at the tail (head after a failure) once it is due.
//!
//! # Rules
//! - **Push**: an id that exists, or was acknowledged within the dedup window, is a duplicate and
//!   changes nothing. A full queue (`max_jobs` of ready, delayed and leased) refuses the job, or
//!   with `DropOldest` sends its oldest ready job of the lowest priority to the dead letters
//!   (cause "dropped: …") first; if none is ready it refuses.
//! - **Pop** delivers up to `max` ready jobs, as `max_in_flight` and the rate allow. Each delivery
//!   gets the next token of the queue and counts an attempt. The answer is remembered under the
//!   request until the longest of its leases has ended: a repetition gives those of its jobs that
//!   are still leased under the same token, with the lease time that is left. An empty answer is
//!   not remembered. A pop with `ack` leaves no lease: the job is done at once. Who carried a pop
//!   out for a client that is gone by then gives it back by its request: that does nothing if the
//!   client has asked again meanwhile, by whatever way, and so has the jobs.
//! - **Receipts**: `ack`, `nack`, `reject`, `release`, `extend` act only on a job that is leased
//!   under the receipt's token; all others are stale. The last of those that ended a lease is
//!   remembered with the job (after an ack with its id, for the dedup window): the same command
//!   with the same token again answers as before.
//! - **A failed delivery** (nack, expired lease): with `max_attempts` reached the job goes to the
//!   dead letters; else it pauses for the nack's delay, or the backoff after the n-th attempt:
//!   `min(max, base·2^(n-1))` less a quarter plus up to a half of it by [`jitter`]; with no pause it
//!   is ready again at the head. An expired lease has no pause: it goes to the head at once.
//!   `release` takes the attempt back and puts the job at the head. Jobs that come back by one
//!   command, or are found together by one look, stand there in the order in which they came.
//! - **Lease**: ends when the time has come, found by the next command or tick, at most
//!   [`SWEEP_MAX`] at a time, oldest first (of one time the smaller token), before the command is
//!   carried out.
//! - **ttl**: a job that is ready or delayed when its time is over goes to the dead letters (cause
//!   "expired …") instead of being delivered; a leased one when its delivery fails or is released.
//! - **Dead letters** keep payload, failures and cause, are never trimmed, and go only by redrive
//!   (attempts, failures and ttl begin anew; at the tail) or by `PurgeDead`.
//! - **Purge** removes all that is ready, delayed or leased. Ids are free again at once. **Delete**
//!   removes the queue with all that is known of it.
//!
//! # Invariants
//! - **Q1** Every acknowledged push is later done, dead, removed by name, or still there.
//! - **Q2** Nothing is delivered that was not pushed; payloads come back byte for byte.
//! - **Q3** No two leases of one job at one time.
//! - **Q4** A receipt whose lease was lost is refused, whoever uses it.
//! - **Q5** A job is delivered again only after its lease ended or was given up.
//! - **Q6** At most `max_attempts` deliveries fail; then it is dead, exactly once.
//! - **Q7** Nothing early, by a clock of whole milliseconds: a delay or lease of `n` ms is over after
//!   more than `n - 1` ms. No lower priority while a higher one is ready.
//! - **Q8** Without faults nothing is delivered twice.
//! - **Q9** One id within the window is one job.
//!
//! # Source
//! Visibility timeout and receipts: Amazon SQS. Unique ids with a window: asynq, SQS FIFO. Dead
//! letters with cause: `RabbitMQ`. Fencing of consumers: M. Burrows, "The Chubby lock service"
//! (OSDI 2006).

mod audit;
pub(crate) mod bytes;
mod check;
mod command;
mod dead;
mod id;
mod limits;
mod machine;
mod partition;
mod pop;
mod push;
mod query;
pub mod redis;
mod ring;
mod settle;
mod snapshot;
mod state;
mod view;

pub use audit::Audit;
pub use check::check;
pub use command::*;
pub use id::{ID_MAX, JobId, Receipt};
pub use limits::{DEDUP_MS, Limits, Overflow};
pub use machine::{Applied, Batch, QueueMachine, Request};
pub use partition::{PARTITIONS, partition_of};
pub(crate) use query::{JOBS_PAGE, QUEUES_PAGE};
pub use ring::{Assignment, BEAT_LIFE_MS, Beat};
pub(crate) use settle::kept_error;
pub use snapshot::{SNAPSHOT_VERSION, Snapshot, SnapshotRef};
pub use view::{Happened, Stats, Totals};

use crate::lock::DAY_MS;

/// Bytes of a payload.
pub const PAYLOAD_MAX: usize = 512 * 1024;
/// Bytes of all headers of a job, names and values.
pub const HEADERS_MAX: usize = 8 * 1024;
/// Highest priority.
pub const PRIORITY_MAX: u8 = 9;
/// Deliveries unless the push says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 5;
/// Lease unless the pop says otherwise.
pub const DEFAULT_LEASE_MS: u64 = 30_000;
/// Shortest lease.
pub const LEASE_MIN_MS: u64 = 100;
/// Longest lease.
pub const LEASE_MAX_MS: u64 = DAY_MS;
/// Longest delay, backoff, ttl and dedup window: 30 days.
pub const DELAY_MAX_MS: u64 = 30 * DAY_MS;
/// Jobs of one push or pop, receipts and ids of one command.
pub const BATCH_MAX: usize = 1_000;
/// Bytes of the payloads and headers of one push, and of the jobs of one pop: a frame holds them.
pub const BATCH_BYTES_MAX: usize = 768 * 1024;
/// Bytes of an error text that are kept.
pub const ERROR_MAX: usize = 1_024;
/// Failures that are kept with a job, the last ones.
pub const ERRORS_KEPT: usize = 5;
/// Bytes of a payload that a peek shows.
pub const PEEK_BYTES: usize = 4_096;
/// Leases, delays and lifetimes that end before one command, of one queue.
pub const SWEEP_MAX: usize = 1_000;
/// Queues.
pub const QUEUES_MAX: usize = 10_000;

/// A pause with its jitter: three quarters of it, and up to half of it by job and attempt, so that
/// jobs that failed together do not come back together. Whole-number steps that Lua does alike.
pub fn jitter(pause_ms: u64, id: &JobId, attempt: u32) -> u64 {
    let salt = u64::try_from(id.bits() & 0xffff).unwrap_or(0);
    let part = (salt + u64::from(attempt) * 7_919) % 1_000;
    pause_ms - pause_ms / 4 + pause_ms / 2 * part / 1_000
}

/// The pause after the n-th failed delivery.
pub fn backoff_ms(backoff: Backoff, id: &JobId, attempt: u32) -> u64 {
    let doubled = attempt.saturating_sub(1).min(32);
    let pause = backoff.base_ms.saturating_mul(1 << doubled).min(backoff.max_ms);
    jitter(pause, id, attempt)
}
