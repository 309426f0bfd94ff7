//! Following what happens to locks.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::Event;

use crate::error::Result;
use crate::output::human;
use crate::output::views::lock::{event, event_lock};

use super::{Ctx, unexpected};

/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(5);

/// Follows the events of some locks.
pub(super) struct Watch<'a, F> {
    ctx: &'a Ctx,
    wanted: F,
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

impl<'a, F: Fn(&str) -> bool> Watch<'a, F> {
    /// Follows the locks whose name `wanted` accepts, and what concerns no single lock.
    pub(super) fn new(ctx: &'a Ctx, wanted: F) -> Self {
        Self { ctx, wanted }
    }

    /// Prints events from there on. Gives the place to go on from when events were missed, and
    /// nothing when the reader of stdout has gone.
    pub(super) async fn follow(&self, from: u64) -> Result<Option<u64>> {
        let mut next = from;
        loop {
            // A watch has no end of its own: the time limit counts for each page.
            self.ctx.renew_time();
            self.ctx.extend(SLICE);
            let page = page(self.ctx, next, SLICE).await?;
            if page.gap {
                self.ctx.out.note("some events were missed; listing anew");
                return Ok(Some(page.next));
            }
            for one in page.items.iter().filter(|one| event_lock(one).is_none_or(&self.wanted)) {
                self.ctx.out.show_next(&event(one))?;
            }
            if self.ctx.out.closed() {
                return Ok(None);
            }
            next = page.next;
        }
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
