//! Tests of the memory's machine through its public face.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test is about the variants it names")]

mod bench;
mod properties;
mod reference;
mod rules;
