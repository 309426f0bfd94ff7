//! `dsctl queue push`.

use std::time::Duration;

use dsync::api::Durability;
use dsync_core::name::Name;
use dsync_core::queue::{
    Backoff, Command, DELAY_MAX_MS, JobId, NewJob, Outcome, PAYLOAD_MAX, Pushed,
};
use dsync_core::{Code, Effect};

use crate::args::{JobFields, Push};
use crate::commands::input::{bytes, open};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::ids::hex_id;
use crate::output::{human, views};

use super::lines::push_lines;
use super::{Ctx, How, change_how, full, refused};

/// What to do with a payload that is too large.
const ELSEWHERE: &str = "store it elsewhere and push where it is";

/// Pushes one job, or one per line.
pub(super) async fn run(args: Push, ctx: &Ctx) -> Result<Exit> {
    let template = template(&args.fields)?;
    let given = args.payload.as_deref();
    if args.jsonl {
        return push_lines(
            ctx,
            &args.queue,
            &template,
            args.fields.durability,
            open(given, "payload")?,
        )
        .await;
    }
    let payload = bytes(given, "payload", (PAYLOAD_MAX, ELSEWHERE))?;
    // Named after the request, so that its repetition is no second job.
    let id = args.id.unwrap_or_else(|| JobId::random(ctx.request_id));
    let job = NewJob { id: id.clone(), payload, ..template };
    let how = How {
        id: ctx.request_id,
        wait: Duration::ZERO,
        durability: args.fields.durability.map(Into::into),
    };
    let done = change_how(ctx, &args.queue, Command::Push { jobs: vec![job] }, how).await?;
    let Outcome::Pushed(pushed) = &done.outcome else {
        return Err(refused(&done.outcome, &done.served_by).of_request(ctx.request_id));
    };
    match pushed.first() {
        Some(Pushed::Refused(limit)) => Err(full(&args.queue, limit).of_request(ctx.request_id)),
        Some(one) => {
            ctx.out.show(&views::queue::pushed(&args.queue, id.as_str(), one, done.durability))?;
            as_safe_as(how.durability, done.durability, "the job is", ctx.request_id)?;
            Ok(Exit::Done)
        }
        None => Err(refused(&done.outcome, &done.served_by)),
    }
}

/// Whether a push survives what was asked for. If not it is in the queue nevertheless: what it is was
/// printed, so that this goes to stderr.
///
/// # Errors
/// `Unavailable`: less was reached.
pub(super) fn as_safe_as(
    asked: Option<Durability>,
    reached: Durability,
    what: &str,
    request_id: u128,
) -> Result<()> {
    let place = |one: Durability| Durability::ALL.iter().position(|other| *other == one);
    let Some(asked) = asked.filter(|asked| place(reached) < place(*asked)) else { return Ok(()) };
    let (asked, reached) = (asked.as_str(), reached.as_str());
    let why = format!("{what} pushed, but --durability {asked} was not reached, only {reached}");
    let mut failure = Failure::new(Code::Unavailable, why)
        .named("durability_not_reached")
        .hint(format!(
            "the same again with --request-id {} waits for it once more, and is no second job",
            hex_id(request_id)
        ))
        .of_request(request_id)
        .on_stderr();
    failure.fault.effect = Effect::Done;
    Err(failure)
}

/// A job with these fields and no payload.
pub(super) fn template(fields: &JobFields) -> Result<NewJob> {
    let delay = match (fields.delay, fields.at) {
        (Some(delay), _) => delay,
        // Nodes are told durations: this machine's clock says how long that is.
        (None, Some(at)) => at.saturating_sub(human::since_1970()),
        (None, None) => Duration::ZERO,
    };
    if human::millis(delay) > DELAY_MAX_MS {
        return Err(Failure::usage(format!(
            "--at is {} away: at most 30 days are possible",
            human::ms(human::millis(delay))
        )));
    }
    let mut names: Vec<_> = fields.headers.iter().map(|(name, _)| name).collect();
    names.sort();
    if let Some((twice, _)) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(Failure::usage(format!("header {twice} is given twice")));
    }
    let mut backoff = Backoff::default();
    if let Some(base) = fields.backoff {
        backoff.base_ms = human::millis(base);
        backoff.max_ms = backoff.max_ms.max(backoff.base_ms);
    }
    Ok(NewJob {
        id: JobId::random(0),
        payload: Vec::new(),
        priority: fields.priority,
        delay_ms: human::millis(delay),
        max_attempts: fields.max_attempts,
        backoff,
        ttl_ms: fields.ttl.map_or(0, human::millis),
        headers: fields.headers.clone(),
    })
}

/// The queue's name in a message, with how many jobs were pushed.
pub(super) fn so_far(queue: &Name, jobs: u64) -> String {
    match jobs {
        0 => format!("nothing was pushed to {queue}"),
        1 => format!("the job before it was pushed to {queue}"),
        some => format!("the {some} jobs before it were pushed to {queue}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_that_is_less_safe_than_asked_is_done_and_fails() {
        let (memory, replica) = (Durability::Memory, Durability::Replica);
        assert!(as_safe_as(None, memory, "the job is", 1).is_ok());
        assert!(as_safe_as(Some(memory), replica, "the job is", 1).is_ok());
        assert!(as_safe_as(Some(replica), replica, "the job is", 1).is_ok());
        assert!(as_safe_as(Some(replica), Durability::Quorum, "the job is", 1).is_ok());
        let failure = as_safe_as(Some(replica), memory, "the job is", 1).unwrap_err();
        assert_eq!((failure.exit, failure.fault.effect), (Exit::Unavailable, Effect::Done));
        assert_eq!(
            failure.fault.message,
            "the job is pushed, but --durability replica was not reached, only memory"
        );
        assert!(failure.stderr, "stdout has the job");
    }
}
