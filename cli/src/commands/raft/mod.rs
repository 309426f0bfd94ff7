//! `dsctl raft …`.

mod change;
mod leader;
mod peers;
mod probe;
mod snapshot;
mod status;
pub(crate) mod verdict;

use crate::args::{Raft, Snapshot};
use crate::error::Result;
use crate::exit::Exit;

use super::Ctx;
use super::ctx::unexpected;
use super::survey;

/// Carries a verb out.
pub(super) async fn run(verb: Raft, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Raft::Leader => leader::run(ctx).await,
        Raft::Peers => peers::run(ctx).await,
        Raft::Status { node } => status::run(node, ctx).await,
        Raft::Probe { count } => probe::run(count, ctx).await,
        Raft::Transfer { node } => change::transfer(node, ctx).await,
        Raft::Replace { node } => change::replace(node, ctx).await,
        Raft::Snapshot(Snapshot::Save(args)) => snapshot::save(&args.file, ctx).await,
        Raft::Snapshot(Snapshot::Restore(args)) => snapshot::restore(&args.file, ctx).await,
    }
}
