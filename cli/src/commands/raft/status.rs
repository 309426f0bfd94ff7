//! `dsctl raft status`.

use dsync::api::{AdminReply, AdminRequest};

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, unexpected, verdict};

/// Shows all figures of one node: the named one, else the leader, else any lock node that answers.
pub(super) async fn run(node: Option<String>, ctx: &Ctx) -> Result<Exit> {
    let status = match node {
        Some(node) => {
            let answer = ctx.admin(AdminRequest::RaftStatus, Some(node)).await?;
            match answer.result {
                Ok(AdminReply::Raft(status)) => *status,
                _ => return Err(unexpected(&answer.served_by)),
            }
        }
        None => {
            let said = survey::raft_statuses(ctx).await?;
            match verdict::leader(&said) {
                Ok(leader) => leader.clone(),
                Err(why) => {
                    let any = said.into_iter().find_map(|one| one.answer.ok());
                    let none = || crate::error::Failure::new(dsync_core::Code::Unavailable, why);
                    any.ok_or_else(none)?
                }
            }
        }
    };
    ctx.out.show(&views::raft::status(&status))?;
    Ok(Exit::Done)
}
