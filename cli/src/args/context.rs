//! `dsctl context …`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse;

/// Verbs of `context`.
#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List the contexts; the one in use has a star
    #[command(before_help = "Example:\n  dsctl context list")]
    List,
    /// Use a context from now on
    #[command(before_help = "Example:\n  dsctl context use prod")]
    Use {
        /// Its name; `-` for none
        name: String,
    },
    /// Add a context, or change the one of that name
    #[command(
        before_help = "Example:\n  dsctl context add prod --endpoints 10.0.0.1:8001,10.0.0.2:8001"
    )]
    Add(ContextAdd),
    /// Remove a context
    #[command(before_help = "Example:\n  dsctl context remove prod")]
    Remove {
        /// Its name
        name: String,
    },
    /// Show a context
    #[command(before_help = "Example:\n  dsctl context show prod")]
    Show {
        /// Its name [default: the one in use]
        name: Option<String>,
    },
}

/// Arguments of `add`; the endpoints are those of --endpoints.
#[derive(Debug, Args)]
pub(crate) struct ContextAdd {
    /// Its name
    pub(crate) name: String,
    /// Node files that belong to it
    #[arg(long, value_name = "FILE")]
    pub(crate) node_file: Vec<PathBuf>,
    /// Its --timeout
    #[arg(long, value_name = "DURATION", value_parser = parse::positive, allow_hyphen_values = true)]
    pub(crate) default_timeout: Option<Duration>,
    /// Use it from now on
    #[arg(long = "use")]
    pub(crate) use_it: bool,
}
