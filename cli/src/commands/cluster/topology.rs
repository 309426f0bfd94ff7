//! `dsctl cluster topology`.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, verdict};

/// Shows who belongs to what.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let known = survey::planned(ctx).await?;
    let said = survey::raft_statuses(ctx).await?;
    let leader = verdict::leader(&said).ok();
    ctx.out.show(&views::cluster::topology(&known, &said, leader, &ctx.settings.expected))?;
    Ok(Exit::Done)
}
