//! What nodes of one role ask of each other: greetings and Raft, in our own types.
//!
//! The same types, with a version byte in front, are what the log keeps on disk. Append only.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dsync_core::Fault;
use dsync_core::node::{ClusterId, Hello, RaftId};
use serde::{Deserialize, Serialize};

mod cache;

pub use cache::{CacheAnswer, CacheCall, CacheFrom};

/// The peer plane.
#[tarpc::service]
pub trait Peer {
    /// Two nodes meet. Answered by any node to any node.
    async fn hello(from: Hello) -> Result<Hello, Fault>;
    /// Raft, for the node named and no other.
    async fn raft(to: Destination, call: RaftCall) -> Result<RaftReply, Fault>;
    /// Between cache nodes.
    async fn cache(from: CacheFrom, call: CacheCall) -> Result<CacheAnswer, Fault>;
}

/// Whom a call is meant for; the receiver refuses a misaddressed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// Raft id of the receiver.
    pub to: RaftId,
    /// Raft id of the sender.
    pub from: RaftId,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogId {
    /// Term of the leader that proposed it.
    pub term: u64,
    /// Index.
    pub index: u64,
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Term.
    pub term: u64,
    /// For whom.
    pub node: Option<RaftId>,
    /// It won.
    pub committed: bool,
}

/// A member as the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// NODE_ID.
    pub node: String,
    /// `host:port`.
    pub address: String,
}

/// Who votes and who learns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Membership {
    /// One set of voters, or two while a change is under way.
    pub configs: Vec<BTreeSet<RaftId>>,
    /// Every member.
    pub nodes: BTreeMap<RaftId, Member>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place.
    pub id: LogId,
    /// What it does.
    pub payload: Payload,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing.
    Blank,
    /// A command of the state machine at a cluster time, encoded.
    Normal {
        /// Cluster time.
        t_ms: u64,
        /// Proposal number at the proposing node, so that it knows its own when it applies it.
        nonce: u64,
        /// The command.
        data: Bytes,
    },
    /// A change of members.
    Membership(Membership),
}

/// Raft's calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftCall {
    /// Entries, or none: a heartbeat.
    Append {
        /// The leader's vote.
        vote: Vote,
        /// The entry before.
        prev: Option<LogId>,
        /// Committed.
        commit: Option<LogId>,
        /// The entries.
        entries: Vec<Entry>,
        /// The leader's cluster time.
        t_ms: u64,
    },
    /// Would you vote for me (`pre`), or do you?
    Vote {
        /// The candidate's vote.
        vote: Vote,
        /// Its last entry.
        last: Option<LogId>,
        /// Only asking.
        pre: bool,
        /// It was told to by the leader: a lease of that leader does not stand against it.
        transfer: bool,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// The leader's vote.
        vote: Vote,
        /// Names the transfer.
        id: u64,
        /// The last entry it covers.
        last: Option<LogId>,
        /// The entry of the membership in force.
        membership_at: Option<LogId>,
        /// The membership in force.
        membership: Membership,
        /// Where the piece belongs.
        offset: u64,
        /// The piece.
        data: Bytes,
        /// True for the last piece.
        done: bool,
    },
    /// The leader hands over.
    Transfer {
        /// The leader's vote.
        from: Vote,
        /// The next leader.
        to: RaftId,
        /// What it must have in its log first.
        last: Option<LogId>,
    },
}

/// Raft's replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftReply {
    /// All of the entries are on disk.
    Appended,
    /// Those up to here are.
    AppendedUpTo(Option<LogId>),
    /// The entry before does not match.
    Conflict,
    /// There is a higher vote.
    HigherVote(Vote),
    /// Of `Vote`.
    Voted {
        /// The voter's vote.
        vote: Vote,
        /// It is for the candidate.
        granted: bool,
        /// The voter's last entry.
        last: Option<LogId>,
    },
    /// Of `Snapshot`: the receiver's vote.
    Received(Vote),
    /// Of `Transfer`.
    Transferring,
}
