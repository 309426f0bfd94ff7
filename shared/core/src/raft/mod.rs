//! Decisions around Raft: who forms the cluster, and how cluster time runs.

mod clock;
pub mod formation;

pub use clock::LeaderClock;
