//! From the command line to a running node.

use std::path::Path;
use std::process::ExitCode;

use dsync_core::config::Refused;

use crate::args::{Args, Command, NodeArgs};
use crate::config;
use crate::telemetry::Recent;
use crate::telemetry::{self, Telemetry};
use crate::{demo, dev, exit, report, run};

const NO_FILE: &str = "no --env-file was given; `dsd --env-file envs/lock_node1.env --node-type \
                       lock` starts a node that comes with dsync, `dsd dev` a whole cluster";

/// Most threads of one node: its work is one Raft log.
const WORKERS_MAX: usize = 4;

/// Does what the command line asks for and gives the process's exit code.
pub fn start(args: Args) -> ExitCode {
    match args.command {
        None => node(&args.node),
        Some(Command::Dev(dev)) => cluster("info", async |recent| dev::run(&dev, recent).await),
        Some(Command::Demo) => cluster("error", demo::run),
        Some(Command::Healthcheck(check)) => crate::healthcheck::run(&check),
    }
}

fn node(args: &NodeArgs) -> ExitCode {
    let refuse = |refused: Refused| {
        report::failure(refused);
        if args.env_file.is_empty() {
            report::failure(NO_FILE);
        }
        exit::CONFIG.into()
    };
    if args.check_config || args.print_config {
        return match config::check(&args.env_file, args.flags()) {
            Ok(loaded) => {
                if args.print_config {
                    report::settings(&loaded.settings);
                }
                let warnings = loaded.warnings.iter().map(ToString::to_string);
                for warning in warnings {
                    report::failure(format_args!("warning: {warning}"));
                }
                ExitCode::SUCCESS
            }
            Err(refused) => refuse(refused),
        };
    }
    let loaded = match config::load(&args.env_file, args.flags()) {
        Ok(loaded) => loaded,
        Err(refused) => return refuse(refused),
    };
    let recent = match telemetry::init(&loaded.config) {
        Ok(recent) => recent,
        Err(error) => return fail(exit::CONFIG, error),
    };
    for warning in &loaded.warnings {
        tracing::warn!(place = warning.place, "{}", warning.message);
    }
    in_runtime(run::run(loaded, Telemetry::new(recent)))
}

/// Runs what needs a whole cluster in this process, with that much of a log.
fn cluster(level: &str, work: impl AsyncFnOnce(Recent) -> ExitCode) -> ExitCode {
    let mut config = dev::lock_node(0, &[], Path::new(""));
    level.clone_into(&mut config.log_level);
    match telemetry::init(&config) {
        Ok(recent) => in_runtime(work(recent)),
        Err(error) => fail(exit::INTERNAL, error),
    }
}

fn in_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => fail(exit::INTERNAL, format_args!("cannot start the runtime: {error}")),
    }
}

/// On one or two cores one thread serves everything: threads that hand each request on cost more
/// than they bring (`docs/adr/030-one-thread-on-small-machines.md`).
fn runtime() -> tokio::runtime::Builder {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores <= 2 {
        return tokio::runtime::Builder::new_current_thread();
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads((cores / 2).min(WORKERS_MAX));
    builder
}

fn fail(code: exit::Exit, why: impl std::fmt::Display) -> ExitCode {
    report::failure(why);
    code.into()
}
