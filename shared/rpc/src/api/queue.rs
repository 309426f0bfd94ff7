//! The messages of the queue service.

use dsync_core::name::Name;
use dsync_core::queue;
use serde::{Deserialize, Serialize};

/// Longest wait of one pop, in milliseconds: who waits longer asks again, under a new request id.
pub const POP_WAIT_MAX_MS: u64 = 20_000;

/// Requests of the queue service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueRequest {
    /// Anything that changes a queue.
    Do {
        /// The queue.
        queue: Name,
        /// What to do.
        command: queue::Command,
        /// A pop waits so long for a job if there is none ([`POP_WAIT_MAX_MS`] at most).
        wait_ms: u64,
        /// A push is answered no sooner than it is so safe; `None`: as safe as the store makes it by
        /// itself.
        durability: Option<Durability>,
    },
    /// Looks.
    Read(queue::Query),
    /// Which node is in charge of what.
    Ring {
        /// Of this queue too.
        queue: Option<Name>,
    },
}

/// What an acknowledged command survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// It is in the memory of Redis: lost if Redis is killed before it next writes to its disk.
    Memory,
    /// On the disk of Redis.
    Fsync,
    /// In the memory of Redis and of a replica. No consensus: a failover may choose another one.
    Replica,
    /// On the disks of a majority of the nodes.
    Quorum,
}

impl Durability {
    /// All, weakest first.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Fsync, Self::Replica, Self::Quorum];

    /// The name in JSON and arguments.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fsync => "fsync",
            Self::Replica => "replica",
            Self::Quorum => "quorum",
        }
    }
}

/// Replies of the queue service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueReply {
    /// Of `Do`.
    Outcome {
        /// What the command answered.
        outcome: queue::Outcome,
        /// What it survives.
        durability: Durability,
    },
    /// Of `Read`.
    Seen {
        /// What was seen.
        seen: queue::Seen,
        /// NODE_ID of the node in charge of the queue, if one queue was asked for.
        owner: Option<String>,
        /// `raft` or `redis`.
        store: String,
    },
    /// Of `Ring`.
    Ring(Ring),
}

/// Which node is in charge of which queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// `raft` (one leader is in charge of all) or `redis` (each live node of its partitions).
    pub store: String,
    /// The nodes.
    pub members: Vec<RingMember>,
    /// Partition of the queue that was asked for.
    pub partition: Option<u8>,
    /// NODE_ID of the node in charge of it.
    pub owner: Option<String>,
}

/// A queue node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMember {
    /// NODE_ID.
    pub node: String,
    /// Where others reach it.
    pub address: String,
    /// It is in charge of so many of the 256 partitions.
    pub partitions: u16,
    /// It takes part: its heartbeat is fresh.
    pub live: bool,
}
