//! Taking locks: a session, a request, and the wait until it is decided.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::Effect;
use dsync_core::lock::{
    Command, Grant, Holder, Lease, Lookup, Outcome, Policy, RequestKey, SessionId, Want,
};
use dsync_core::name::Name;
use rustix::process::Signal;

use crate::commands::{Ctx, refusal};
use crate::error::{Failure, Result};
use crate::output::{human, progress};

use super::keeper::Keeper;
use super::signals::{Signals, exit_of};

/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(5);
/// Longest time that a withdrawal may hold up the end.
const FAREWELL: Duration = Duration::from_millis(900);

/// What to take.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) wants: Vec<Want>,
    pub(crate) owner: Name,
    pub(crate) ttl: Duration,
    pub(crate) wait: Duration,
    pub(crate) policy: Policy,
    /// Names the request: a repetition gets what the first one got.
    pub(crate) id: u128,
}

/// What was taken.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) grants: Vec<Grant>,
    pub(crate) session: SessionId,
    pub(crate) lease: Lease,
    pub(crate) served_by: String,
}

/// Takes locks, all or none. A signal withdraws the request and ends the command.
pub(crate) async fn take(ctx: &Ctx, ask: &Ask, signals: &mut Signals) -> Result<Held> {
    let opened = tokio::select! {
        opened = open(ctx, ask) => opened?,
        signal = signals.next_ending() => return Err(interrupted(signal)),
    };
    let (session, lease) = opened;
    let result = tokio::select! {
        held = acquire(ctx, ask, session, lease) => held,
        signal = signals.next_ending() => Err(interrupted(signal)),
    };
    if result.as_ref().is_err_and(is_over) {
        // The session has nothing left to do; closing it withdraws the request whatever became of it.
        tokio::select! {
            _ = close(ctx, session, FAREWELL) => {}
            _ = signals.next_ending() => {}
        }
    }
    result
}

/// True when nothing is left of a request. Where its effect is unknown the session stays, so that the
/// same request id can find out; where it is that of another request, it is that one's.
fn is_over(failure: &Failure) -> bool {
    failure.fault.effect != Effect::Unknown && failure.name != Some(refusal::REUSED)
}

/// Ends a session within `limit`; what it holds is released cleanly. Failing that, its lease ends it.
pub(crate) async fn close(ctx: &Ctx, session: SessionId, limit: Duration) -> bool {
    let key = RequestKey::Session { session, seq: u64::from(u32::MAX) };
    let request = dsync_core::lock::Request {
        key,
        first_outstanding: u64::from(u32::MAX),
        command: Command::CloseSession,
    };
    let mut options = ctx.options(limit, None);
    options.timeout = limit;
    let call = ctx.client().lock(LockRequest::Do(request), options);
    matches!(
        tokio::time::timeout(limit, call).await,
        Ok(Ok(answer)) if matches!(
            answer.result,
            Ok(LockReply::Outcome(Outcome::SessionClosed | Outcome::SessionExpired))
        )
    )
}

/// A session that ends with its last grant.
async fn open(ctx: &Ctx, ask: &Ask) -> Result<(SessionId, Lease)> {
    let confirmed = ctx.net().boot_time();
    let command = Command::OpenSession {
        ttl_ms: human::millis(ask.ttl),
        owner: ask.owner.clone(),
        meta: "dsctl".to_owned(),
        ephemeral: true,
    };
    let changed = ctx.change(RequestKey::Detached(ask.id), command).await?;
    match changed.outcome {
        Outcome::SessionOpened { session, ttl_ms } => {
            Ok((session, Lease { confirmed, ttl: Duration::from_millis(ttl_ms) }))
        }
        other => Err(refusal::of(&other, "the session").of_request(ctx.request_id)),
    }
}

/// Asks, and waits for the decision as long as the user wants.
async fn acquire(ctx: &Ctx, ask: &Ask, session: SessionId, lease: Lease) -> Result<Held> {
    let key = RequestKey::Session { session, seq: 1 };
    let command = Command::Acquire {
        wants: ask.wants.clone(),
        owner: ask.owner.clone(),
        wait_ms: human::millis(ask.wait),
        policy: ask.policy,
        age: 0,
        max_hold_ms: 0,
    };
    let changed = ctx.change(key, command).await?;
    let what = names(&ask.wants);
    match changed.outcome {
        Outcome::Granted(grants)
            if !grants.iter().map(|g| &g.lock).eq(ask.wants.iter().map(|w| &w.lock)) =>
        {
            Err(refusal::other_request(&what))
        }
        Outcome::Granted(grants) => {
            Ok(Held { grants, session, lease, served_by: changed.served_by })
        }
        Outcome::Queued { position, blockers } => {
            let mut keeper = Keeper::start(ctx.client(), ctx.net(), session, lease, &[]);
            let text = waiting_text(&what, position, &blockers);
            ctx.out.detail(&text);
            let spinner = progress::spinner(&ctx.out, text);
            let decided = await_decision(ctx, key, &what, &mut keeper).await;
            spinner.finish_and_clear();
            let (outcome, served_by) = decided?;
            match outcome {
                Outcome::Granted(grants) => {
                    let lease = renew_fully(ctx, session, keeper.now().lease).await;
                    Ok(Held { grants, session, lease, served_by })
                }
                other => Err(refusal::of(&other, &what).of_request(ctx.request_id)),
            }
        }
        other => Err(refusal::of(&other, &what).of_request(ctx.request_id)),
    }
}

/// A wait may have used up part of the lease: the holder begins with a whole one.
async fn renew_fully(ctx: &Ctx, session: SessionId, mut lease: Lease) -> Lease {
    let sent = ctx.net().boot_time();
    let answer = ctx.lock(LockRequest::KeepAlive { session }).await;
    // Without an answer what is left of the lease still counts.
    if let Ok(Ok(LockReply::KeptAlive { expires_in_ms })) = answer.map(|answer| answer.result) {
        lease.acknowledge(sent, Duration::from_millis(expires_in_ms));
    }
    lease
}

/// Polls until a queued request is decided.
pub(crate) async fn await_decision(
    ctx: &Ctx,
    key: RequestKey,
    what: &str,
    keeper: &mut Keeper,
) -> Result<(Outcome, String)> {
    let mut heard = ctx.net().boot_time();
    let patience = ctx.settings.timeout.max(keeper.now().lease.ttl);
    loop {
        let slice = SLICE.min(ctx.left());
        let request = LockRequest::Await { key, wait_ms: human::millis(slice) };
        let answer = tokio::select! {
            answer = ctx.lock_waiting(request, slice) => answer,
            () = keeper.changed() => {
                match keeper.now().lost {
                    Some(why) => return Err(Failure::new(dsync_core::Code::SessionExpired, why)),
                    None => continue,
                }
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            // A node that went away does not end the wait: the place in the queue is kept, as long
            // as the session can be alive.
            Err(failure)
                if failure.fault.retryable
                    && ctx.left() > Duration::from_millis(100)
                    && ctx.net().boot_time() < heard + patience =>
            {
                ctx.out.detail(&format!("still waiting: {}", failure.fault.message));
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        heard = ctx.net().boot_time();
        match answer.result {
            Ok(LockReply::Lookup(Lookup::Done(outcome))) => return Ok((outcome, answer.served_by)),
            Ok(LockReply::Lookup(Lookup::Pending { .. } | Lookup::Unknown)) => {
                if ctx.left().is_zero() {
                    return Err(refusal::of(&Outcome::Timeout, what));
                }
                // A node that knows nothing of the request yet answers at once.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => return Err(crate::commands::unexpected(&answer.served_by)),
        }
    }
}

fn names(wants: &[Want]) -> String {
    let names: Vec<_> = wants.iter().map(|want| want.lock.as_str()).collect();
    names.join(", ")
}

fn waiting_text(what: &str, position: u32, blockers: &[Holder]) -> String {
    match blockers.first() {
        Some(first) => format!("waiting for {what}, held by {} (position {position})", first.owner),
        None => format!("waiting for {what} (position {position})"),
    }
}

/// Name of the end that a signal brings.
pub(crate) const INTERRUPTED: &str = "interrupted";

/// The end that a signal brings.
pub(crate) fn interrupted(signal: Signal) -> Failure {
    let text = format!("interrupted by signal {}; the request is given up", signal.as_raw());
    Failure::new(dsync_core::Code::Timeout, text).named(INTERRUPTED).exit(exit_of(signal))
}
