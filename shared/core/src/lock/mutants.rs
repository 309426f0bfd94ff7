//! Known bugs, put back on purpose to see that the tests catch them. Unit tests only.

use std::cell::Cell;

/// One known bug. The numbers are those of the reliability plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// 1: the token is the time.
    TokenFromClock,
    /// 3: deadlines are compared with a clock of the node.
    ExpiryByLocalClock,
    /// 4: no grace after a change of leader.
    NoNewTermGrace,
    /// 8: a release does not look whose grant it is.
    ReleaseWithoutOwnerCheck,
    /// 9: a repeated request queues again.
    RetryQueuesTwice,
    /// 10: one who gave up stays in the queue.
    WaiterLeftBehind,
    /// 11: a sharer does not look at who waits.
    ReaderOvertakesWriter,
}

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// True when this bug is in force on this thread.
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Runs `body` with the bug in force.
pub(crate) fn with<T>(mutant: Mutant, body: impl FnOnce() -> T) -> T {
    ACTIVE.set(Some(mutant));
    let result = body();
    ACTIVE.set(None);
    result
}
