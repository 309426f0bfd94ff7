//! `dsctl raft status`.

use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync_core::Code;
use dsync_core::node::Role;

use crate::commands::way::Way;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, place, survey, unexpected, verdict};

/// Shows all figures of one node: the named one, else the leader, else any node that answers.
pub(super) async fn run(node: Option<String>, role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let status = match node {
        Some(node) => of_node(&node, role, ctx).await?,
        None => of_leader(role, ctx).await?,
    };
    ctx.out.show(&views::raft::status(&status))?;
    Ok(Exit::Done)
}

/// Raft as the named node sees it.
async fn of_node(node: &str, role: Option<Role>, ctx: &Ctx) -> Result<RaftStatus> {
    place::is_of(node, role, ctx).await?;
    let (reply, served_by) = Way::to(node, ctx)?.ask(AdminRequest::RaftStatus, ctx).await?;
    match reply {
        AdminReply::Raft(status) => Ok(*status),
        _ => Err(unexpected(&served_by)),
    }
}

/// Raft as the leader sees it, or any node while there is none.
async fn of_leader(role: Option<Role>, ctx: &Ctx) -> Result<RaftStatus> {
    let group = survey::raft::group(ctx, role).await?;
    let why = match verdict::leader(&group) {
        Ok(leader) => return Ok(leader.clone()),
        Err(why) => why,
    };
    let any = group.said.into_iter().find_map(|one| one.answer.ok());
    any.ok_or_else(|| Failure::new(Code::Unavailable, why))
}
