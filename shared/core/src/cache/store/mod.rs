//! One shard of a cache node's memory: what is kept, and what gives way. Pure.
//!
//! A [`Shard`] maps keys to values of its owner's making and keeps within limits of bytes and of
//! entries. It never drops anything by itself: it *proposes* ([`Shard::propose`]), and the owner,
//! who knows what state a value is in, lets the entry go or declines.
//!
//! # Policies
//! - [`Policy::TinyLfu`], the default: W-TinyLFU. New entries go into a *window*, which is 1 % of
//!   the shard and ordered by last use. What it has no room for is a *candidate* for the main part,
//!   a segmented LRU: *probation*, and *protected* (80 % of it) for what was used again there;
//!   what protected has no room for falls back to the head of probation. While the shard is within
//!   its limits candidates are let in. When it is above, the candidate is compared with the least
//!   recently used of probation (if that is empty, of protected), the *victim*, by how often each
//!   was asked for lately: the candidate goes unless it is ahead.
//! - [`Policy::Lru`]: the least recently used entry goes. It is the same structure with a window as
//!   large as the shard.
//!
//! How often a key was asked for is estimated by a count-min sketch of 4 rows with 4-bit counters,
//! halved after 10 samples for each entry, and again after every 5, as the samples are halved with
//! them. What feeds it: [`Shard::get`] and [`Shard::get_if`], hit or miss, [`Shard::note_miss`], [`Shard::note_access`], and [`Shard::insert`] of a key that
//! is there already. The first insertion of a key does not: the miss before it did, and who writes
//! without a lookup says `note_access`.
//!
//! # Weight
//! An entry weighs the bytes that its owner says, those of key and value on the heap, and
//! [`Shard::OVERHEAD`].
//!
//! # Invariants
//! - **S1** Every entry is in exactly one segment, is found under its key, and its weight is in the
//!   sums.
//! - **S2** Only its owner takes an entry out. When every proposal was let go until there was none,
//!   the shard is within its limits.
//! - **S3** In a round of proposals no entry is proposed twice. A declined one stays in its segment
//!   and counts on; it becomes the most recently used there, so that it is not in the way of the
//!   next round.
//! - **S4** Equal configurations and equal calls give equal answers, in equal order.
//!
//! # Time
//! All operations are O(1), amortised: now and then an insertion doubles a table, and a sample
//! halves the sketch (8 to 16 bytes an entry).
//!
//! # Source
//! G. Einziger, R. Friedman, B. Manes, "`TinyLFU`: a highly efficient cache admission policy" (ACM
//! TOS 2017). Counters in blocks: Caffeine. Vetoes: the pinned entries of `quick_cache`.

mod audit;
mod config;
mod hash;
mod index;
mod page;
mod propose;
mod shard;
mod sketch;
mod slab;

pub use config::{Config, Counters, Limits, Policy, Refused};
pub use hash::hash_of;
pub use page::{EntryView, Page};
pub use propose::{Cause, Proposed, Verdict};
pub use shard::Shard;
pub use slab::Segment;
