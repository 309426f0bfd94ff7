//! Exit codes of the daemon, after sysexits.h.

use std::io::ErrorKind;
use std::process::ExitCode;

/// An exit code with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

/// The node that was asked is not healthy.
pub const UNHEALTHY: Exit = Exit(1);
/// The command line is wrong.
pub const USAGE: Exit = Exit(64);
/// Something that is needed is not there: a port, a peer.
pub const UNAVAILABLE: Exit = Exit(69);
/// A fault of dsync itself.
pub const INTERNAL: Exit = Exit(70);
/// The configuration is wrong, or asks for what this build does not have.
pub const CONFIG: Exit = Exit(78);

/// The code for a data directory that cannot be used.
///
/// It is wrong when it is someone else's, or no directory that this process may write to; that
/// needs an operator. A disk that is full, fails or holds damaged files is no matter of
/// configuration; nor is a process that has not ended yet.
pub const fn of_data(kind: ErrorKind) -> Exit {
    use ErrorKind::{AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied};
    if matches!(kind, InvalidInput | PermissionDenied | NotADirectory | NotFound | AlreadyExists) {
        CONFIG
    } else if matches!(kind, ErrorKind::WouldBlock) {
        UNAVAILABLE
    } else {
        INTERNAL
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_no_matter_of_configuration() {
        assert_eq!(of_data(ErrorKind::StorageFull), INTERNAL);
        assert_eq!(of_data(ErrorKind::Other), INTERNAL, "EIO has no kind of its own");
        assert_eq!(of_data(ErrorKind::InvalidData), INTERNAL);
        assert_eq!(of_data(ErrorKind::WouldBlock), UNAVAILABLE);
        assert_eq!(of_data(ErrorKind::InvalidInput), CONFIG);
        assert_eq!(of_data(ErrorKind::PermissionDenied), CONFIG);
    }
}
