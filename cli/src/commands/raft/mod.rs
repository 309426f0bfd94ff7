//! `dsctl raft …`.

mod change;
mod leader;
mod peers;
mod place;
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
        Raft::Leader(of) => leader::run(of.role(), ctx).await,
        Raft::Peers(of) => peers::run(of.role(), ctx).await,
        Raft::Status { node, of } => status::run(node, of.role(), ctx).await,
        Raft::Probe { count, of } => probe::run(count, of.role(), ctx).await,
        Raft::Transfer { node, of } => change::transfer(node, of.role(), ctx).await,
        Raft::Replace { node, of } => change::replace(node, of.role(), ctx).await,
        Raft::Snapshot(Snapshot::Save(args)) => {
            snapshot::save(&args.file, args.of.role(), ctx).await
        }
        Raft::Snapshot(Snapshot::Restore(args)) => {
            snapshot::restore(&args.file, args.of.role(), ctx).await
        }
    }
}
