//! Why a lock was not granted.

use dsync_core::lock::{CycleStep, Delay, Holder, Outcome};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};

/// Why a request for a lock failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The session is over: everything it held is, or is about to be, released. Open a new one.
    #[error("the session is over: its locks are lost")]
    SessionLost,
    /// Someone else holds the lock, and the request said that it will not wait.
    #[error("the lock is held{}", held_by(.holders))]
    WouldBlock {
        /// Who holds it.
        holders: Vec<Holder>,
        /// Why it is not granted though nobody holds it.
        delay: Option<Delay>,
    },
    /// Not granted within the wait; the request is withdrawn.
    #[error("not granted in time")]
    Timeout,
    /// Waiting would have closed this cycle of waiters.
    #[error("deadlock: {}", cycle_text(.0))]
    Deadlock(Vec<CycleStep>),
    /// An older request has, or gets, what this one wanted.
    #[error("gave way to {by} for {lock}, which asked first")]
    Wounded {
        /// The lock.
        lock: Name,
        /// The older one.
        by: Name,
    },
    /// The token does not hold the lock, or not any more.
    #[error("that token does not hold the lock{}", held_by(.current))]
    NotHolder {
        /// Who does.
        current: Vec<Holder>,
    },
    /// The request was withdrawn by its own session.
    #[error("the request was withdrawn")]
    Cancelled,
    /// Anything else. `effect` tells whether it may have been carried out.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn held_by(holders: &[Holder]) -> String {
    holders.first().map(|holder| format!(" by {}", holder.owner)).unwrap_or_default()
}

fn cycle_text(cycle: &[CycleStep]) -> String {
    let steps: Vec<_> = cycle
        .iter()
        .map(|step| format!("{} waits for {} held by {}", step.waiter, step.lock, step.holder))
        .collect();
    steps.join(", ")
}

impl LockError {
    /// The error that an outcome is, for a request that asked for something else.
    pub(super) fn of(outcome: Outcome) -> Self {
        let odd = |text: String| Self::Fault(Fault::new(Code::Internal, text));
        match outcome {
            Outcome::SessionExpired => Self::SessionLost,
            Outcome::WouldBlock { holders, delay } => Self::WouldBlock { holders, delay },
            Outcome::Timeout => Self::Timeout,
            Outcome::Deadlock(cycle) => Self::Deadlock(cycle),
            Outcome::Wounded { lock, by } => Self::Wounded { lock, by },
            Outcome::NotHolder { current } => Self::NotHolder { current },
            Outcome::Cancelled => Self::Cancelled,
            Outcome::LimitReached(text) => Self::Fault(Fault::new(Code::LimitReached, text)),
            Outcome::Invalid(text) => Self::Fault(Fault::new(Code::InvalidArgument, text)),
            Outcome::StaleSeq => {
                odd("the request was repeated after its answer was given up".into())
            }
            other @ (Outcome::SessionOpened { .. }
            | Outcome::SessionClosed
            | Outcome::Granted(_)
            | Outcome::Queued { .. }
            | Outcome::Released { .. }
            | Outcome::Renewed { .. }
            | Outcome::Converted(_)) => odd(format!("an outcome out of place: {other:?}")),
        }
    }
}
