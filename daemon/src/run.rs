//! Runs what was configured until it is asked to stop.

use std::process::ExitCode;

use crate::args::DevArgs;
use crate::config::Loaded;
use crate::telemetry::{HttpServer, Telemetry};
use crate::{exit, report};

/// Runs one node and gives the process's exit code.
///
/// # Cancel safety
/// Not cancel safe: run it to its end.
pub async fn run(loaded: Loaded, telemetry: Telemetry) -> ExitCode {
    let server = match &loaded.config.metrics_addr {
        None => None,
        Some(address) => match HttpServer::start(address, telemetry).await {
            Ok(server) => Some(server),
            Err(error) => {
                report::failure(error);
                return exit::UNAVAILABLE.into();
            }
        },
    };
    let role = loaded.config.role;
    report::failure(format_args!("the role {role} is not in this build yet"));
    if let Some(server) = server {
        server.stop().await;
    }
    exit::CONFIG.into()
}

/// Runs a whole cluster in this process.
pub fn dev(_: &DevArgs) -> ExitCode {
    report::failure("`dsd dev` is not in this build yet");
    exit::CONFIG.into()
}

/// Shows what the cluster does.
pub fn demo() -> ExitCode {
    report::failure("`dsd demo` is not in this build yet");
    exit::CONFIG.into()
}
