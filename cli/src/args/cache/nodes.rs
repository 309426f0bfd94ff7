//! Arguments of the verbs that look at the whole cache.

use std::time::Duration;

use clap::Args;
use dsync_core::name::Name;

use crate::args::parse;

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(crate) struct CacheStatsArgs {
    /// Stay and print them again and again
    #[arg(long)]
    pub(crate) watch: bool,
    /// Time between two looks, with --watch
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse::positive, requires = "watch", allow_hyphen_values = true)]
    pub(crate) interval: Duration,
}

/// Arguments of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeyList {
    /// Only keys that begin so
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        conflicts_with = "tag"
    )]
    pub(crate) prefix: String,
    /// Only keys that have this tag
    #[arg(long, value_name = "TAG", value_parser = parse::name)]
    pub(crate) tag: Option<Name>,
    /// At most so many; without it: all
    #[arg(long, short = 'n', value_name = "N", value_parser = parse::some, allow_negative_numbers = true)]
    pub(crate) limit: Option<u64>,
}
