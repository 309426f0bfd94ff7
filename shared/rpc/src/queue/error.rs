//! Why a queue did not do what was asked.

use dsync_core::name::Name;
use dsync_core::queue::{Outcome, Receipt};
use dsync_core::{Code, Fault};

use super::producer::Pushed;

/// Why a request to a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The queue takes no more jobs; the text names its limit. The job is not in it. Push again
    /// later, with the same id.
    #[error("{queue}: {limit}")]
    Full {
        /// The queue.
        queue: Name,
        /// Its limit, in words.
        limit: String,
    },
    /// The lease was lost: the job was, or will be, given to another. Nothing was done.
    #[error("the lease of {receipt} was lost")]
    Stale {
        /// The delivery.
        receipt: Receipt,
    },
    /// Anything else. `effect` tells whether it may have been carried out.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Some of many jobs were pushed, and then it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error} (after {} jobs were pushed)", .pushed.len())]
pub struct PushAllError {
    /// What became of the first ones. The next ones may have been pushed too if the error's effect
    /// is unknown: push them again, their ids make that harmless.
    pub pushed: Vec<Pushed>,
    /// What went wrong then.
    pub error: QueueError,
}

impl QueueError {
    /// The error that an outcome is, for a request that asked for something else.
    pub(super) fn of(outcome: Outcome) -> Self {
        Self::Fault(match outcome {
            Outcome::Invalid(text) => Fault::new(Code::InvalidArgument, text),
            Outcome::LimitReached(text) => Fault::new(Code::LimitReached, text),
            other @ (Outcome::Pushed(_)
            | Outcome::Popped(_)
            | Outcome::Settled(_)
            | Outcome::Set
            | Outcome::Moved(_)) => {
                Fault::new(Code::Internal, format!("an outcome out of place: {other:?}"))
            }
        })
    }

    /// A later try of the same may succeed: the cluster cannot be reached, or serves nobody now.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Stale { .. } => false,
            Self::Fault(fault) => fault.retryable,
        }
    }
}
