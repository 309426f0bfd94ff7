//! `dsd`: one node of dsync, or a whole cluster for a first look.

use std::process::ExitCode;

use dsd::args::Args;

/// Requests and entries are many small pieces of memory: this allocator is measurably faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Args::read() {
        Ok(args) => dsd::start::start(args),
        Err(exit) => exit,
    }
}
