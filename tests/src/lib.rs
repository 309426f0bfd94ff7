//! What the tests of the whole share: a process harness, a simulated network, history checkers.
#![recursion_limit = "256"]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking"
)]

pub mod cache;
pub mod history;
pub mod jobs;
pub mod load;
pub mod process;
pub mod queue;
pub mod sim;
pub mod source;
pub mod wire;
