//! `dsctl queue purge`, `dsctl queue delete`.

use dsync_core::queue::{Command, Outcome};

use crate::args::Purge;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, change, get, refused};

/// Removes all jobs but the dead letters, or the whole queue.
pub(super) async fn run(args: Purge, what: Command, ctx: &Ctx) -> Result<Exit> {
    if args.confirm != args.queue.as_str() {
        let said = format!("--confirm says {:?}, but the queue is {}", args.confirm, args.queue);
        return Err(Failure::usage(said).hint("nothing was removed; repeat the queue's name"));
    }
    get(ctx, &args.queue).await?;
    let done_word = if what == Command::Delete { "deleted" } else { "purged" };
    let done = change(ctx, &args.queue, what).await?;
    match done.outcome {
        Outcome::Moved(jobs) => {
            ctx.out.show(&views::queues::moved(&args.queue, done_word, jobs))?;
        }
        other => return Err(refused(&other, &done.served_by)),
    }
    Ok(Exit::Done)
}
