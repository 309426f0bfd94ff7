//! How many files and sockets this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as a process may by itself, and gives what it is then.
///
/// Systems start a process with a low limit for the sake of old programs, and let it ask for more.
pub fn raise() -> usize {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    // None: there is no limit.
    let now = getrlimit(Resource::Nofile).current;
    now.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}
