//! What clients ask of a node: the service and its messages.
//!
//! Append only: a method's or variant's place is its number on the wire (golden-byte tests).

use dsync_core::Fault;
use dsync_core::lock::{
    CycleStep, Event, Holder, Holding, LockView, Lookup, Outcome, Request, RequestKey, SessionId,
    SessionView, Token,
};
use dsync_core::name::Name;
use dsync_core::node::{ClusterId, DirectoryEntry, RaftId, Role};
use serde::{Deserialize, Serialize};

mod cache;
mod queue;

pub use cache::{
    CacheReply, CacheRequest, CacheStats, Changed, Got, Inspected, KEYS_MAX, LineView, LostKey,
    Source, ViewMember, ViewReport,
};
pub use queue::{Durability, POP_WAIT_MAX_MS, QueueReply, QueueRequest, Ring, RingMember};

/// The client plane.
#[tarpc::service]
pub trait Node {
    /// Locks; any node answers, a node that cannot serve it hands it on.
    async fn lock(head: Head, request: LockRequest) -> Answer<LockReply>;
    /// Nodes, Raft, membership.
    async fn admin(head: Head, request: AdminRequest) -> Answer<AdminReply>;
    /// Job queues; any node answers, a node that cannot serve it hands it on.
    async fn queue(head: Head, request: QueueRequest) -> Answer<QueueReply>;
    /// The coherent cache; any node answers, one of another role hands it on.
    async fn cache(head: Head, request: CacheRequest) -> Answer<CacheReply>;
}

/// What goes with every request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Head {
    /// Names the request in logs of all nodes that see it.
    pub request_id: u128,
    /// Times it was handed on; more than [`HOPS_MAX`] is refused.
    pub hops: u8,
    /// The node that shall answer (NODE_ID or `host:port`), for requests about one node.
    pub target: Option<String>,
}

/// Most times a request is handed on.
pub const HOPS_MAX: u8 = 3;

/// What comes with every reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<T> {
    /// NODE_ID of the node that answered, not of one that handed on.
    pub served_by: String,
    /// Its address: a library client may go there directly next time.
    pub address: String,
    /// The reply.
    pub result: Result<T, Fault>,
}

/// Requests of the lock service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockRequest {
    /// Anything that changes state.
    Do(Request),
    /// Extends a session's lease. Answered after commit.
    KeepAlive {
        /// The session.
        session: SessionId,
    },
    /// Waits at most `wait_ms` (5 s at most) for a queued request to be decided.
    Await {
        /// The request.
        key: RequestKey,
        /// Longest wait.
        wait_ms: u64,
    },
    /// One lock.
    Get {
        /// Its name.
        lock: Name,
    },
    /// Locks whose name begins with `prefix`, in order of name. A page may be shorter than `limit`
    /// though there are more.
    List {
        /// Beginning of the name.
        prefix: String,
        /// Only those that someone waits for.
        waiting: bool,
        /// Names after this one.
        after: Option<Name>,
        /// At most so many (1 000 at most).
        limit: u32,
    },
    /// Is this token the one that holds the lock?
    Validate {
        /// The lock.
        lock: Name,
        /// The token.
        token: Token,
    },
    /// Who waits for whom.
    WaitGraph,
    /// Live sessions with an id above `after`.
    Sessions {
        /// The last id of the page before.
        after: SessionId,
        /// At most so many (1 000 at most).
        limit: u32,
    },
    /// Events of entries from `from_index` on; waits at most `wait_ms` for the first.
    Events {
        /// First log index of interest; 0: from now on.
        from_index: u64,
        /// Longest wait (5 s at most).
        wait_ms: u64,
    },
    /// How a grant stands; waits at most `wait_ms` for it to stand otherwise than `known`.
    Holding {
        /// The lock.
        lock: Name,
        /// The grant's token.
        token: Token,
        /// What the asker knows.
        known: Holding,
        /// Longest wait (5 s at most).
        wait_ms: u64,
    },
}

/// Replies of the lock service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockReply {
    /// Of `Do`.
    Outcome(Outcome),
    /// Of `KeepAlive`: time left from when it was committed.
    KeptAlive {
        /// Time left.
        expires_in_ms: u64,
    },
    /// Of `Await`.
    Lookup(Lookup),
    /// Of `Get`; `None`: free, nobody waits.
    Lock(Option<LockView>),
    /// Of `List`.
    Locks {
        /// One page.
        items: Vec<LockView>,
        /// There are more.
        more: bool,
    },
    /// Of `Validate`: the holder if the token is valid.
    Valid(Option<Holder>),
    /// Of `WaitGraph`.
    WaitGraph {
        /// Who waits for what behind whom.
        steps: Vec<CycleStep>,
        /// There are more than fit into a reply.
        more: bool,
    },
    /// Of `Sessions`.
    Sessions {
        /// One page.
        items: Vec<SessionView>,
        /// There are more.
        more: bool,
    },
    /// Of `Events`.
    Events {
        /// What happened.
        items: Vec<Event>,
        /// Ask from here next.
        next_index: u64,
        /// True when events are missing, before these or of the last entry: begin anew with a
        /// listing.
        gap: bool,
    },
    /// Of `Holding`.
    Holding(Holding),
}

/// Requests about nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminRequest {
    /// Are you there?
    Ping,
    /// Who are you, how are you configured, what do you see?
    NodeInfo,
    /// Whom do you know?
    Directory,
    /// Raft as this node sees it.
    RaftStatus,
    /// Proposes a no-op and times its stages (leader; handed on).
    RaftProbe,
    /// Hands leadership to that node.
    RaftTransfer {
        /// NODE_ID.
        to: String,
    },
    /// Replaces a voter by the wiped or new node of that NODE_ID.
    RaftReplace {
        /// NODE_ID.
        node: String,
    },
    /// A piece of a snapshot; the first call with `offset` 0 takes it.
    SnapshotRead {
        /// 0 to begin, then the id that the first reply gave.
        id: u64,
        /// Where to go on.
        offset: u64,
    },
    /// A piece of a snapshot to restore; the last one carries `done` and replaces the state.
    SnapshotWrite {
        /// Chosen by the client.
        id: u64,
        /// Where the piece belongs.
        offset: u64,
        /// The piece, at most 256 KiB.
        data: Vec<u8>,
        /// True for the last one.
        done: bool,
    },
    /// Dials `address` from this node and tells how far it got.
    DialCheck {
        /// `host:port`.
        address: String,
    },
}

/// Replies about nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdminReply {
    /// Of `Ping`.
    Pong,
    /// Of `NodeInfo`.
    Node(Box<NodeInfo>),
    /// Of `Directory`.
    Directory(Vec<DirectoryEntry>),
    /// Of `RaftStatus`.
    Raft(Box<RaftStatus>),
    /// Of `RaftProbe`.
    Probe(Probe),
    /// Of `RaftTransfer`, `RaftReplace`, `SnapshotWrite`.
    Done(String),
    /// Of `SnapshotRead`.
    Snapshot {
        /// Pass it on to the next call.
        id: u64,
        /// Size of the whole.
        total: u64,
        /// The piece at the offset asked for.
        data: Vec<u8>,
    },
    /// Of `DialCheck`.
    Dial(DialReport),
}

/// One configuration value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key.
    pub key: String,
    /// Its value, secrets masked.
    pub value: String,
    /// `flag`, `environment`, `file:line` or `default`.
    pub source: String,
}

/// A node's view of one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerView {
    /// Address as configured or learnt.
    pub address: String,
    /// NODE_ID, once known.
    pub node: Option<String>,
    /// Time since the last good greeting.
    pub last_hello_ms_ago: Option<u64>,
    /// The last failure, in words.
    pub last_error: Option<String>,
}

/// A node's view of itself. Needs no quorum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// NODE_ID.
    pub node: String,
    /// Role.
    pub role: Role,
    /// Advertised address.
    pub address: String,
    /// Address that it listens on.
    pub listen: String,
    /// Version of the program.
    pub version: String,
    /// Cluster, once it belongs to one.
    pub cluster: Option<ClusterId>,
    /// Start counter.
    pub incarnation: u64,
    /// Time since the process started.
    pub uptime_ms: u64,
    /// `forming`, `serving`, `no-leader`, `stopping`.
    pub state: String,
    /// What is wrong, in words; empty when nothing is.
    pub problems: Vec<String>,
    /// Effective configuration.
    pub settings: Vec<Setting>,
    /// Peers.
    pub peers: Vec<PeerView>,
    /// The last warnings logged, oldest first, at most 50.
    pub warnings: Vec<String>,
    /// Open client connections.
    pub connections: u32,
    /// Process id.
    pub pid: u32,
}

/// How far a dial from a node got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialReport {
    /// `parse`, `dns`, `refused`, `timeout`, `unreachable`, `reset`, `silent`, `redis`, `http`, `tls`, `foreign`, `version`, `ok`.
    pub class: String,
    /// In words.
    pub detail: String,
    /// What the other side said of itself.
    pub node: Option<String>,
    /// Time it took.
    pub elapsed_ms: u64,
}

/// Stages of one probe, each in microseconds after it was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Log index of the no-op.
    pub index: u64,
    /// Term.
    pub term: u64,
    /// Durable on the leader's own disk.
    pub flushed_us: u64,
    /// When each follower was first seen to have it: (node, µs).
    pub acked_us: Vec<(String, u64)>,
    /// Committed.
    pub committed_us: u64,
    /// Applied.
    pub applied_us: u64,
}

/// Raft as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftStatus {
    /// NODE_ID.
    pub node: String,
    /// Advertised address.
    pub address: String,
    /// Raft id.
    pub id: RaftId,
    /// Cluster.
    pub cluster: Option<ClusterId>,
    /// `leader`, `follower`, `candidate`, `learner`, `forming`, `stopped`.
    pub state: String,
    /// Term.
    pub term: u64,
    /// Voted for, and whether that vote won.
    pub vote: Option<(RaftId, bool)>,
    /// Whom it takes for the leader (NODE_ID).
    pub leader: Option<String>,
    /// Last index in its log.
    pub last_log_index: u64,
    /// Last index known to be on its disk.
    pub flushed: u64,
    /// Committed, as far as it knows.
    pub committed: u64,
    /// Applied.
    pub applied: u64,
    /// Covered by its snapshot.
    pub snapshot: u64,
    /// Removed from its log.
    pub purged: u64,
    /// Voters (NODE_ID, address, id).
    pub voters: Vec<(String, String, RaftId)>,
    /// Learners.
    pub learners: Vec<(String, String, RaftId)>,
    /// A membership change is under way.
    pub joint: bool,
    /// On the leader: time since a quorum last acknowledged it.
    pub quorum_ack_age_ms: Option<u64>,
    /// On a follower: time since it last heard its leader.
    pub leader_contact_age_ms: Option<u64>,
    /// On the leader, per peer.
    pub replication: Vec<Replication>,
    /// Time a flush takes, over the last 1 000.
    pub fsync_p50_us: u64,
    /// The same, 99th percentile.
    pub fsync_p99_us: u64,
    /// Elections seen in the last minute.
    pub elections_last_minute: u32,
    /// Why the last election began and how it ended.
    pub last_election: Option<String>,
    /// Fingerprint of the configured member list.
    pub fingerprint: u64,
    /// Hash of the state right after `applied`.
    pub state_hash: u64,
    /// Shortest and longest election timeout.
    pub election_timeout_ms: (u64, u64),
    /// What is wrong, in words.
    pub problems: Vec<String>,
}

/// A peer as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Raft id.
    pub id: RaftId,
    /// NODE_ID.
    pub node: String,
    /// Last index known to be on its disk.
    pub matched: Option<u64>,
    /// Entries behind.
    pub lag: u64,
    /// Time since it last answered.
    pub heartbeat_age_ms: Option<u64>,
}
