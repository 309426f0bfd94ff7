//! `dsctl queue audit`.

use dsync_core::queue::{Query, Seen};

use crate::args::QueueName;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, get, look, unexpected};

/// Checks that the counts agree with the jobs; exit 1 when they do not.
pub(super) async fn run(args: QueueName, ctx: &Ctx) -> Result<Exit> {
    get(ctx, &args.queue).await?;
    let looked = look(ctx, Query::Audit { queue: args.queue.clone() }).await?;
    let Seen::Audit(findings) = looked.seen else { return Err(unexpected(&looked.served_by)) };
    ctx.out.show(&views::queues::audit(&args.queue, &findings))?;
    Ok(if findings.is_empty() { Exit::Done } else { Exit::Findings })
}
