//! `dsctl cluster topology`.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey};

/// Shows who belongs to what.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let mut known = survey::planned(ctx).await?;
    let groups = survey::raft::groups(ctx, None).await?;
    for one in groups.iter().flat_map(|group| &group.said) {
        survey::learn(&mut known, one.known.clone());
    }
    ctx.out.show(&views::cluster::topology(&known, &groups, &ctx.settings.expected))?;
    Ok(Exit::Done)
}
