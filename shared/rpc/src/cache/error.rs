//! Why the cache did not do what was asked.

use dsync_core::cache::op::{Key, Outcome};
use dsync_core::{Code, Effect, Fault};

/// Why a request to the cache failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The condition of a change does not hold. Nothing was changed.
    #[error("{key}: the condition does not hold: {}", now(*.version))]
    Unmet {
        /// The key.
        key: Key,
        /// Its version; `None`: there is no such key.
        version: Option<u64>,
    },
    /// What is to be incremented is no decimal number of 64 bits. Nothing was changed.
    #[error("{key} holds no decimal number of 64 bits")]
    NotANumber {
        /// The key.
        key: Key,
    },
    /// The sum does not fit into 64 bits. Nothing was changed.
    #[error("{key}: the sum does not fit into 64 bits")]
    Overflow {
        /// The key.
        key: Key,
    },
    /// The memory behind the nodes has no more room. Nothing was changed.
    #[error("{key}: the memory is full: {used} of {limit} bytes are in use")]
    Full {
        /// The key.
        key: Key,
        /// Bytes in use.
        used: u64,
        /// Bytes that there may be.
        limit: u64,
    },
    /// It is larger than it may be; the text names the limit. Nothing was sent.
    #[error(transparent)]
    TooLarge(Fault),
    /// No node, no home or no memory could be asked. Nothing was changed; a later try may succeed.
    #[error(transparent)]
    Unavailable(Fault),
    /// A change may have been made, or may still be. The same one
    /// [under](super::CacheClient::under) this id has no second effect, as long as nobody else has
    /// changed the key since.
    #[error("{fault}")]
    Unknown {
        /// Names the change.
        request_id: u128,
        /// What happened.
        fault: Fault,
    },
    /// Of many changes: one before it failed, and this one was not sent or not carried out.
    #[error("{key} was not tried: a change before it failed")]
    NotTried {
        /// The key.
        key: Key,
    },
    /// Anything else; nothing was changed.
    #[error(transparent)]
    Fault(Fault),
}

fn now(version: Option<u64>) -> String {
    match version {
        Some(version) => format!("it has version {version}"),
        None => "there is no such key".to_owned(),
    }
}

impl From<Fault> for CacheError {
    fn from(fault: Fault) -> Self {
        if fault.code == Code::Unavailable && fault.effect == Effect::None {
            Self::Unavailable(fault)
        } else {
            Self::Fault(fault)
        }
    }
}

impl CacheError {
    /// A fault of a change under that id.
    pub(super) fn of_change(fault: Fault, request_id: u128) -> Self {
        match fault.effect {
            Effect::Unknown => Self::Unknown { request_id, fault },
            Effect::None | Effect::Done => fault.into(),
        }
    }

    /// What was refused before it was sent.
    pub(super) fn unsent(fault: Fault) -> Self {
        if fault.code == Code::LimitReached { Self::TooLarge(fault) } else { fault.into() }
    }

    /// The error that an outcome is, for a change that hoped for something else.
    pub(super) fn of(key: Key, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Unmet(version) => Self::Unmet { key, version },
            Outcome::NotANumber => Self::NotANumber { key },
            Outcome::Overflow => Self::Overflow { key },
            Outcome::Full { used, limit } => Self::Full { key, used, limit },
            Outcome::Set | Outcome::Deleted(_) | Outcome::Number(_) => {
                let text = format!("{key}: an outcome out of place: {outcome:?}");
                Self::Fault(Fault::new(Code::Incompatible, text))
            }
        }
    }

    /// A later try of the same may succeed. After [`Self::Unknown`] only under its request id, and
    /// only if nobody else changes the key.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unmet { .. }
            | Self::NotANumber { .. }
            | Self::Overflow { .. }
            | Self::TooLarge(_) => false,
            Self::Full { .. } | Self::Unavailable(_) | Self::NotTried { .. } => true,
            Self::Unknown { fault, .. } | Self::Fault(fault) => fault.retryable,
        }
    }
}
