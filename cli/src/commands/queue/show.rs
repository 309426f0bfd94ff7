//! `dsctl queue show`.

use crate::args::QueueName;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, get};

/// Shows one queue; exit 66 when there is none.
pub(super) async fn run(args: QueueName, ctx: &Ctx) -> Result<Exit> {
    ctx.out.show(&views::queues::show(&get(ctx, &args.queue).await?))?;
    Ok(Exit::Done)
}
