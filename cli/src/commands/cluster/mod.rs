//! `dsctl cluster …`.

mod status;
mod topology;
mod wait;

use crate::args::Cluster;
use crate::error::Result;
use crate::exit::Exit;

use super::Ctx;
use super::raft::verdict;
use super::survey;

/// Carries a verb out.
pub(super) async fn run(verb: Cluster, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Cluster::Status => status::run(ctx).await,
        Cluster::Topology => topology::run(ctx).await,
        Cluster::Wait(args) => wait::run(&args, ctx).await,
    }
}
