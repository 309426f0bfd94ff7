//! Raft: the log, the snapshots and the identity on disk, and the engine that runs on them.
//!
//! The engine is generic over the state machine ([`Machine`]); a role supplies one. openraft is
//! used in this module only, and its types never reach the disk or the wire.
//!
//! # Guarantees
//! - What was answered is on the disks of a quorum: an append counts after its `fdatasync`.
//! - A new leader was elected by a quorum that has everything acknowledged before.
//! - A node whose disk failed stops; it never repeats a failed sync.
//! - A wiped node comes back under a new raft id, so it never votes twice in one term.

pub mod backup;
mod compact;
mod election;
mod engine;
mod figures;
pub mod fs;
mod group;
pub mod identity;
pub mod log;
mod machine;
mod membership;
mod monitor;
mod network;
mod none;
mod numbers;
mod options;
mod replace;
pub mod runtime;
mod service;
pub mod snapshot;
pub mod status;
mod transport;
pub mod types;

pub use compact::keep_short;
pub use election::Elections;
pub use engine::{Engine, Metrics, NotDone, Reached};
pub use figures::Figures;
pub use group::{Group, GroupOf};
pub use machine::{AppliedState, Machine, Piece};
pub use membership::Members;
pub use monitor::{Leadership, follow};
pub use none::{NoGroup, Problems};
pub use options::{COMMAND_MAX, EngineOptions};
pub use service::RaftService;
pub use transport::{Contact, Transport};
pub use types::RaftNode;
