//! Known bugs that the tests put back, to prove that they would be noticed.

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutant {
    /// Reports an append flushed before it is synced.
    AckBeforeSync,
    /// Does not sync a vote.
    VoteNotSynced,
    /// Takes a record whatever its checksum.
    BadChecksumTaken,
}

#[cfg(test)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Puts a bug back for this thread, or takes it out.
#[cfg(test)]
pub(super) fn set(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}

#[cfg(test)]
pub(super) fn active(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

#[cfg(not(test))]
pub(super) const fn active(_mutant: Mutant) -> bool {
    false
}
