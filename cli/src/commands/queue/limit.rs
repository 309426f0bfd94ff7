//! `dsctl queue limit`.

use dsync_core::queue::{Command, Limits, Outcome};

use crate::args::LimitArgs;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::{human, views};

use super::{Ctx, change, find, refused};

/// Shows the limits; sets those that are given and leaves the others as they are.
pub(super) async fn run(args: LimitArgs, ctx: &Ctx) -> Result<Exit> {
    let found = find(ctx, &args.queue).await?;
    let now = found.map(|seen| seen.stats.limits).unwrap_or_default();
    let wanted = merged(&args, &now);
    if wanted != now {
        let limits = wanted.clone();
        let done = change(ctx, &args.queue, Command::Limit { limits }).await?;
        if done.outcome != Outcome::Set {
            return Err(refused(&done.outcome, &done.served_by));
        }
    }
    ctx.out.show(&views::queues::limits(&args.queue, &wanted))?;
    Ok(Exit::Done)
}

fn merged(args: &LimitArgs, now: &Limits) -> Limits {
    Limits {
        max_jobs: args.max_jobs.unwrap_or(now.max_jobs),
        overflow: args.overflow.map_or(now.overflow, Into::into),
        max_in_flight: args.max_in_flight.unwrap_or(now.max_in_flight),
        rate_per_s: args.rate.unwrap_or(now.rate_per_s),
        burst: args.burst.unwrap_or(now.burst),
        dedup_ms: args.dedup.map_or(now.dedup_ms, human::millis),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use dsync_core::queue::Overflow;

    use super::*;
    use crate::args::{Cli, Queue};

    #[test]
    fn what_is_not_given_stays() {
        let parsed = Cli::try_parse_from([
            "dsctl",
            "queue",
            "limit",
            "q",
            "--max-jobs",
            "0",
            "--overflow",
            "drop-oldest",
        ]);
        let crate::args::Command::Queue(Queue::Limit(args)) = parsed.unwrap().command else {
            panic!("not queue limit")
        };
        let now = Limits { max_jobs: 5, rate_per_s: 7, dedup_ms: 9, ..Limits::default() };
        let before = now.clone();
        let wanted = Limits { max_jobs: 0, overflow: Overflow::DropOldest, ..now };
        assert_eq!(merged(&args, &before), wanted);
    }
}
