//! What the tests of the whole share: a process harness, a simulated network, history checkers.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod wire;
