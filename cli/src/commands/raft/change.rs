//! `dsctl raft transfer` and `dsctl raft replace`.

use dsync::api::{AdminReply, AdminRequest};

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, unexpected};

/// Hands leadership to a node.
pub(super) async fn transfer(node: String, ctx: &Ctx) -> Result<Exit> {
    change(AdminRequest::RaftTransfer { to: node.clone() }, "RaftTransfer", &node, ctx).await
}

/// Replaces a voter by the wiped or new node of the same name.
pub(super) async fn replace(node: String, ctx: &Ctx) -> Result<Exit> {
    change(AdminRequest::RaftReplace { node: node.clone() }, "RaftReplacement", &node, ctx).await
}

async fn change(request: AdminRequest, kind: &'static str, node: &str, ctx: &Ctx) -> Result<Exit> {
    let answer = ctx.admin(request, None).await?;
    match answer.result {
        Ok(AdminReply::Done(text)) => {
            ctx.out.show(&views::raft::done(kind, node, &text, &answer.served_by))?;
            Ok(Exit::Done)
        }
        _ => Err(unexpected(&answer.served_by)),
    }
}
