//! `dsctl queue list`.

use crate::args::QueueList;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, all};

/// Lists queues with their counts.
pub(super) async fn run(args: QueueList, ctx: &Ctx) -> Result<Exit> {
    ctx.out.show(&views::queues::list(&all(ctx, &args.prefix).await?, None))?;
    Ok(Exit::Done)
}
