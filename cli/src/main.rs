//! `dsctl`: the admin CLI of dsync. It talks to any node.

mod app;
mod args;
mod commands;
mod connect;
mod error;
mod exit;
mod lease;
mod output;
mod settings;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::main()
}
