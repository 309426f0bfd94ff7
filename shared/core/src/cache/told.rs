//! What a line is told, and what it wants done.

use serde::{Deserialize, Serialize};

use super::item::{Gid, Item, Operation, Right, Session, Take};

/// Whoever waits for an answer, by a number that the caller chose.
pub type Waiter = u64;

/// When changes reach the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum WritePolicy {
    /// Before they are acknowledged.
    #[default]
    Through,
    /// Some time after.
    Back,
}

/// What is on its way to the memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change<V, O> {
    /// A change that the memory evaluates.
    Apply(O),
    /// The dirty value, as it is.
    Put(Item<V>),
}

/// A revocation, by the number of the home's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// Number by which the acknowledgement names it.
    pub id: u64,
    /// Session that it is meant for.
    pub session: Session,
    /// Grants up to this one are taken back.
    pub upto: Gid,
    /// What is left.
    pub take: Take,
}

/// A right that a home gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant<V> {
    /// The request that it answers.
    pub request: u64,
    /// What it is.
    pub right: Right,
    /// What the key held when it was given.
    pub item: Item<V>,
    /// Its number.
    pub gid: Gid,
    /// The session that it is given to.
    pub session: Session,
    /// When the value expires, by the clock of the node that gets it.
    pub until: Option<u64>,
}

/// Why a waiter gets nothing. Nothing was done, but for `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failed {
    /// The node has no lease.
    NoLease,
    /// The home did not answer, or is not the home any more.
    NoGrant,
    /// The memory refused the write: the right to it had been taken away, or it was given up.
    Fenced,
    /// The memory refused the write when it was repeated: it may have been done before.
    Unknown,
}

/// What a line wants done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect<V, O: Operation> {
    /// Ask the home for the key, in that session.
    Ask {
        /// Number that the grant names.
        request: u64,
        /// What is asked for.
        right: Right,
        /// The session.
        session: Session,
    },
    /// Write to the memory, with the right of that session, until it answers.
    Write {
        /// Number by which a repetition is known.
        id: u64,
        /// What to write.
        change: Change<V, O>,
        /// The session.
        session: Session,
    },
    /// A read is answered.
    Read {
        /// Whose.
        waiter: Waiter,
        /// What is there.
        item: Item<V>,
    },
    /// A change is answered.
    Changed {
        /// Whose.
        waiter: Waiter,
        /// What came of it.
        outcome: O::Outcome,
        /// The version of the key since.
        version: u64,
    },
    /// A waiter gets nothing.
    Fail {
        /// Which one.
        waiter: Waiter,
        /// Why.
        why: Failed,
    },
    /// A revocation is acknowledged.
    Acknowledge {
        /// Its number.
        id: u64,
        /// The line stays, to be read.
        kept: bool,
    },
    /// A change that was acknowledged never reached the memory (write-back only).
    Lost {
        /// Version of the value that is lost.
        version: u64,
    },
}

/// What the memory said to a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Written<V, Out> {
    /// It was done, or had been done before.
    Done {
        /// What the key holds since.
        item: Item<V>,
        /// What came of it; `None` for a dirty value that was put.
        outcome: Option<Out>,
        /// When the value expires, by this node's clock.
        until: Option<u64>,
    },
    /// It was not done, and this is told; the key and the right to it are as they were.
    Not(Out),
    /// The right to write had been taken away.
    Fenced,
    /// It was sent before without an answer, and by now the right to write has been taken away.
    Unknown,
}

/// The state of a line, by the names of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineState {
    /// Nothing is held.
    I,
    /// To be read, beside others.
    S,
    /// To be read and written; nobody else has it.
    E,
    /// Written, and not in the memory yet.
    M,
    /// Asked for, to be read.
    IsD,
    /// Asked for, to be written.
    ImD,
    /// The same, and read meanwhile.
    SmD,
    /// A change is on its way to the memory.
    Ew,
    /// What was written is on its way to the memory.
    Mf,
}

impl LineState {
    /// All of them.
    pub const ALL: [Self; 9] =
        [Self::I, Self::S, Self::E, Self::M, Self::IsD, Self::ImD, Self::SmD, Self::Ew, Self::Mf];

    /// The name in JSON and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::I => "I",
            Self::S => "S",
            Self::E => "E",
            Self::M => "M",
            Self::IsD => "IS_D",
            Self::ImD => "IM_D",
            Self::SmD => "SM_D",
            Self::Ew => "E_W",
            Self::Mf => "M_F",
        }
    }
}
