//! Arguments of `queue work`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use dsync_core::name::Name;

use crate::args::parse;

/// Arguments of `work`.
#[derive(Debug, Args)]
pub(crate) struct Work {
    /// Name of the queue
    #[arg(value_parser = parse::name)]
    pub(crate) queue: Name,
    /// Commands at one time
    #[arg(long, short = 'c', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), allow_negative_numbers = true)]
    pub(crate) concurrency: u32,
    /// Lease: if dsctl dies, others get its jobs so long after
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::lease, allow_hyphen_values = true)]
    pub(crate) lease: Duration,
    /// End after so many jobs
    #[arg(long, value_name = "N", value_parser = parse::some, allow_negative_numbers = true)]
    pub(crate) max_jobs: Option<u64>,
    /// End when there is no job left to take
    #[arg(long)]
    pub(crate) drain: bool,
    /// Who works, for others to read
    #[arg(
        long,
        value_name = "ID",
        value_parser = parse::name,
        help = "Who works, for others to read [env: DSCTL_OWNER] [default: user@host]"
    )]
    pub(crate) owner: Option<Name>,
    /// Time between TERM and KILL
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse::duration, allow_hyphen_values = true)]
    pub(crate) grace: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
