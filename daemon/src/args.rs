//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args as ClapArgs, Parser, Subcommand};
use dsync_core::config::{Flag, Key};

use crate::exit;

const EXAMPLES: &str = "\
Examples:
  dsd --env-file envs/lock_node1.env --node-type lock    one node
  dsd dev                                                a whole cluster in one process
  dsd demo                                               a guided tour";

const AFTER: &str = "\
Every key of the .env file may also be set in the process environment, which outdoes the file;
a flag outdoes both. Exit codes: 0 stopped, 64 usage, 69 its port or data directory is taken, 70 a
fault of its own or of its disk, 78 configuration, or another's data directory, 130 stopped twice.";

/// Locks, job queues and a coherent cache: the daemon.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "dsd",
    version,
    before_help = EXAMPLES,
    after_help = AFTER,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// One node: the default.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Anything else.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of a node.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct NodeArgs {
    /// File with the node's settings; of several the last one counts
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// What the node does: lock, queue or cache
    #[arg(long, value_name = "TYPE")]
    pub node_type: Option<String>,
    /// Where the node keeps its files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// How log lines look: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Check the configuration and exit: 0 good, 78 not
    #[arg(long)]
    pub check_config: bool,
    /// Print each setting and where it came from, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// What `dsd` does besides running one node.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run a whole cluster in this process, on the local ports
    #[command(before_help = "Example:\n  dsd dev")]
    Dev(DevArgs),
    /// Show locks, job queues and the cache at work on a cluster of its own, step by step
    #[command(before_help = "Example:\n  dsd demo")]
    Demo,
    /// Ask the node with this configuration whether it lives, for Docker
    #[command(before_help = "Example:\n  dsd healthcheck --ready")]
    Healthcheck(HealthcheckArgs),
}

/// Flags of `dsd dev`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct DevArgs {
    /// Keep state here; without it the cluster forgets everything at its end
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Ports of the lock nodes
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        default_values_t = [8001, 8002, 8003],
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub ports: Vec<u16>,
    /// Ports of the queue nodes
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        default_values_t = [9001, 9002, 9003],
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub queue_ports: Vec<u16>,
    /// Ports of the cache nodes
    #[arg(
        long,
        value_name = "PORT,…",
        value_delimiter = ',',
        default_values_t = [7001, 7002, 7003],
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub cache_ports: Vec<u16>,
}

/// Flags of `dsd healthcheck`: those that the node was started with will do.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct HealthcheckArgs {
    /// File with the node's settings, where they are not in the environment
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// What the node does; not needed
    #[arg(long, value_name = "TYPE")]
    pub node_type: Option<String>,
    /// Where the node keeps its files; not needed but for a node that names itself
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Ask whether it serves requests, not only whether it lives
    #[arg(long)]
    pub ready: bool,
}

impl Args {
    /// Reads the command line of this process. Help and version are printed here.
    ///
    /// # Errors
    /// The exit code: 0 after help or version, 64 after a message about wrong usage.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            // A closed pipe is no reason to fail.
            drop(error.print());
            if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS }
        })
    }
}

impl NodeArgs {
    /// The flags that set a key of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        flags([
            ("--node-type", Key::NodeType, &self.node_type),
            ("--data-dir", Key::DataDir, &self.data_dir),
            ("--log-format", Key::LogFormat, &self.log_format),
        ])
    }
}

impl HealthcheckArgs {
    /// The flags that set a key of the configuration.
    pub fn flags(&self) -> Vec<Flag> {
        flags([
            ("--node-type", Key::NodeType, &self.node_type),
            ("--data-dir", Key::DataDir, &self.data_dir),
        ])
    }
}

fn flags<const N: usize>(given: [(&'static str, Key, &Option<String>); N]) -> Vec<Flag> {
    given
        .into_iter()
        .filter_map(|(name, key, value)| Some(Flag { name, key, value: value.clone()? }))
        .collect()
}
