//! `dsctl node …`.

use clap::Subcommand;

/// Verbs of `node`.
#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Show what a node says of itself and sees of others; needs no quorum
    #[command(before_help = "Example:\n  dsctl node info 127.0.0.1:8001")]
    Info {
        /// HOST:PORT, dialed directly, or a NODE_ID, asked through any node
        addr: String,
    },
    /// Check that a node answers, and how fast
    #[command(before_help = "Example:\n  dsctl node ping 127.0.0.1:8001 --count 5")]
    Ping {
        /// HOST:PORT, dialed directly, or a NODE_ID, asked through any node
        addr: String,
        /// How many times
        #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), allow_negative_numbers = true)]
        count: u32,
    },
    /// Show a node's effective configuration and where each value came from
    #[command(before_help = "Example:\n  dsctl node config 127.0.0.1:8001")]
    Config {
        /// HOST:PORT, dialed directly, or a NODE_ID, asked through any node
        addr: String,
    },
    /// Show which version a node runs
    #[command(before_help = "Example:\n  dsctl node version 127.0.0.1:8001")]
    Version {
        /// HOST:PORT, dialed directly, or a NODE_ID, asked through any node
        addr: String,
    },
}
