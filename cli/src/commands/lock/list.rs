//! `dsctl lock list`.

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Event, LockView};

use crate::args::List;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::lock::{event_lock, list};

use super::watch::{Wanted, events_from_now, follow};
use super::{Ctx, unexpected};

/// Locks of one page.
const PAGE: u32 = 1_000;

/// Lists locks; with --watch goes on with what happens to them.
pub(super) async fn run(args: List, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        ctx.out.show(&list(&all(ctx, &args).await?))?;
        return Ok(Exit::Done);
    }
    // The events begin before the listing, so that nothing falls between the two.
    let mut next = events_from_now(ctx).await?;
    let mut wanted = Below(&args.prefix);
    loop {
        ctx.out.show_next(&list(&all(ctx, &args).await?))?;
        match follow(ctx, next, &mut wanted).await? {
            Some(anew) => next = anew,
            None => return Ok(Exit::Done),
        }
    }
}

/// Locks whose names begin so, and what concerns no single lock.
struct Below<'a>(&'a str);

impl Wanted for Below<'_> {
    fn wants(&mut self, event: &Event) -> bool {
        event_lock(event).is_none_or(|lock| lock.starts_with(self.0))
    }

    async fn refresh(&mut self, _: &Ctx) -> Result<()> {
        Ok(())
    }
}

/// All pages.
async fn all(ctx: &Ctx, args: &List) -> Result<Vec<LockView>> {
    let mut found: Vec<LockView> = Vec::new();
    loop {
        let answer = ctx
            .lock(LockRequest::List {
                prefix: args.prefix.clone(),
                waiting: args.waiting,
                after: found.last().map(|lock| lock.name.clone()),
                limit: PAGE,
            })
            .await?;
        match answer.result {
            Ok(LockReply::Locks { items, more }) => {
                let done = !more || items.is_empty();
                found.extend(items);
                if done {
                    return Ok(found);
                }
            }
            _ => return Err(unexpected(&answer.served_by)),
        }
    }
}
