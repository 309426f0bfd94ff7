//! `dsctl queue pause|resume`.

use dsync_core::queue::{Command, Outcome};

use crate::args::{Pause, QueueName};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, change, refused};

/// Nothing is delivered until resumed.
pub(super) async fn pause(args: Pause, ctx: &Ctx) -> Result<Exit> {
    let done = change(ctx, &args.queue, Command::Pause { reason: args.reason.clone() }).await?;
    match done.outcome {
        Outcome::Set => ctx.out.show(&views::queues::paused(&args.queue, Some(&args.reason)))?,
        other => return Err(refused(&other, &done.served_by)),
    }
    Ok(Exit::Done)
}

/// Delivers again.
pub(super) async fn resume(args: QueueName, ctx: &Ctx) -> Result<Exit> {
    let done = change(ctx, &args.queue, Command::Resume).await?;
    match done.outcome {
        Outcome::Set => ctx.out.show(&views::queues::paused(&args.queue, None))?,
        other => return Err(refused(&other, &done.served_by)),
    }
    Ok(Exit::Done)
}
