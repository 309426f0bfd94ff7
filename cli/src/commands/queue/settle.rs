//! `dsctl queue ack|nack|reject|release|extend`: what became of deliveries.

use dsync_core::name::Name;
use dsync_core::queue::{BATCH_MAX, Command, Outcome, Receipt, Settled};
use dsync_core::{Code, Effect};

use crate::args::{Extend, Nack, Receipts, Reject};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::human;
use crate::output::views::queue::settled;

use super::{Ctx, change, refused};

/// Stale receipts that are named.
const NAMED: usize = 20;

/// They are done.
pub(super) async fn ack(args: Receipts, ctx: &Ctx) -> Result<Exit> {
    settle(ctx, &args, "ack", |receipts| Command::Ack { receipts }).await
}

/// They failed.
pub(super) async fn nack(args: Nack, ctx: &Ctx) -> Result<Exit> {
    let delay_ms = args.delay.map(human::millis);
    settle(ctx, &args.of, "nack", |receipts| Command::Nack {
        receipts,
        delay_ms,
        error: args.error.clone(),
    })
    .await
}

/// They failed for good.
pub(super) async fn reject(args: Reject, ctx: &Ctx) -> Result<Exit> {
    let error = || args.error.clone();
    settle(ctx, &args.of, "reject", |receipts| Command::Reject { receipts, error: error() }).await
}

/// They are given back.
pub(super) async fn release(args: Receipts, ctx: &Ctx) -> Result<Exit> {
    settle(ctx, &args, "release", |receipts| Command::Release { receipts }).await
}

/// They are kept for longer.
pub(super) async fn extend(args: Extend, ctx: &Ctx) -> Result<Exit> {
    let lease_ms = human::millis(args.lease);
    settle(ctx, &args.of, "extend", |receipts| Command::Extend { receipts, lease_ms }).await
}

/// Sends the command for all receipts. Stale ones do not keep the others from being done.
async fn settle(
    ctx: &Ctx,
    of: &Receipts,
    verb: &str,
    command: impl Fn(Vec<Receipt>) -> Command,
) -> Result<Exit> {
    let mut done = Vec::new();
    for some in of.receipts.chunks(BATCH_MAX) {
        let answer = change(ctx, &of.queue, command(some.to_vec())).await?;
        match answer.outcome {
            Outcome::Settled(states) if states.len() == some.len() => {
                done.extend(some.iter().zip(states));
            }
            other => return Err(refused(&other, &answer.served_by)),
        }
    }
    let stale: Vec<_> =
        done.iter().filter(|(_, state)| *state == Settled::Stale).map(|(one, _)| *one).collect();
    if !stale.is_empty() {
        return Err(stale_failure(&of.queue, verb, &stale, done.len() - stale.len()));
    }
    ctx.out.show(&settled(&of.queue, verb, &done))?;
    Ok(Exit::Done)
}

fn stale_failure(queue: &Name, verb: &str, stale: &[&Receipt], done: usize) -> Failure {
    let mut names: Vec<_> = stale.iter().take(NAMED).map(ToString::to_string).collect();
    if let Some(more @ 1..) = stale.len().checked_sub(NAMED) {
        names.push(format!("{more} more"));
    }
    let others = match done {
        0 => String::new(),
        1 => format!("; {verb} of the other one is done"),
        some => format!("; {verb} of the other {some} is done"),
    };
    let message = match stale {
        [one] => format!("{queue}: the receipt {one} is stale{others}"),
        several => {
            format!("{queue}: {} receipts are stale: {}{others}", several.len(), names.join(", "))
        }
    };
    let mut failure = Failure::new(Code::Conflict, message)
        .named("stale_receipt")
        .hint("the lease ended and the job is, or was, given to another; or the job is gone");
    if done > 0 {
        failure.fault.effect = Effect::Done;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_receipts_are_named_and_the_others_counted() {
        let queue = Name::parse("queue", "mails").unwrap();
        let receipts: Vec<_> =
            (0..30).map(|at| Receipt::parse(&format!("job-{at}:{at}")).unwrap()).collect();
        let all: Vec<_> = receipts.iter().collect();
        let one = stale_failure(&queue, "ack", &all[..1], 0);
        assert_eq!(one.exit, Exit::Conflict);
        assert_eq!(one.fault.message, "mails: the receipt job-0:0 is stale");
        assert_eq!(one.fault.effect, Effect::None);
        let two = stale_failure(&queue, "nack", &all[..2], 3);
        assert_eq!(
            two.fault.message,
            "mails: 2 receipts are stale: job-0:0, job-1:1; nack of the other 3 is done"
        );
        assert_eq!(two.fault.effect, Effect::Done);
        let many = stale_failure(&queue, "ack", &all, 1).fault.message;
        assert!(many.contains("job-19:19, 10 more; ack of the other one is done"), "{many}");
    }
}
