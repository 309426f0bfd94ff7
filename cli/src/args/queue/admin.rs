//! Arguments of the verbs that look at queues and steer them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use dsync_core::name::Name;
use dsync_core::queue::{JobId, Overflow, State};

use crate::args::parse;

use super::JobFields;

/// A queue.
#[derive(Debug, Args)]
pub(crate) struct QueueName {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct QueueList {
    /// Only names that begin so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct QueueStats {
    /// Name of the queue; without it: all
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Option<Name>,
    /// Stay and print them again and again
    #[arg(long)]
    pub(crate) watch: bool,
    /// Time between two looks, with --watch
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse::positive, requires = "watch", allow_hyphen_values = true)]
    pub(crate) interval: Duration,
}

/// Where jobs are that can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateArg {
    /// Waits to be taken
    Ready,
    /// Not due yet, or pausing after a failure
    Delayed,
    /// Taken, on a lease
    Leased,
    /// In the dead letters
    Dead,
}

impl From<StateArg> for State {
    fn from(arg: StateArg) -> Self {
        match arg {
            StateArg::Ready => Self::Ready,
            StateArg::Delayed => Self::Delayed,
            StateArg::Leased => Self::Leased,
            StateArg::Dead => Self::Dead,
        }
    }
}

/// Arguments of `peek`.
#[derive(Debug, Args)]
pub(crate) struct Peek {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Which jobs
    #[arg(long, value_enum, value_name = "STATE", default_value = "ready")]
    pub(crate) state: StateArg,
    /// At most so many jobs
    #[arg(short = 'n', long = "max", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) max: u32,
    /// One job, wherever it is
    #[arg(long, value_parser = parse::job_id, conflicts_with_all = ["state", "max"])]
    pub(crate) id: Option<JobId>,
}

/// Arguments of `pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Why, for those who look later
    #[arg(long, value_name = "TEXT", default_value = "paused by dsctl", value_parser = parse::error_text)]
    pub(crate) reason: String,
}

/// Arguments of `purge` and `delete`.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// The name once more: what is removed is gone
    #[arg(long, value_name = "QUEUE")]
    pub(crate) confirm: String,
}

/// What a push to a full queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OverflowArg {
    /// It is refused
    Reject,
    /// The oldest ready job of the lowest priority goes to the dead letters
    DropOldest,
}

impl From<OverflowArg> for Overflow {
    fn from(arg: OverflowArg) -> Self {
        match arg {
            OverflowArg::Reject => Self::Reject,
            OverflowArg::DropOldest => Self::DropOldest,
        }
    }
}

/// Arguments of `limit`.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Jobs that are ready, delayed or leased; 0: no limit
    #[arg(long, value_name = "N", value_parser = parse::whole, allow_negative_numbers = true)]
    pub(crate) max_jobs: Option<u64>,
    /// What a push to a full queue does
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) overflow: Option<OverflowArg>,
    /// Jobs that may be leased at one time; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..), allow_negative_numbers = true)]
    pub(crate) max_in_flight: Option<u32>,
    /// Deliveries in a second, on average; 0: no limit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000), allow_negative_numbers = true)]
    pub(crate) rate: Option<u32>,
    /// Deliveries at once after a pause, with a rate
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000), allow_negative_numbers = true)]
    pub(crate) burst: Option<u32>,
    /// How long ids of acknowledged jobs are remembered
    #[arg(long, value_name = "DURATION", value_parser = parse::delay, allow_hyphen_values = true)]
    pub(crate) dedup: Option<Duration>,
}

/// Verbs of `dlq`.
#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List the dead letters, oldest first, with why they died
    #[command(before_help = "Example:\n  dsctl queue dlq list mails -n 20")]
    List(DlqList),
    /// Show one dead letter with its history
    #[command(before_help = "Example:\n  dsctl queue dlq show mails order-17")]
    Show(DlqShow),
    /// Put dead letters back into the queue, with all their attempts before them
    ///
    /// Whatever `queue limit --max-jobs` says: they have been let in once.
    #[command(before_help = "Example:\n  dsctl queue dlq redrive mails --all")]
    Redrive(DlqIds),
    /// Remove dead letters for good
    #[command(before_help = "Example:\n  dsctl queue dlq purge mails order-17 order-18")]
    Purge(DlqIds),
}

/// Arguments of `dlq list`.
#[derive(Debug, Args)]
pub(crate) struct DlqList {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// At most so many
    #[arg(short = 'n', long = "max", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) max: u32,
}

/// Arguments of `dlq show`.
#[derive(Debug, Args)]
pub(crate) struct DlqShow {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Id of the job
    #[arg(value_parser = parse::job_id)]
    pub(crate) id: JobId,
}

/// Arguments of `dlq redrive` and `dlq purge`.
#[derive(Debug, Args)]
pub(crate) struct DlqIds {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Ids of the jobs, or --all
    #[arg(value_name = "ID", value_parser = parse::job_id)]
    pub(crate) ids: Vec<JobId>,
    /// All that are there now
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Where to; without it, or -: stdout
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Dead letters too; imported, they are new jobs
    #[arg(long)]
    pub(crate) dead: bool,
}

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Where from; without it, or -: stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) fields: JobFields,
}

/// Arguments of `ring`.
#[derive(Debug, Args)]
pub(crate) struct Ring {
    /// Which node is in charge of this queue
    #[arg(long, value_name = "QUEUE", value_parser = parse::name)]
    pub(crate) key: Option<Name>,
}
