//! `dsctl`: the admin CLI of dsync. It talks to any node.

#[expect(clippy::wildcard_enum_match_arm, reason = "all that clap refuses ends the same way")]
mod app;
#[expect(clippy::doc_markdown, reason = "doc comments are help texts, where backticks would show")]
mod args;
mod child;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a command hopes for one kind of answer; every other one is a refusal"
)]
mod commands;
mod connect;
mod error;
mod exit;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a request hopes for one kind of answer; every other one is a refusal"
)]
mod lease;
mod output;
mod settings;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::main()
}
