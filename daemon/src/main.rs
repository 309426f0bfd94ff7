//! `dsd`: one node of dsync, or a whole cluster for a first look.

use std::process::ExitCode;

use dsd::args::Args;

fn main() -> ExitCode {
    match Args::read() {
        Ok(args) => dsd::start::start(args),
        Err(exit) => exit,
    }
}
