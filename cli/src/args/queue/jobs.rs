//! Arguments of the verbs that move jobs.

use std::time::Duration;

use clap::{Args, ValueEnum};
use dsync::api::Durability;
use dsync_core::name::Name;
use dsync_core::queue::{JobId, Receipt};

use crate::args::parse;

/// What a job is pushed with.
#[derive(Debug, Clone, Args)]
pub(crate) struct JobFields {
    /// 0 to 9; 9 goes first
    #[arg(long, value_name = "0-9", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=9), allow_negative_numbers = true)]
    pub(crate) priority: u8,
    /// Not delivered before so long from now
    #[arg(long, value_name = "DURATION", value_parser = parse::delay, conflicts_with = "at", allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// Not delivered before that time: 2026-11-25T18:30:00Z, or seconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse::point_in_time)]
    pub(crate) at: Option<Duration>,
    /// Deliveries before it goes to the dead letters; 0: no limit
    #[arg(long, value_name = "N", default_value_t = dsync_core::queue::DEFAULT_ATTEMPTS, value_parser = clap::value_parser!(u32).range(0..), allow_negative_numbers = true)]
    pub(crate) max_attempts: u32,
    /// Pause after the first failure, doubled each time; 0: none [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse::delay, allow_hyphen_values = true)]
    pub(crate) backoff: Option<Duration>,
    /// To the dead letters if not done so long after the push
    #[arg(long, value_name = "DURATION", value_parser = parse::ttl_of_job, allow_hyphen_values = true)]
    pub(crate) ttl: Option<Duration>,
    /// A header, for the consumer; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse::header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Answer no sooner than the push is so safe; if less was reached, the job is pushed and the exit code 69
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) durability: Option<DurabilityArg>,
}

/// What an acknowledged push survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// In the memory of Redis
    Memory,
    /// On the disk of Redis
    Fsync,
    /// In the memory of a Redis replica too; no consensus
    Replica,
    /// On the disks of a majority of the nodes
    Quorum,
}

impl From<DurabilityArg> for Durability {
    fn from(arg: DurabilityArg) -> Self {
        match arg {
            DurabilityArg::Memory => Self::Memory,
            DurabilityArg::Fsync => Self::Fsync,
            DurabilityArg::Replica => Self::Replica,
            DurabilityArg::Quorum => Self::Quorum,
        }
    }
}

/// Arguments of `push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// The payload; @FILE: that file; - or nothing: stdin
    #[arg(value_name = "PAYLOAD")]
    pub(crate) payload: Option<String>,
    /// Id of the job: pushing it again is no second job [default: a random one]
    #[arg(long, value_parser = parse::job_id, conflicts_with = "jsonl")]
    pub(crate) id: Option<JobId>,
    #[command(flatten)]
    pub(crate) fields: JobFields,
    /// Each line of the payload is a job in JSON
    #[arg(long)]
    pub(crate) jsonl: bool,
}

/// Arguments of `pop`.
#[derive(Debug, Args)]
pub(crate) struct Pop {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// At most so many jobs
    #[arg(short = 'n', long = "max", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), allow_negative_numbers = true)]
    pub(crate) max: u32,
    /// Longest wait for a job
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse::wait, allow_hyphen_values = true)]
    pub(crate) wait: Duration,
    /// Time to say what became of them
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::lease, allow_hyphen_values = true)]
    pub(crate) lease: Duration,
    /// Acknowledge at once: a job is lost if this command, or what reads it, fails
    #[arg(long, conflicts_with = "lease")]
    pub(crate) ack: bool,
}

/// Arguments of `ack` and `release`.
#[derive(Debug, Args)]
pub(crate) struct Receipts {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Receipts as `queue pop` printed them
    #[arg(required = true, value_name = "RECEIPT", value_parser = parse::receipt)]
    pub(crate) receipts: Vec<Receipt>,
}

/// Arguments of `nack`.
#[derive(Debug, Args)]
pub(crate) struct Nack {
    #[command(flatten)]
    pub(crate) of: Receipts,
    /// Not delivered again before so long from now [default: the job's backoff]
    #[arg(long, value_name = "DURATION", value_parser = parse::delay, allow_hyphen_values = true)]
    pub(crate) delay: Option<Duration>,
    /// Why, kept with the job
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = parse::error_text)]
    pub(crate) error: String,
}

/// Arguments of `reject`.
#[derive(Debug, Args)]
pub(crate) struct Reject {
    #[command(flatten)]
    pub(crate) of: Receipts,
    /// Why, kept with the job
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = parse::error_text)]
    pub(crate) error: String,
}

/// Arguments of `extend`.
#[derive(Debug, Args)]
pub(crate) struct Extend {
    #[command(flatten)]
    pub(crate) of: Receipts,
    /// The lease from now on
    #[arg(long, value_name = "DURATION", value_parser = parse::lease, allow_hyphen_values = true)]
    pub(crate) lease: Duration,
}
