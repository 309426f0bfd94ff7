//! What can go wrong, as every part of dsync says it: on the wire, in JSON and in exit codes.

use serde::{Deserialize, Serialize};

/// Kind of a failure. Append only: the number is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Code {
    /// The request breaks a rule of its own (a name, a number, a combination).
    InvalidArgument,
    /// Nothing of that name is there.
    NotFound,
    /// No leader, no quorum, or the node is stopping.
    Unavailable,
    /// A fault of dsync itself.
    Internal,
    /// The state does not allow it: a stale token, a version that has moved on.
    Conflict,
    /// The time given was used up.
    Timeout,
    /// The other side is not a dsd, or speaks another protocol version.
    Incompatible,
    /// The node belongs to another cluster.
    WrongCluster,
    /// Someone else holds it.
    NotOwner,
    /// Waiting would close a cycle of waiters.
    Deadlock,
    /// An older request took the lock away (wound-wait), or this one had to give way (wait-die).
    Wounded,
    /// The session is over: everything it held is released.
    SessionExpired,
    /// A limit was reached; the message names it.
    LimitReached,
    /// This node does not do that; its role is another.
    WrongRole,
    /// The caller may not do that.
    Denied,
    /// The request would have to wait and said that it will not.
    WouldBlock,
}

/// What is known of the effect of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Effect {
    /// It was not carried out and never will be.
    None,
    /// It was carried out.
    Done,
    /// It may have been carried out, or may still be: repeat it only with the same request id.
    Unknown,
}

/// A failure as it travels: what, in words; what to do; and whether anything happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Kind of the failure.
    pub code: Code,
    /// One sentence that names the value at fault.
    pub message: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
    /// What is known of the request's effect.
    pub effect: Effect,
    /// True when the same request, repeated with the same request id, may succeed.
    pub retryable: bool,
}

impl Fault {
    /// A failure without effect that a repetition will not mend.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, effect: Effect::None, retryable: false }
    }

    /// A failure of the moment: nothing was done, and a later try may succeed.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { retryable: true, ..Self::new(Code::Unavailable, message) }
    }

    /// The answer got lost: the request may have been carried out.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self { effect: Effect::Unknown, retryable: true, ..Self::new(Code::Timeout, message) }
    }

    /// Adds what the reader can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
