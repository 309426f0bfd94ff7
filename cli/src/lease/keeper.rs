//! Keeps a session alive in the background and tells when it, or a grant of it, is lost.
//!
//! `lock run`, `lock acquire --keepalive` and every wait rest on this alone, so that another keeper of
//! sessions can take its place.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::net::Net;
use dsync::{CallOptions, Client};
use dsync_core::Code;
use dsync_core::lock::{Grant, Holding, Lease, SessionId};
use dsync_core::name::Name;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::output::human;

/// Longest sleep: tokio's timers stand still while the machine sleeps, the lease does not.
const LOOK: Duration = Duration::from_millis(500);
/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(2);

/// What the keeper knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The lease.
    pub(crate) lease: Lease,
    /// Why it is lost for certain, once it is.
    pub(crate) lost: Option<String>,
    /// An older request wants a grant back.
    pub(crate) revoked: Option<Revoked>,
    /// The last failure since the last success.
    pub(crate) trouble: Option<String>,
}

/// A grant that goes to an older request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// The lock.
    pub(crate) lock: Name,
    /// The older one's owner.
    pub(crate) by: Name,
    /// On the boot clock, when it is taken.
    pub(crate) until: Duration,
}

/// A session that is kept alive until this is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    state: watch::Receiver<Kept>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    /// Begins to keep a session whose lease is known; looks after its grants too.
    pub(crate) fn start(
        client: &Client,
        net: &Net,
        session: SessionId,
        lease: Lease,
        grants: &[Grant],
    ) -> Self {
        let (sender, state) =
            watch::channel(Kept { lease, lost: None, revoked: None, trouble: None });
        let work = Work {
            client: client.clone(),
            net: net.clone(),
            session,
            grants: grants.to_vec(),
            sender,
        };
        Self { state, task: tokio::spawn(work.run()) }
    }

    /// What is known now.
    pub(crate) fn now(&self) -> Kept {
        self.state.borrow().clone()
    }

    /// Waits until something changes.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            // The task ended with a loss, which `now` tells; nothing more will change.
            std::future::pending::<()>().await;
        }
    }
}

/// The task.
struct Work {
    client: Client,
    net: Net,
    session: SessionId,
    grants: Vec<Grant>,
    sender: watch::Sender<Kept>,
}

impl Work {
    async fn run(self) {
        let mut watched: FuturesUnordered<_> =
            self.grants.iter().map(|grant| self.watch(grant)).collect();
        let lost = tokio::select! {
            why = self.renew() => why,
            Some(why) = watched.next() => why,
        };
        drop(watched);
        self.sender.send_modify(|kept| kept.lost = Some(lost));
    }

    /// Keeps the session alive; ends with why it is lost.
    async fn renew(&self) -> String {
        loop {
            let lease = self.sender.borrow().lease;
            let due = lease.renew_at().saturating_sub(self.net.boot_time());
            tokio::time::sleep(due.min(LOOK)).await;
            if self.net.boot_time() >= lease.renew_at()
                && let Some(why) = self.keep_alive(lease).await
            {
                return why;
            }
        }
    }

    /// Options of a call that must not hold up the next try.
    fn options(&self, lease: Lease) -> CallOptions {
        let left = lease.left(self.net.boot_time()).max(Duration::from_millis(200));
        CallOptions { timeout: left.min(lease.attempt()), ..CallOptions::default() }
    }

    /// Sends a keep-alive; says why the session is lost if it is.
    async fn keep_alive(&self, lease: Lease) -> Option<String> {
        let sent = self.net.boot_time();
        let request = LockRequest::KeepAlive { session: self.session };
        let fault = match self.client.lock(request, self.options(lease)).await {
            Ok(answer) => match answer.result {
                Ok(LockReply::KeptAlive { expires_in_ms }) => {
                    self.sender.send_modify(|kept| {
                        kept.lease.acknowledge(sent, Duration::from_millis(expires_in_ms));
                        kept.trouble = None;
                    });
                    return None;
                }
                Ok(_) => return None,
                Err(fault) => fault,
            },
            Err(fault) => fault,
        };
        match fault.code {
            Code::SessionExpired | Code::NotFound => Some(fault.message),
            _ => {
                self.sender.send_modify(|kept| kept.trouble = Some(fault.message));
                tokio::time::sleep(lease.retry_after().min(Duration::from_millis(500))).await;
                None
            }
        }
    }

    /// Watches a grant, which force and wound-wait take from a session that lives; ends when it is
    /// gone.
    async fn watch(&self, grant: &Grant) -> String {
        let mut known = Holding::Held;
        loop {
            let request = LockRequest::Holding {
                lock: grant.lock.clone(),
                token: grant.token,
                known: known.clone(),
                wait_ms: human::millis(SLICE),
            };
            let options = CallOptions { timeout: 2 * SLICE, ..CallOptions::default() };
            let answer = self.client.lock(request, options).await;
            match answer.and_then(|answer| answer.result) {
                Ok(LockReply::Holding(Holding::Gone)) => return gone(&grant.lock, grant.token.0),
                Ok(LockReply::Holding(Holding::Revoked { by, grace_ms })) => {
                    let until = self.net.boot_time() + Duration::from_millis(grace_ms);
                    let revoked = Revoked { lock: grant.lock.clone(), by: by.clone(), until };
                    self.sender.send_modify(|kept| {
                        kept.revoked.get_or_insert(revoked);
                    });
                    known = Holding::Revoked { by, grace_ms };
                }
                Ok(_) => {}
                // The lease decides, not a node that does not answer; it is asked again soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

fn gone(lock: &Name, token: u64) -> String {
    format!("{lock} was taken away: token {token} no longer holds it")
}
