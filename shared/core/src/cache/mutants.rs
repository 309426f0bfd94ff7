//! Known bugs, put back on purpose to see that the model finds them. Unit tests only.

use std::cell::Cell;

/// One known bug. Those with a number are of the reliability plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A session that ran out while it could write is not fenced off.
    NoFence,
    /// The memory takes writes of any epoch.
    NoPartitionFence,
    /// A grant is kept though it was revoked before it came.
    NoFloor,
    /// A reader that came after a revocation is answered by an older grant.
    LateReaderServed,
    /// A reader without the session of the miss is answered by its grant.
    ReaderOfOtherSession,
    /// Reads go on while a write of this node is on its way.
    ReadDuringOwnWrite,
    /// A revocation is acknowledged while a write is on its way.
    AcknowledgeDuringWrite,
    /// 17: the exclusive right is given while others share the key.
    ExclusiveWhileShared,
    /// 18: the right to write is given before the others have acknowledged.
    WriteBeforeAcknowledged,
    /// 19: a dirty line is dropped.
    DirtyDropped,
    /// A home that finds another version than it gave leaves the copies where they are.
    OldCopiesStay,
    /// A key that is absent is taken for absent since it was given away.
    AbsentAgain,
    /// A node's own lease is counted from when the answer came.
    LeaseFromReceipt,
    /// A home does not wait for those that were counted out.
    SilentNotAwaited,
    /// Who was counted out is forgotten with the next view.
    SilentDropped,
    /// A memory without a view never had one.
    NothingWasBefore,
}

thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// True when this bug is in force on this thread.
pub(crate) fn is_on(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Runs `body` with the bug in force, or none.
pub(crate) fn with<T>(mutant: Option<Mutant>, body: impl FnOnce() -> T) -> T {
    let before = ACTIVE.replace(mutant);
    let result = body();
    ACTIVE.set(before);
    result
}
