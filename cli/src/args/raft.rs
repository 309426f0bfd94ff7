//! `dsctl raft …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dsync_core::node::Role;

/// Verbs of `raft`.
#[derive(Debug, Subcommand)]
pub(crate) enum Raft {
    /// Name the leader, asked of every node
    ///
    /// Only a node that says it leads, in the highest term, and that a quorum acknowledged within the
    /// election timeout, counts. Otherwise exit 69.
    #[command(before_help = "Example:\n  dsctl raft leader -o name")]
    Leader(OfRole),
    /// Show every voter and learner, unreachable ones too, of the lock and of the queue nodes
    #[command(before_help = "Example:\n  dsctl raft peers")]
    Peers(OfRole),
    /// Show all figures of one node
    #[command(before_help = "Example:\n  dsctl raft status node-lock-1")]
    Status {
        /// NODE_ID or HOST:PORT [default: the leader, or any node of the role]
        node: Option<String>,
        #[command(flatten)]
        of: OfRole,
    },
    /// Time the stages of a write: flushed, acknowledged, committed, applied, replied
    #[command(before_help = "Example:\n  dsctl raft probe --count 10")]
    Probe {
        /// How many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
        count: u32,
        #[command(flatten)]
        of: OfRole,
    },
    /// Hand leadership to a node
    #[command(before_help = "Example:\n  dsctl raft transfer node-lock-2")]
    Transfer {
        /// NODE_ID
        node: String,
        #[command(flatten)]
        of: OfRole,
    },
    /// Replace a voter by the wiped or new node of the same NODE_ID
    #[command(before_help = "Example:\n  dsctl raft replace node-lock-3")]
    Replace {
        /// NODE_ID
        node: String,
        #[command(flatten)]
        of: OfRole,
    },
    /// Save and restore the state
    #[command(subcommand, before_help = "Example:\n  dsctl raft snapshot save locks.snap")]
    Snapshot(Snapshot),
}

/// Verbs of `raft snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum Snapshot {
    /// Write the state to a file; replaces the file only when all of it is there
    #[command(before_help = "Example:\n  dsctl raft snapshot save locks.snap")]
    Save(SnapshotFile),
    /// Replace the state by that of a file; tokens go on above all that were ever granted
    #[command(before_help = "Example:\n  dsctl raft snapshot restore locks.snap --yes")]
    Restore(SnapshotFile),
}

/// A file.
#[derive(Debug, Args)]
pub(crate) struct SnapshotFile {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) of: OfRole,
}

/// Which Raft is meant.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OfRole {
    /// Whose Raft [default: the one that is meant or there, that of the lock nodes first]
    #[arg(long, value_name = "ROLE")]
    role: Option<RoleArg>,
}

impl OfRole {
    /// The role, if one was named.
    pub(crate) fn role(self) -> Option<Role> {
        self.role.map(|role| match role {
            RoleArg::Lock => Role::Lock,
            RoleArg::Queue => Role::Queue,
            RoleArg::Cache => Role::Cache,
        })
    }
}

/// A role whose nodes may have a Raft.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// The lock nodes.
    Lock,
    /// The queue nodes with `STORE=raft`.
    Queue,
    /// The cache nodes with `STORE=raft`.
    Cache,
}
