//! Tests of the lock machine through its public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test is about the variants it names")]

use dsync_core as api;

mod golden;
mod limits;
mod model;
mod pages;
mod properties;
mod script;
mod speed;
mod support;
mod transcripts;
