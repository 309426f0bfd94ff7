//! Tests of the lock machine through its public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use dsync_core as api;

mod golden;
mod limits;
mod model;
mod properties;
mod script;
mod support;
mod transcripts;
