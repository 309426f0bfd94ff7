//! Exit codes of the daemon, after sysexits.h.

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

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
