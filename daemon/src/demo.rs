//! `dsd demo`
use crate::telemetry::Recent;
use std::process::ExitCode;
/// x
#[expect(clippy::unused_async, reason = "x")]
pub async fn run(_recent: Recent) -> ExitCode {
    ExitCode::SUCCESS
}
