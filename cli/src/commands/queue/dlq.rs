//! `dsctl queue dlq list|show|redrive|purge`.

use dsync_core::Code;
use dsync_core::name::Name;
use dsync_core::queue::{BATCH_MAX, Command, JobId, Outcome, State};

use crate::args::{Dlq, DlqIds};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, change, get, peek, refused};

/// Dead letters of one command.
const BATCH: u32 = 1_000;

/// Carries a verb out.
pub(super) async fn run(verb: Dlq, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Dlq::List(args) => {
            get(ctx, &args.queue).await?;
            let jobs = peek::some(ctx, &args.queue, State::Dead, args.max).await?;
            ctx.out.show(&views::queue::dead(&args.queue, &jobs))?;
            Ok(Exit::Done)
        }
        Dlq::Show(args) => {
            let job = peek::one(ctx, &args.queue, &args.id).await?;
            if job.state != State::Dead {
                let (id, queue) = (&args.id, &args.queue);
                let said =
                    format!("{id} is no dead letter of {queue}: it is {}", job.state.as_str());
                let failure = Failure::new(Code::NotFound, said);
                return Err(failure.hint("`dsctl queue peek QUEUE --id ID` shows it"));
            }
            ctx.out.show(&views::queue::job(&args.queue, &job))?;
            Ok(Exit::Done)
        }
        Dlq::Redrive(args) => {
            move_all(ctx, &args, "redriven", |ids, max| Command::Redrive { ids, max }).await
        }
        Dlq::Purge(args) => {
            move_all(ctx, &args, "removed", |ids, max| Command::PurgeDead { ids, max }).await
        }
    }
}

/// Moves those that are named, or all that are there now: what dies meanwhile is left alone.
async fn move_all(
    ctx: &Ctx,
    args: &DlqIds,
    what: &'static str,
    command: impl Fn(Vec<JobId>, u32) -> Command,
) -> Result<Exit> {
    if args.ids.is_empty() && !args.all {
        let failure = Failure::usage("no dead letter is named");
        return Err(failure.hint("name ids as `queue dlq list` shows them, or say --all"));
    }
    let dead = get(ctx, &args.queue).await?.stats.dead;
    let mut moved = 0;
    if args.all {
        while moved < dead {
            let max = u32::try_from(dead - moved).unwrap_or(u32::MAX).min(BATCH);
            match step(ctx, &args.queue, command(Vec::new(), max)).await? {
                0 => break,
                some => moved += some,
            }
        }
    } else {
        for ids in args.ids.chunks(BATCH_MAX) {
            moved += step(ctx, &args.queue, command(ids.to_vec(), BATCH)).await?;
        }
    }
    let wanted = u64::try_from(args.ids.len()).unwrap_or(u64::MAX);
    if moved < wanted {
        return Err(missing(args, what, moved));
    }
    ctx.out.show(&views::queues::moved(&args.queue, what, moved))?;
    Ok(Exit::Done)
}

async fn step(ctx: &Ctx, queue: &Name, command: Command) -> Result<u64> {
    ctx.renew_time();
    let done = change(ctx, queue, command).await?;
    match done.outcome {
        Outcome::Moved(jobs) => Ok(jobs),
        other => Err(refused(&other, &done.served_by)),
    }
}

fn missing(args: &DlqIds, what: &str, moved: u64) -> Failure {
    let queue = &args.queue;
    let message = match args.ids.as_slice() {
        [one] => format!("{queue} has no dead letter {one}"),
        several => {
            format!(
                "{queue}: {moved} of {} were {what}; the others are no dead letters",
                several.len()
            )
        }
    };
    let mut failure = Failure::new(Code::NotFound, message)
        .hint("`dsctl queue dlq list QUEUE` shows those that are there");
    if moved > 0 {
        failure.fault.effect = dsync_core::Effect::Done;
    }
    failure
}
