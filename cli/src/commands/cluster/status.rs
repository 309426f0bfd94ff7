//! `dsctl cluster status`.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey};

/// Shows every node; exit 69 when not one of them answers.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let said = survey::node_infos(ctx).await?;
    ctx.out.show(&views::cluster::status(&said))?;
    Ok(if said.iter().any(|one| one.answer.is_ok()) { Exit::Done } else { Exit::Unavailable })
}
