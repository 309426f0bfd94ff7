//! The messages of the cache service.

use dsync_core::cache::command::{KeyView, Selector, Size};
use dsync_core::cache::op::{Action, Key, Outcome, Value};
use serde::{Deserialize, Serialize};

/// Most keys of one request.
pub const KEYS_MAX: usize = 256;

/// Requests of the cache service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheRequest {
    /// Reads keys; each read is current by itself. Answered with [`CacheReply::Read`].
    Get {
        /// The keys, [`KEYS_MAX`] at most.
        keys: Vec<Key>,
        /// A copy that was current so long ago is good enough, if there is no way to a newer one.
        max_stale_ms: Option<u64>,
    },
    /// Changes keys, each by itself. Answered with [`CacheReply::Done`].
    Do {
        /// The keys and what is done to them, [`KEYS_MAX`] at most.
        changes: Vec<(Key, Action)>,
    },
    /// Deletes every key that there is when the request comes. Answered with
    /// [`CacheReply::Invalidated`].
    Invalidate {
        /// Which keys.
        of: Selector,
    },
    /// A key with its home and every node's line. Answered with [`CacheReply::Inspected`].
    Inspect {
        /// The key.
        key: Key,
    },
    /// The line of a key at the node that answers. Answered with [`CacheReply::Line`].
    Line {
        /// The key.
        key: Key,
    },
    /// Keys in order of name. Answered with [`CacheReply::Keys`].
    Keys {
        /// Which keys.
        of: Selector,
        /// After this one.
        after: Option<Key>,
        /// At most so many (1 000 at most).
        limit: u32,
    },
    /// Figures of the node that answers. Answered with [`CacheReply::Stats`].
    Stats,
    /// Changes that were acknowledged and never reached the memory, as the node that answers knows
    /// them. Answered with [`CacheReply::Lost`].
    Lost,
    /// Who takes part. Answered with [`CacheReply::View`].
    View,
}

/// Replies of the cache service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheReply {
    /// Of `Get`: in the order of the keys; the first ones, and at least one, if not all of them fit
    /// into one reply.
    Read(Vec<Got>),
    /// Of `Do`: in the order of the changes, as far as they were carried out: one that failed with
    /// its fault ends the list.
    Done(Vec<Result<Changed, dsync_core::Fault>>),
    /// Of `Invalidate`: so many keys were deleted.
    Invalidated(u64),
    /// Of `Inspect`.
    Inspected(Inspected),
    /// Of `Line`.
    Line(LineView),
    /// Of `Keys`.
    Keys {
        /// One page.
        items: Vec<KeyView>,
        /// There are more.
        more: bool,
    },
    /// Of `Stats`.
    Stats(Box<CacheStats>),
    /// Of `Lost`.
    Lost(Vec<LostKey>),
    /// Of `View`.
    View(ViewReport),
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Got {
    /// What the key holds; `None`: there is no such key.
    pub value: Option<Value>,
    /// Its version; of an absent key that of nothing.
    pub version: u64,
    /// How the node had it.
    pub from: Source,
    /// Time that it has left.
    pub ttl_ms: Option<u64>,
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The node's own line, which others share.
    Shared,
    /// The node's own line, which nobody else has.
    Exclusive,
    /// The node's own line, not yet in the memory (write-back only).
    Modified,
    /// Fetched for this request: the node has a line now, perhaps.
    Fetched,
    /// The memory, past all lines.
    Memory,
    /// A copy that was current so many milliseconds ago.
    Stale(u64),
}

impl Source {
    /// The name in JSON: the state of the line that served it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
            Self::Modified => "modified",
            Self::Fetched => "fetched",
            Self::Memory => "memory",
            Self::Stale(_) => "stale",
        }
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// What came of it.
    pub outcome: Outcome,
    /// The version of the key since.
    pub version: u64,
}

/// A key, looked at everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Its partition.
    pub partition: u16,
    /// Epoch of the view.
    pub epoch: u64,
    /// NODE_ID of its home, if there is one.
    pub home: Option<String>,
    /// What the home knows of it, in words: `unused`, `shared`, `exclusive`, and `busy` before one of
    /// them while a request is served; `unknown` where the home did not answer.
    pub directory: String,
    /// NODE_ID of each node that has it, as its home knows.
    pub holders: Vec<String>,
    /// Requests for it that wait at its home.
    pub waiting: u32,
    /// What the memory has: version and bytes; `None`: no such key.
    pub memory: Option<(u64, u64)>,
    /// Time that it has left.
    pub ttl_ms: Option<u64>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Every node's line; of a node that did not answer, why.
    pub lines: Vec<(String, Result<LineView, String>)>,
}

/// A key at a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineView {
    /// `I`, `S`, `E`, `M`, `IS_D`, `IM_D`, `SM_D`, `E_W`, `M_F`.
    pub state: String,
    /// Version of what it holds.
    pub version: Option<u64>,
    /// Time until the lease ends by which it may be read.
    pub lease_ms: Option<u64>,
    /// It is not to be read: its lease is over.
    pub lapsed: bool,
}

/// Figures of one node, since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CacheStats {
    /// NODE_ID.
    pub node: String,
    /// Lines by state, in the order of [`LineView::state`].
    pub states: Vec<(String, u64)>,
    /// Entries of the local store.
    pub entries: u64,
    /// Bytes of the local store.
    pub bytes: u64,
    /// Bytes that it may have.
    pub bytes_max: u64,
    /// Entries that it may have.
    pub entries_max: u64,
    /// `lru` or `tinylfu`.
    pub policy: String,
    /// Reads answered by a line.
    pub hits: u64,
    /// Reads that asked elsewhere.
    pub misses: u64,
    /// Reads answered by a copy that may be old.
    pub stale: u64,
    /// Changes made here.
    pub writes: u64,
    /// Changes carried out by homes.
    pub executed: u64,
    /// Lines that gave way to others.
    pub evictions: u64,
    /// Lines that were not admitted.
    pub rejections: u64,
    /// Lines taken back by homes.
    pub revoked: u64,
    /// Entries in the directory of this home.
    pub directory: u64,
    /// Partitions that it is the home of.
    pub partitions: u32,
    /// Dirty lines.
    pub dirty: u64,
    /// Changes that were lost.
    pub lost: u64,
    /// The memory.
    pub memory: Option<Size>,
    /// `raft` or `redis`.
    pub store: String,
}

/// A change that was acknowledged and is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostKey {
    /// The key.
    pub key: Key,
    /// The version that is lost.
    pub version: u64,
    /// When it was found out, in milliseconds since 1970, by that node's clock.
    pub at_ms: u64,
    /// NODE_ID of the node that had it.
    pub node: String,
}

/// Who takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewReport {
    /// The epoch; 0: there is none yet.
    pub epoch: u64,
    /// The members.
    pub members: Vec<ViewMember>,
    /// NODE_ID of each node that was counted out, whose lease is waited for.
    pub silent: Vec<String>,
    /// `raft` or `redis`.
    pub store: String,
    /// This node may serve as a home in this epoch.
    pub serving: bool,
    /// Time left of this node's own lease.
    pub lease_ms: Option<u64>,
}

/// A member of the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewMember {
    /// NODE_ID.
    pub node: String,
    /// Where others reach it.
    pub address: String,
    /// Which run of it.
    pub incarnation: u64,
    /// Partitions that it is the home of, of 1 024.
    pub partitions: u32,
    /// Its signs of life are fresh, as this node sees them.
    pub live: bool,
}
