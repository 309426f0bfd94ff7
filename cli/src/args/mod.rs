//! Arguments: what can be typed, one file per noun.

mod bench;
mod cache;
mod cluster;
mod context;
mod global;
mod help;
mod lock;
mod misc;
mod node;
mod parse;
mod queue;
mod raft;
#[cfg(test)]
mod tests;

pub(crate) use bench::{Bench, BenchCache, BenchLock, BenchQueue, BenchRun, Slo};
pub(crate) use cache::{
    Cache, CacheGet, CacheKey, CacheKeys, CacheStatsArgs, Del, Incr, Inv, KeyList, Mset, Set,
    ValueFields, When,
};
pub(crate) use cluster::{Cluster, Goal, Wait};
pub(crate) use context::{Context, ContextAdd};
pub(crate) use global::{Color, Format, Global};
pub(crate) use help::{long_help, resolve};
pub(crate) use lock::{
    Acquire, Convert, ForceRelease, List, Lock, Release, Renew, Run, Show, Validate,
};
pub(crate) use misc::{Completion, Help, Man};
pub(crate) use node::Node;
pub(crate) use parse::{duration, endpoint, endpoints, request_id};
pub(crate) use queue::{
    Dlq, DlqIds, DurabilityArg, Export, Extend, Import, JobFields, LimitArgs, Nack, Pause, Peek,
    Pop, Purge, Push, Queue, QueueList, QueueName, QueueStats, Receipts, Reject, Ring, Work,
};
pub(crate) use raft::{OfRole, Raft, Snapshot};

use clap::{Parser, Subcommand};

use crate::settings::Way;

/// Locks, job queues and a coherent cache: the admin tool that talks to any node
#[derive(Debug, Parser)]
#[command(
    name = "dsctl",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    before_help = "Example:\n  dsctl lock acquire deploy/prod --ttl 30s --wait 10s\n  dsctl raft peers -o json"
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// How to do it.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Take, keep, give back and look at locks
    #[command(subcommand, before_help = "Example:\n  dsctl lock run deploy/prod -- ./deploy.sh")]
    Lock(Lock),
    /// Push, take and look at jobs
    #[command(
        subcommand,
        before_help = "Example:\n  dsctl queue push mails hello\n  dsctl queue work mails -- ./send-mail.sh"
    )]
    Queue(Queue),
    /// Read, change and look at keys of the coherent cache
    #[command(
        subcommand,
        before_help = "Example:\n  dsctl cache set user/17 ada --ttl 10m\n  dsctl cache get user/17"
    )]
    Cache(Cache),
    /// Look at the consensus of the lock nodes and steer it
    #[command(subcommand, before_help = "Example:\n  dsctl raft leader -o json")]
    Raft(Raft),
    /// Look at all nodes together
    #[command(subcommand, before_help = "Example:\n  dsctl cluster status")]
    Cluster(Cluster),
    /// Look at one node
    #[command(subcommand, before_help = "Example:\n  dsctl node info 127.0.0.1:8001")]
    Node(Node),
    /// Measure the cluster; cleans up after itself
    #[command(subcommand, before_help = "Example:\n  dsctl bench lock --clients 64 --duration 10s")]
    Bench(Bench),
    /// Name clusters, to reach them with --context NAME
    #[command(
        subcommand,
        before_help = "Example:\n  dsctl context add prod --endpoints 10.0.0.1:8001,10.0.0.2:8001"
    )]
    Context(Context),
    /// Print the completion script of a shell
    #[command(before_help = "Example:\n  dsctl completion bash > /etc/bash_completion.d/dsctl")]
    Completion(Completion),
    /// Print a manual page, or write all of them to a directory
    #[command(
        before_help = "Example:\n  dsctl man lock acquire | man -l -\n  dsctl man --dir ./man"
    )]
    Man(Man),
    /// Print the version of this program
    #[command(before_help = "Example:\n  dsctl version -o json")]
    Version,
    /// Explain a command, or print the table of exit codes
    #[command(before_help = "Example:\n  dsctl help lock acquire\n  dsctl help exit-codes")]
    Help(Help),
}

impl Command {
    /// How much of the way to the cluster it needs to know.
    pub(crate) fn way(&self) -> Way {
        match self {
            Self::Lock(_)
            | Self::Queue(_)
            | Self::Cache(_)
            | Self::Raft(_)
            | Self::Cluster(_)
            | Self::Node(_)
            | Self::Bench(_) => Way::Cluster,
            Self::Context(Context::Add(_)) => Way::Named,
            Self::Context(_)
            | Self::Completion(_)
            | Self::Man(_)
            | Self::Version
            | Self::Help(_) => Way::None,
        }
    }
}
