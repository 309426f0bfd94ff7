//! What a session's handles share.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::lock::{Command, Lease, Outcome, Request, RequestKey, SessionId};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::LockError;
use super::seqs::Seqs;
use crate::api::{LockReply, LockRequest};
use crate::client::{CallOptions, Client};

/// Time for a command that does not wait.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest sleep before the clock is looked at again: tokio's timers stand still while the machine
/// sleeps, the lease does not.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// What a session's handles, guards and background tasks share.
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) id: SessionId,
    pub(super) owner: Name,
    lease: Mutex<Lease>,
    seqs: Mutex<Seqs>,
    /// Withdrawals that are not answered yet.
    withdrawals: watch::Sender<usize>,
    /// Lost, or closed.
    over: CancellationToken,
}

impl Inner {
    pub(super) fn new(client: Client, id: SessionId, owner: Name, lease: Lease) -> Self {
        let (seqs, over) = (Mutex::default(), CancellationToken::new());
        let (lease, withdrawals) = (Mutex::new(lease), watch::Sender::new(0));
        Self { client, id, owner, lease, seqs, withdrawals, over }
    }

    pub(super) fn lease(&self) -> Lease {
        *self.lease.lock()
    }

    pub(super) fn now(&self) -> Duration {
        self.client.net().boot_time()
    }

    pub(super) fn time_left(&self) -> Duration {
        if self.over.is_cancelled() {
            return Duration::ZERO;
        }
        self.lease().left(self.now())
    }

    pub(super) fn is_valid(&self) -> bool {
        !self.time_left().is_zero()
    }

    pub(super) async fn lost(&self) {
        loop {
            let left = self.time_left();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.over.cancelled() => return,
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }

    /// Not valid from now on.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    /// Closed, or known to be lost.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Cancelled at its end.
    pub(super) fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// The cluster acknowledged what was sent then, with so much time left.
    pub(super) fn acknowledge(&self, sent: Duration, expires_in: Duration) {
        self.lease.lock().acknowledge(sent, expires_in);
    }

    /// A request with the next number. Its answer is waited for until [`Self::answered`].
    pub(super) fn request(&self, command: Command) -> Request {
        let mut seqs = self.seqs.lock();
        let key = RequestKey::Session { session: self.id, seq: seqs.begin() };
        Request { key, first_outstanding: seqs.first_outstanding(), command }
    }

    /// No answer to that one is waited for any more.
    pub(super) fn answered(&self, key: RequestKey) {
        if let RequestKey::Session { seq, .. } = key {
            self.seqs.lock().end(seq);
        }
    }

    /// Waits until nothing is being withdrawn.
    pub(super) async fn withdrawn(&self) {
        let mut withdrawals = self.withdrawals.subscribe();
        // The sender is as old as `self`: there is no end to be told of.
        drop(withdrawals.wait_for(|count| *count == 0).await);
    }

    /// Sends a request in the background until it is answered or the session is over; what it
    /// cancels is waited for until then too. Without a runtime nothing is sent, and the lease runs
    /// out.
    pub(super) fn send_in_background(self: &Arc<Self>, request: Request) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let inner = Arc::clone(self);
        let mut target = None;
        if let Command::Cancel { target: withdrawn } = &request.command {
            target = Some(*withdrawn);
            self.withdrawals.send_modify(|count| *count += 1);
        }
        runtime.spawn(async move {
            while inner.is_valid() {
                match ask(&inner.client, request.clone(), COMMAND_TIMEOUT).await {
                    Err(LockError::Fault(fault)) if fault.retryable => {
                        tracing::debug!(%fault, "trying on in the background");
                    }
                    _ => break,
                }
            }
            inner.answered(request.key);
            if let Some(target) = target {
                inner.answered(target);
                inner.withdrawals.send_modify(|count| *count -= 1);
            }
        });
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.is_valid() {
            return;
        }
        let (client, request) = (self.client.clone(), self.request(Command::CloseSession));
        let left = self.time_left();
        runtime.spawn(async move {
            if let Err(error) = ask(&client, request, left).await {
                tracing::debug!(%error, "a dropped session was not closed: its lease runs out");
            }
        });
    }
}

pub(super) fn out_of_place(reply: &LockReply) -> LockError {
    Fault::new(Code::Internal, format!("a reply out of place: {reply:?}")).into()
}

/// Sends one command; the client repeats it as it is where that is needed.
pub(super) async fn ask(
    client: &Client,
    request: Request,
    timeout: Duration,
) -> Result<Outcome, LockError> {
    let options = CallOptions { timeout, ..CallOptions::default() };
    let reply = client.lock(LockRequest::Do(request), options).await?.result?;
    let LockReply::Outcome(outcome) = reply else { return Err(out_of_place(&reply)) };
    Ok(outcome)
}
