//! `dsctl queue peek`.

use dsync_core::Code;
use dsync_core::name::Name;
use dsync_core::queue::{JobId, JobView, Query, Seen, State};

use crate::args::Peek;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, get, look, unexpected};

/// Jobs of one page.
const PAGE: u32 = 100;

/// Shows jobs without taking them.
pub(super) async fn run(args: Peek, ctx: &Ctx) -> Result<Exit> {
    if let Some(id) = &args.id {
        ctx.out.show(&views::queue::job(&args.queue, &one(ctx, &args.queue, id).await?))?;
        return Ok(Exit::Done);
    }
    let jobs = some(ctx, &args.queue, args.state.into(), args.max).await?;
    if jobs.is_empty() {
        // Nothing to see in a queue is another thing than no queue.
        get(ctx, &args.queue).await?;
    }
    ctx.out.show(&views::queue::peeked(&args.queue, &jobs))?;
    Ok(Exit::Done)
}

/// One job; exit 66 when there is none.
pub(super) async fn one(ctx: &Ctx, queue: &Name, id: &JobId) -> Result<JobView> {
    let looked = look(ctx, Query::Job { queue: queue.clone(), id: id.clone() }).await?;
    match looked.seen {
        Seen::Job(Some(job)) => Ok(job),
        Seen::Job(None) => Err(Failure::new(Code::NotFound, format!("{queue} has no job {id}"))
            .hint("it was acknowledged or removed, or never pushed")),
        _ => Err(unexpected(&looked.served_by)),
    }
}

/// The first jobs of a state.
pub(super) async fn some(ctx: &Ctx, queue: &Name, state: State, max: u32) -> Result<Vec<JobView>> {
    let mut jobs: Vec<JobView> = Vec::new();
    loop {
        let skip = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        let (items, more) = page(ctx, queue, state, skip, PAGE.min(max - skip)).await?;
        let done = !more || items.is_empty();
        jobs.extend(items);
        jobs.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        if done || u32::try_from(jobs.len()).is_ok_and(|have| have >= max) {
            return Ok(jobs);
        }
    }
}

/// One page of the jobs of a state, and whether there are more.
pub(super) async fn page(
    ctx: &Ctx,
    queue: &Name,
    state: State,
    skip: u32,
    limit: u32,
) -> Result<(Vec<JobView>, bool)> {
    let looked = look(ctx, Query::Peek { queue: queue.clone(), state, skip, limit }).await?;
    match looked.seen {
        Seen::Jobs { items, more } => Ok((items, more)),
        _ => Err(unexpected(&looked.served_by)),
    }
}
