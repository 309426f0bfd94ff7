//! Tests of the store's shard through its public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::as_conversions, reason = "the numbers of a test are small")]

use dsync_core::cache::store as api;

mod calls;
mod declined;
mod properties;
mod ratios;
mod support;
