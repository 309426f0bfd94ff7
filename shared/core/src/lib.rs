//! Every decision of dsync, pure.
//!
//! Each state machine here takes time as an input and gives its effects back as values. The crate
//! has no clock, no randomness, no environment, no IO and no unordered collection, so that the
//! daemon, the simulation and the model checkers run the same code.

pub mod cache;
pub mod config;
pub mod fault;
pub mod lock;
pub mod name;
pub mod node;
pub mod queue;
pub mod raft;
pub mod redis;

pub use fault::{Code, Effect, Fault};
