//! `dsctl queue stats`.

use std::time::Duration;

use crate::args::QueueStats;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::{View, views};

use super::{Ctx, all, get};

/// Time between two looks at whether anyone reads still.
const LOOK: Duration = Duration::from_millis(250);

/// Prints the counts of one queue or all; with --watch again and again.
pub(super) async fn run(args: QueueStats, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        ctx.out.show(&view(&args, ctx).await?)?;
        return Ok(Exit::Done);
    }
    let mut tick = tokio::time::interval(args.interval);
    let mut first = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = reader_gone(ctx) => return Ok(Exit::Done),
        }
        ctx.renew_time();
        match view(&args, ctx).await {
            Ok(view) => ctx.out.show_next(&view)?,
            // A node that goes away in between is no reason to give up.
            Err(failure) if failure.fault.retryable && !first => {
                ctx.out.note(&failure.fault.message);
            }
            Err(failure) => return Err(failure),
        }
        first = false;
    }
}

async fn view(args: &QueueStats, ctx: &Ctx) -> Result<View> {
    Ok(match &args.queue {
        Some(queue) => views::queues::stats(&get(ctx, queue).await?),
        None => views::queues::list(&all(ctx, "").await?),
    })
}

/// Waits until nobody reads what is printed.
async fn reader_gone(ctx: &Ctx) {
    while !ctx.out.reader_gone() {
        tokio::time::sleep(LOOK).await;
    }
}
