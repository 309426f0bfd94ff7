//! Waiting for a request to be decided, over lost connections and changes of leader.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::lock::{Command, Lookup, Outcome, Request};
use tokio::time::{Instant, sleep, sleep_until};

use super::error::LockError;
use super::inner::{COMMAND_TIMEOUT, Inner, ask, out_of_place};
use crate::api::{LockReply, LockRequest};
use crate::client::CallOptions;
use crate::dial::millis;

/// Longest wait of one `Await`.
const SLICE: Duration = Duration::from_secs(5);
/// Time beyond the wait in which the cluster's own `Timeout` is expected.
const GRACE: Duration = Duration::from_secs(5);
/// Pause before an `Await` that came back early is sent again.
const PAUSE: Duration = Duration::from_millis(50);

/// A request that is withdrawn in the background unless it was decided.
struct Pending<'a> {
    session: &'a Arc<Inner>,
    request: Request,
    decided: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.decided {
            self.session.answered(self.request.key);
            return;
        }
        // The request counts as waited for until its cancellation is answered: other requests may
        // overtake that, and must not let the cluster forget what was granted meanwhile.
        let cancel = self.session.request(Command::Cancel { target: self.request.key });
        self.session.send_in_background(cancel);
    }
}

/// Sends a command that may have to wait, and waits for its outcome.
///
/// # Errors
/// `SessionLost`; `Timeout` when the cluster did not decide in time; `Fault`.
///
/// # Cancel safety
/// The request is withdrawn in the background.
pub(super) async fn decide(
    session: &Arc<Inner>,
    command: Command,
    wait: Duration,
) -> Result<Outcome, LockError> {
    if !session.is_valid() {
        return Err(LockError::SessionLost);
    }
    let end = Instant::now() + wait + if wait.is_zero() { COMMAND_TIMEOUT } else { GRACE };
    // An owner waits for one thing at a time: what it gave up waiting for must be out of the queue.
    tokio::select! {
        () = session.withdrawn() => {}
        () = session.lost() => return Err(LockError::SessionLost),
        () = sleep_until(end) => return Err(LockError::Timeout),
    }
    let request = session.request(command);
    let mut pending = Pending { session, request, decided: false };
    let outcome = tokio::select! {
        outcome = settle(session, &pending.request, end) => outcome?,
        () = session.lost() => return Err(LockError::SessionLost),
    };
    pending.decided = true;
    if outcome == Outcome::SessionExpired {
        session.end();
    }
    Ok(outcome)
}

async fn settle(
    session: &Arc<Inner>,
    request: &Request,
    end: Instant,
) -> Result<Outcome, LockError> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LockError::Timeout);
        }
        // Sent anew only when the cluster does not know it: the same number, so the same effect.
        let outcome = ask(&session.client, request.clone(), left).await?;
        if !matches!(outcome, Outcome::Queued { .. }) {
            return Ok(outcome);
        }
        if let Some(outcome) = await_decision(session, request, end).await? {
            return Ok(outcome);
        }
        sleep(PAUSE).await;
    }
}

/// Waits in slices; `None`: the node knows nothing of the request.
async fn await_decision(
    session: &Arc<Inner>,
    request: &Request,
    end: Instant,
) -> Result<Option<Outcome>, LockError> {
    loop {
        let began = Instant::now();
        let slice = end.saturating_duration_since(began).min(SLICE);
        if slice.is_zero() {
            return Err(LockError::Timeout);
        }
        let wait = LockRequest::Await { key: request.key, wait_ms: millis(slice) };
        let options = CallOptions { timeout: slice + GRACE, ..CallOptions::default() };
        let answer = session.client.lock(wait, options).await;
        match answer.and_then(|answer| answer.result) {
            Ok(LockReply::Lookup(Lookup::Done(outcome)))
                if !matches!(outcome, Outcome::Queued { .. }) =>
            {
                return Ok(Some(outcome));
            }
            Ok(LockReply::Lookup(Lookup::Unknown)) => return Ok(None),
            Ok(LockReply::Lookup(Lookup::Pending { .. } | Lookup::Done(_))) => {}
            Ok(other) => return Err(out_of_place(&other)),
            Err(fault) if fault.retryable => tracing::debug!(%fault, "waiting on"),
            Err(fault) => return Err(fault.into()),
        }
        sleep(PAUSE.saturating_sub(began.elapsed())).await;
    }
}
