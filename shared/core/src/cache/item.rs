//! What all parts of the protocol speak of.

use serde::{Deserialize, Serialize};

/// Number of a grant: a home gives them out in order, and each epoch's are above all earlier ones.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Gid {
    /// Epoch of the view under which it was given.
    pub epoch: u64,
    /// Its place among the grants of that home in that epoch; the first one is 1.
    pub seq: u64,
}

/// A lease of a node at a home. Each opening has a new generation; a new epoch ends all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Session {
    /// Epoch of the view.
    pub epoch: u64,
    /// Which opening of the epoch, from 1.
    pub generation: u64,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Item<V> {
    /// Rises with every change of the key. Of an absent key: no later value has a smaller one.
    pub version: u64,
    /// `None`: there is no such key.
    pub value: Option<V>,
}

/// What a line may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Right {
    /// To read, beside others.
    Shared,
    /// To read and to write; nobody else has the key.
    Exclusive,
}

/// What is left of a right that its home takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Take {
    /// The right to write: the line stays, to be read.
    Downgrade,
    /// All of it.
    Invalidate,
}

/// What a change makes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Changed<V> {
    /// Nothing: a condition failed, say.
    Not,
    /// It has this value.
    To(V),
    /// There is no such key any more.
    Gone,
}

impl<V> Changed<V> {
    /// The item after the change, which has that version; `None` if nothing changed.
    pub(super) fn item(self, version: u64) -> Option<Item<V>> {
        let value = match self {
            Self::Not => return None,
            Self::To(value) => Some(value),
            Self::Gone => None,
        };
        Some(Item { version, value })
    }
}

/// What a change does to a key's time to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry {
    /// It stays as it was.
    Kept,
    /// There is none from now on.
    Never,
    /// It ends after so many milliseconds.
    After(u64),
}

/// A change of one key, evaluated where the key is written.
pub trait Operation: Clone {
    /// What a key holds.
    type Value: Clone;
    /// What is told to whoever asked for the change.
    type Outcome: Clone;

    /// What it makes of the key, and what is told.
    fn apply(&self, item: &Item<Self::Value>) -> (Changed<Self::Value>, Self::Outcome);

    /// False for a change that the memory must know of (it sets a time to live, say): it is written
    /// through whatever the policy is.
    fn may_wait(&self, _: &Item<Self::Value>) -> bool {
        true
    }

    /// What becomes of the time to live, if something is changed.
    fn expiry(&self) -> Expiry {
        Expiry::Kept
    }
}
