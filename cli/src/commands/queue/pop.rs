//! `dsctl queue pop`.

use std::time::Duration;

use dsync::api::POP_WAIT_MAX_MS;
use dsync_core::queue::{Command, Outcome, Popped, Receipt};
use dsync_core::{Code, Effect};
use tokio::time::Instant;

use crate::args::Pop;
use crate::commands::ctx::random_id;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{human, progress, views};

use super::{Ctx, How, change, change_how, refused};

/// Pause after an answer that came before its wait was over, as of a paused queue.
const PAUSE: Duration = Duration::from_millis(250);

/// Longest wait of one request.
const LONGEST: Duration = Duration::from_millis(POP_WAIT_MAX_MS);

/// Takes jobs and prints them; exit 66 when there is none.
pub(super) async fn run(args: Pop, ctx: &Ctx) -> Result<Exit> {
    ctx.extend(args.wait);
    let bar = progress::spinner(&ctx.out, format!("waiting for a job of {}", args.queue));
    let popped = wait(&args, ctx).await;
    bar.finish_and_clear();
    let popped = popped?;
    if popped.jobs.is_empty() {
        return Err(empty(&args, &popped));
    }
    if let Err(mut failure) = ctx.out.show(&views::queue::popped(&args.queue, &popped.jobs)) {
        let receipts: Vec<_> = popped.jobs.into_iter().map(|job| job.receipt).collect();
        if !args.ack && give_back(&args, ctx, receipts).await {
            failure.fault.message.push_str("; the jobs were given back");
        }
        return Err(failure.on_stderr());
    }
    Ok(Exit::Done)
}

/// Waits in slices, each a request of its own: only a repetition of the same one gets the same jobs.
async fn wait(args: &Pop, ctx: &Ctx) -> Result<Popped> {
    let until = Instant::now() + args.wait;
    let (mut id, mut heard) = (ctx.request_id, None);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let slice = left.min(LONGEST);
        let begun = Instant::now();
        let popped = match pop(args, ctx, id, slice).await {
            Ok(popped) => popped,
            // A node that goes away in between does not end the wait; the same request goes on.
            Err(failure) if goes_on(args, ctx, &failure, heard) && !left.is_zero() => {
                ctx.out.detail(&format!("still waiting: {}", failure.fault.message));
                tokio::time::sleep(PAUSE.min(left)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        heard = Some(Instant::now());
        let left = until.saturating_duration_since(Instant::now());
        if !popped.jobs.is_empty() || left.is_zero() {
            return Ok(popped);
        }
        if begun.elapsed() < slice / 2 {
            tokio::time::sleep(PAUSE.min(left)).await;
        }
        id = random_id();
    }
}

/// True when a failure does not end a wait: a node was heard not long ago, and asking once more has
/// no second effect.
fn goes_on(args: &Pop, ctx: &Ctx, failure: &Failure, heard: Option<Instant>) -> bool {
    let twice = args.ack && failure.fault.effect == Effect::Unknown;
    let lately = heard.is_some_and(|at: Instant| at.elapsed() < ctx.settings.timeout + LONGEST);
    failure.fault.retryable && lately && !twice
}

/// One request.
async fn pop(args: &Pop, ctx: &Ctx, id: u128, slice: Duration) -> Result<Popped> {
    let command = Command::Pop {
        request: id,
        max: args.max,
        lease_ms: human::millis(args.lease),
        ack: args.ack,
        consumer: ctx.settings.owner(None)?,
    };
    let how = How { id, wait: slice, durability: None };
    let done = change_how(ctx, &args.queue, command, how).await;
    // What was acknowledged at once is not given a second time.
    let done = done.map_err(|failure| if args.ack { failure.once_only() } else { failure })?;
    match done.outcome {
        Outcome::Popped(popped) => Ok(popped),
        other => Err(refused(&other, &done.served_by).of_request(id)),
    }
}

/// Nobody was told the receipts.
async fn give_back(args: &Pop, ctx: &Ctx, receipts: Vec<Receipt>) -> bool {
    ctx.renew_time();
    change(ctx, &args.queue, Command::Release { receipts }).await.is_ok()
}

fn empty(args: &Pop, popped: &Popped) -> Failure {
    let queue = &args.queue;
    if let Some(reason) = &popped.paused {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        return Failure::new(Code::NotFound, format!("{queue} is paused{why}"))
            .named("paused")
            .hint("`dsctl queue resume QUEUE` lets it deliver again");
    }
    let when = match popped.next_ms {
        Some(ms) => format!("; there may be one in {}", human::ms(ms)),
        None => String::new(),
    };
    let failure = Failure::new(Code::NotFound, format!("{queue} has no job to give{when}"));
    let failure = failure.named("empty");
    if args.wait.is_zero() { failure.hint("wait for one with --wait 30s") } else { failure }
}
