//! `dsd demo`
use std::process::ExitCode;
use crate::telemetry::Recent;
/// x
#[expect(clippy::unused_async, reason = "x")]
pub async fn run(_recent: Recent) -> ExitCode { ExitCode::SUCCESS }
