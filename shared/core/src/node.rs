//! Who the nodes are: roles, greetings and the directory that every greeting hands on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;

mod directory;

pub use directory::{DIRECTORY_MAX, Directory, FORGET_MS};

/// What a process does. Append only: the number is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Locks.
    Lock,
    /// Job queues.
    Queue,
    /// Coherent cache.
    Cache,
}

impl Role {
    /// The name in configuration, JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Queue => "queue",
            Self::Cache => "cache",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Lock, Self::Queue, Self::Cache].into_iter().find(|r| r.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node's raft id: 32 bits of `xxh3(NODE_ID)`, then 32 that are drawn anew with each empty data
/// directory, so that a wiped node never votes under the id of its former self.
pub type RaftId = u64;

/// Identity of a cluster, made by the node that forms it; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a node says of itself when two nodes meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// NODE_ID.
    pub node: Name,
    /// What it does.
    pub role: Role,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// Rises with every start of the process.
    pub incarnation: u64,
    /// Version of the program.
    pub version: String,
    /// Its raft id.
    pub raft_id: RaftId,
    /// Fingerprint of the sorted list of members that its configuration names (itself included).
    pub fingerprint: u64,
    /// The list itself, so that a difference can be named.
    pub members: Vec<String>,
    /// True when its log holds a membership.
    pub initialized: bool,
    /// The cluster it belongs to, once it does.
    pub cluster: Option<ClusterId>,
    /// Voters of that cluster as its log has them: name and raft id.
    pub voters: Vec<(String, RaftId)>,
    /// Every node it knows of.
    pub directory: Vec<DirectoryEntry>,
}

/// One node as others know it: a routing hint, no safety rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// NODE_ID.
    pub node: Name,
    /// What it does.
    pub role: Role,
    /// Where others reach it.
    pub address: String,
    /// Rises with every start of the process; the higher one is the news.
    pub incarnation: u64,
    /// Version of the program.
    pub version: String,
    /// Time since the node that tells this, or someone it heard of, spoke to it.
    pub heard_ms_ago: u64,
}
