//! What cache nodes ask of each other. Append only.

use dsync_core::cache::command::{Ask, Told};
use dsync_core::cache::item::{Gid, Item, Right, Session};
use dsync_core::cache::op::{Key, Op, Outcome, Value};
use dsync_core::cache::told::Revocation;
use dsync_core::cache::view::View;
use dsync_core::name::Name;
use dsync_core::node::ClusterId;
use serde::{Deserialize, Serialize};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFrom {
    /// NODE_ID.
    pub node: Name,
    /// Which run of it.
    pub incarnation: u64,
    /// Number of the store, or of the cluster: another one has another view.
    pub store: ClusterId,
    /// Which run of which node is asked; 0: any of it.
    pub to: u64,
}

/// A request of one cache node to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheCall {
    /// Of the memory, to the leader of the nodes that hold it.
    Memory(Ask),
    /// Do you act by this view?
    Prepare(View),
    /// To a home: a session.
    Open {
        /// Epoch of the asker's view.
        epoch: u64,
        /// Rises with each such request of that run of the node: one that comes late opens nothing.
        number: u64,
    },
    /// To a home: that session goes on.
    Renew {
        /// The session.
        session: Session,
        /// Lines that were given up.
        evicted: Vec<(Key, Gid)>,
    },
    /// To a home: a line.
    Line {
        /// The session that it is for.
        session: Session,
        /// The key.
        key: Key,
        /// What is asked for.
        right: Right,
    },
    /// To a home: carry that out.
    Execute {
        /// Epoch of the asker's view.
        epoch: u64,
        /// The key.
        key: Key,
        /// What.
        op: Op,
    },
    /// To a node: give it back.
    Revoke {
        /// The key.
        key: Key,
        /// What is taken back.
        revocation: Revocation,
    },
    /// To a home: who has it?
    Directory {
        /// The key.
        key: Key,
    },
}

/// What it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheAnswer {
    /// Of `Memory`.
    Memory(Told),
    /// The view that this node acts by, which is another one; of `Prepare`: which may be that.
    View(View),
    /// Of `Open`.
    Opened(Session),
    /// Of `Open`: ask again in so many milliseconds.
    Wait(u64),
    /// Of `Renew`.
    Renewed,
    /// Of `Renew`, `Line`, `Revoke`: that session is over.
    Over,
    /// Of `Line`, `Execute`: not now.
    NotNow(String),
    /// Of `Line`.
    Granted {
        /// What it is.
        right: Right,
        /// What the key holds.
        item: Item<Value>,
        /// Number of the grant.
        gid: Gid,
        /// Time that the key has left.
        ttl_ms: Option<u64>,
    },
    /// Of `Execute`.
    Executed {
        /// What came of it.
        outcome: Outcome,
        /// The version of the key since.
        version: u64,
    },
    /// Of `Execute`: the memory is full; bytes in use, and how many there may be.
    Full(u64, u64),
    /// Of `Execute`: it may have been done.
    Unknown,
    /// Of `Revoke`.
    Acknowledged {
        /// The line stays, to be read.
        kept: bool,
    },
    /// Of `Directory`: what is known in words, who has it, and how many requests wait.
    Directory(String, Vec<Name>, u32),
}
