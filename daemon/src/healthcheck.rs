//! Asks the node with this configuration whether it lives.

use std::process::ExitCode;

use crate::args::HealthcheckArgs;
use crate::{exit, report};

/// Dials the node and gives the process's exit code.
pub fn run(_: &HealthcheckArgs) -> ExitCode {
    report::failure("`dsd healthcheck` is not in this build yet");
    exit::CONFIG.into()
}
