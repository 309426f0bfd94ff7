//! Tests of the queue machine through its public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::get_unwrap, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test is about the variants it names")]
#![expect(clippy::as_conversions, reason = "the numbers of a test are small")]

use dsync_core as api;

mod dead_letters;
mod limits;
mod properties;
mod rules;
mod snapshots;
mod support;
