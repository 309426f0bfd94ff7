//! What the commands do, one file per verb.

mod bench;
mod cache;
mod cluster;
mod completion;
mod context;
mod ctx;
mod help;
pub(crate) mod input;
mod lock;
mod man;
mod node;
mod queue;
mod raft;
pub(crate) mod refusal;
pub(crate) mod survey;
mod version;
mod way;

use dsync_core::Code;

use crate::args::Command;
use crate::error::{Failure, Result};
use crate::exit::Exit;

pub(crate) use bench::tally::Report;
pub(crate) use ctx::{Ctx, unexpected};
#[cfg(test)]
pub(crate) use raft::verdict::summary as raft_summary;
pub(crate) use raft::verdict::{led as raft_led, reason as raft_reason};
pub(crate) use survey::raft::no_raft_text;

/// Carries a command out.
pub(crate) fn run(command: Command, ctx: &Ctx) -> Result<Exit> {
    match command {
        Command::Lock(verb) => block_on(lock::run(verb, ctx)),
        Command::Queue(verb) => block_on(queue::run(verb, ctx)),
        Command::Cache(verb) => block_on(cache::run(verb, ctx)),
        Command::Raft(verb) => block_on(raft::run(verb, ctx)),
        Command::Cluster(verb) => block_on(cluster::run(verb, ctx)),
        Command::Node(verb) => block_on(node::run(verb, ctx)),
        Command::Bench(verb) => block_on(bench::run(verb, ctx)),
        Command::Context(verb) => context::run(verb, ctx),
        Command::Completion(args) => completion::run(&args, ctx),
        Command::Man(args) => man::run(&args, ctx),
        Command::Version => version::run(ctx),
        Command::Help(args) => help::run(&args, ctx),
    }
}

/// Runs on this thread alone: a command is one conversation.
fn block_on(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let result = runtime.block_on(work);
            // A name lookup that still runs must not hold up the end.
            runtime.shutdown_background();
            result
        }
        Err(error) => Err(Failure::new(Code::Internal, format!("cannot start: {error}"))),
    }
}
