//! Raft: the log, the snapshots and the identity on disk, and the engine that runs on them.

pub mod fs;
pub mod log;
pub mod types;
