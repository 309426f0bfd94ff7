//! `dsctl raft status`.

use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync_core::Code;

use crate::commands::node::Way;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, unexpected, verdict};

/// Shows all figures of one node: the named one, else the leader, else any lock node that answers.
pub(super) async fn run(node: Option<String>, ctx: &Ctx) -> Result<Exit> {
    let status = match node {
        Some(node) => of_node(&node, ctx).await?,
        None => of_leader(ctx).await?,
    };
    ctx.out.show(&views::raft::status(&status))?;
    Ok(Exit::Done)
}

/// Raft as the named node sees it.
async fn of_node(node: &str, ctx: &Ctx) -> Result<RaftStatus> {
    let (reply, served_by) = Way::to(node, ctx)?.ask(AdminRequest::RaftStatus, ctx).await?;
    match reply {
        AdminReply::Raft(status) => Ok(*status),
        _ => Err(unexpected(&served_by)),
    }
}

/// Raft as the leader sees it, or any lock node while there is none.
async fn of_leader(ctx: &Ctx) -> Result<RaftStatus> {
    let said = survey::raft_statuses(ctx).await?;
    let why = match verdict::leader(&said) {
        Ok(leader) => return Ok(leader.clone()),
        Err(why) => why,
    };
    let any = said.into_iter().find_map(|one| one.answer.ok());
    any.ok_or_else(|| Failure::new(Code::Unavailable, why))
}
