//! The language of the memory.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::item::{Item, Session};
use super::op::{Action, Key, Op, Outcome, Tag, Value};
use super::view::{Member, Seen, View};
use crate::name::Name;

/// Which write it is, for ever and everywhere.
pub type WriteId = u128;

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum By<N = Name> {
    /// A node that holds the key, in that session with the key's home.
    Holder(N, Session),
    /// The home of the key, in that epoch.
    Home(u64),
}

/// What is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Written {
    /// A change that the memory evaluates.
    Apply(Op),
    /// A value that was acknowledged before (write-back), with its version: the key is there already
    /// and has no time to live.
    Put {
        /// The value.
        value: Value,
        /// Its version.
        version: u64,
    },
}

/// What changes the memory. Append only: the number is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// Writes a key.
    Write {
        /// The key.
        key: Key,
        /// Who.
        by: By,
        /// Which write.
        id: WriteId,
        /// What.
        write: Written,
    },
    /// Refuses writes of that session, and earlier ones of that node, to that partition.
    Fence {
        /// The partition.
        partition: u16,
        /// The node.
        node: Name,
        /// The session.
        session: Session,
    },
    /// Replaces the view of that epoch.
    Replace {
        /// The epoch of the view that is replaced.
        epoch: u64,
        /// The next one.
        view: View,
    },
    /// Takes writes of that epoch from now on, and none of earlier ones.
    TakeOver {
        /// The epoch; it must be that of the view.
        epoch: u64,
    },
}

/// What a command answered. Append only: the number is on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Done {
    /// Of `Write`: it was done, now or before.
    Written {
        /// What the key holds since.
        item: Item<Value>,
        /// What came of it; `None` for a value that was put.
        outcome: Option<Outcome>,
        /// Time that the key has left.
        ttl_ms: Option<u64>,
    },
    /// Of `Write`: the right to it had been taken away. Nothing was done.
    Fenced,
    /// Of `Write`: there is no more room. Nothing was done. The bytes that there are, and may be.
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes that there may be.
        limit: u64,
    },
    /// Of `Fence`, `Replace`, `TakeOver`: true if it was done; false: the epoch is another one.
    Is(bool),
}

/// A look at the memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One key.
    Get(Key),
    /// Keys in order of name.
    Keys {
        /// Which ones.
        of: Selector,
        /// After this one.
        after: Option<Key>,
        /// At most so many ([`PAGE_MAX`] at most).
        limit: u32,
    },
    /// How much there is.
    Size,
}

/// Most keys of a page.
pub const PAGE_MAX: u32 = 1_000;
/// Bytes of names and tags after which a page takes no further key.
pub const PAGE_BYTES: usize = 512 * 1024;

/// Some of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Selector {
    /// Those whose name begins so; with nothing: all.
    Prefix(String),
    /// Those that have this tag.
    Tag(Tag),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Found {
    /// Of `Get`.
    Item {
        /// What the key holds.
        item: Item<Value>,
        /// Time that it has left.
        ttl_ms: Option<u64>,
    },
    /// Of `Keys`.
    Keys {
        /// One page; it may be shorter than the limit though there are more.
        keys: Vec<KeyView>,
        /// There are more.
        more: bool,
    },
    /// Of `Size`.
    Size(Size),
}

/// A key as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyView {
    /// The key.
    pub key: Key,
    /// Its version.
    pub version: u64,
    /// Bytes of its value.
    pub bytes: u64,
    /// Time that it has left.
    pub ttl_ms: Option<u64>,
    /// Its tags.
    pub tags: Arc<[Tag]>,
}

/// How much the memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Size {
    /// Keys.
    pub keys: u64,
    /// Bytes in use, as the memory counts them.
    pub bytes: u64,
    /// Bytes that there may be; 0: no limit.
    pub limit: u64,
}

/// A sign of life, which is answered with [`Seen`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Sign {
    /// Who.
    pub member: Member,
    /// Rises with each.
    pub count: u64,
    /// It was the last one: the node leaves.
    pub leaves: bool,
}

/// What a node asks of the memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ask {
    /// Changes it.
    Do(Command),
    /// Looks.
    Look(Query),
    /// Leaves a sign of life.
    Live(Sign),
}

/// What the memory answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Told {
    /// Of `Do`.
    Done(Done),
    /// Of `Look`.
    Found(Found),
    /// Of `Live`.
    Seen(Seen),
}

impl Written {
    /// Bytes that it brings.
    pub fn bytes(&self) -> &[u8] {
        self.value().map(|value| value.bytes.as_slice()).unwrap_or_default()
    }

    /// The value that it brings.
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Apply(Op { action: Action::Set { value, .. }, .. }) | Self::Put { value, .. } => {
                Some(value)
            }
            Self::Apply(_) => None,
        }
    }
}

impl Command {
    /// Bytes that it takes in a log entry, about.
    pub fn size(&self) -> usize {
        let most_of_it = match self {
            Self::Write { key, write, .. } => {
                let tags = write.value().map(|value| &*value.tags).unwrap_or_default();
                let tags: usize = tags.iter().map(|tag| tag.as_str().len()).sum();
                key.as_str().len() + write.bytes().len() + tags
            }
            Self::Replace { view, .. } => {
                let members = view.members.iter().chain(&view.silent);
                members.map(|one| one.node.as_str().len() + one.address.len() + 32).sum()
            }
            Self::Fence { .. } | Self::TakeOver { .. } => 0,
        };
        most_of_it + 64
    }
}
