//! Following what happens to locks.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::Event;

use crate::error::Result;
use crate::output::human;
use crate::output::views::lock::event;

use super::{Ctx, unexpected};

/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(5);
/// Time between two looks at whether anyone reads still.
const LOOK: Duration = Duration::from_millis(250);

/// What is followed.
pub(super) trait Wanted {
    /// Whether to print this one.
    fn wants(&mut self, event: &Event) -> bool;

    /// Called before each wait.
    async fn refresh(&mut self, ctx: &Ctx) -> Result<()>;
}

/// One page of events.
struct Page {
    items: Vec<Event>,
    next: u64,
    gap: bool,
}

/// Where the events of the future begin.
pub(super) async fn events_from_now(ctx: &Ctx) -> Result<u64> {
    Ok(page(ctx, 0, Duration::ZERO).await?.next)
}

/// Prints events from there on. Gives the place to go on from when events were missed, and nothing
/// when the reader of stdout has gone.
pub(super) async fn follow(ctx: &Ctx, from: u64, wanted: &mut impl Wanted) -> Result<Option<u64>> {
    let mut next = from;
    loop {
        // A watch has no end of its own: the time limit counts for each page.
        ctx.renew_time();
        ctx.extend(SLICE);
        // Like a page: a node that goes away in between is no reason to give up.
        match wanted.refresh(ctx).await {
            Err(failure) if !failure.fault.retryable => return Err(failure),
            Ok(()) | Err(_) => {}
        }
        let page = tokio::select! {
            page = page(ctx, next, SLICE) => page?,
            () = reader_gone(ctx) => return Ok(None),
        };
        if page.gap {
            ctx.out.note("some events were missed; listing anew");
            return Ok(Some(page.next));
        }
        for one in &page.items {
            if wanted.wants(one) {
                ctx.out.show_next(&event(one))?;
            }
        }
        next = page.next;
    }
}

/// Waits until nobody reads what is printed: on a quiet cluster nothing is written that would tell.
async fn reader_gone(ctx: &Ctx) {
    while !ctx.out.reader_gone() {
        tokio::time::sleep(LOOK).await;
    }
}

/// One long poll; a node that goes away in between is no reason to give up before the time limit.
async fn page(ctx: &Ctx, from_index: u64, wait: Duration) -> Result<Page> {
    loop {
        let request = LockRequest::Events { from_index, wait_ms: human::millis(wait) };
        let answer = match ctx.lock_waiting(request, wait).await {
            Ok(answer) => answer,
            Err(failure) if failure.fault.retryable && ctx.left() > Duration::from_millis(200) => {
                ctx.out.detail(&format!("asking again: {}", failure.fault.message));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        return match answer.result {
            Ok(LockReply::Events { items, next_index, gap }) => {
                Ok(Page { items, next: next_index, gap })
            }
            _ => Err(unexpected(&answer.served_by)),
        };
    }
}
