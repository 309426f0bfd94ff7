//! `dsctl raft transfer` and `dsctl raft replace`.

use dsync::api::{AdminReply, AdminRequest};
use dsync_core::node::Role;

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, place, unexpected};

/// Hands leadership to a node.
pub(super) async fn transfer(node: String, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let request = AdminRequest::RaftTransfer { to: node.clone() };
    change(request, "RaftTransfer", &node, role, ctx).await
}

/// Replaces a voter by the wiped or new node of the same name.
pub(super) async fn replace(node: String, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let request = AdminRequest::RaftReplace { node: node.clone() };
    change(request, "RaftReplacement", &node, role, ctx).await
}

async fn change(
    request: AdminRequest,
    kind: &'static str,
    node: &str,
    role: Option<Role>,
    ctx: &Ctx,
) -> Result<Exit> {
    let place = place::of_node(node, role, ctx).await?;
    match place.way.ask(request, ctx).await? {
        (AdminReply::Done(text), served_by) => {
            ctx.out.show(&views::raft::done(kind, node, &text, place.role, &served_by))?;
            Ok(Exit::Done)
        }
        (_, served_by) => Err(unexpected(&served_by)),
    }
}
