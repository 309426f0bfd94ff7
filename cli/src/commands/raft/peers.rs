//! `dsctl raft peers`.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, verdict};

/// Shows every voter and learner; exit 69 when not one of them answers.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let said = survey::raft_statuses(ctx).await?;
    let rows = views::raft::rows(&said);
    let voters = rows.iter().filter(|row| row.voter).count();
    let down = rows.iter().filter(|row| row.voter && !row.up).count();
    let led = verdict::leader(&said).is_ok();
    ctx.out.show(&views::raft::peers(&rows, &verdict::summary(voters, down, led)))?;
    Ok(if said.iter().any(|one| one.answer.is_ok()) { Exit::Done } else { Exit::Unavailable })
}
