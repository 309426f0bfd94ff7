//! Decisions around Raft: who forms the cluster, and how cluster time runs.

mod clock;

pub use clock::LeaderClock;
