//! `dsctl cluster …`.

use clap::{Args, Subcommand};

use super::OfRole;

/// Verbs of `cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Show every node, unreachable ones too
    #[command(before_help = "Example:\n  dsctl cluster status --env-file envs/lock_node1.env")]
    Status,
    /// Show who belongs to what: roles, voters, learners, leader
    #[command(before_help = "Example:\n  dsctl cluster topology -o yaml")]
    Topology,
    /// Wait until the cluster has a leader, all nodes or so many nodes; exit 75 after --timeout
    #[command(before_help = "Example:\n  dsctl cluster wait --for leader --timeout 60s")]
    Wait(Wait),
}

/// Arguments of `wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// `leader` (of the lock nodes and, unless in Redis, of the queue nodes), `all-up` or `nodes=N`
    #[arg(long = "for", value_name = "GOAL", value_parser = goal)]
    pub(crate) goal: Goal,
    #[command(flatten)]
    pub(crate) of: OfRole,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// A leader with a quorum.
    Leader,
    /// Every known or expected node serves.
    AllUp,
    /// So many nodes serve.
    Nodes(usize),
}

fn goal(text: &str) -> Result<Goal, String> {
    let bad = || format!("{text:?} is no goal; write leader, all-up or nodes=3");
    match text {
        "leader" => Ok(Goal::Leader),
        "all-up" => Ok(Goal::AllUp),
        other => match other.strip_prefix("nodes=").ok_or_else(bad)?.parse::<usize>() {
            Ok(count) if (1..=1_024).contains(&count) => Ok(Goal::Nodes(count)),
            _ => Err(bad()),
        },
    }
}
