//! Keeps a session alive in the background and tells when it, or a grant of it, is lost.
//!
//! `lock run`, `lock acquire --keepalive` and every wait rest on this alone, so that another keeper of
//! sessions can take its place.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::net::Net;
use dsync::{CallOptions, Client};
use dsync_core::Code;
use dsync_core::lock::{Grant, SessionId};
use dsync_core::name::Name;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::deadline::Lease;

/// Time between two looks at the grants, at most.
const CHECK: Duration = Duration::from_secs(2);

/// What the keeper knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The lease.
    pub(crate) lease: Lease,
    /// Why it is lost for certain, once it is.
    pub(crate) lost: Option<String>,
    /// The last failure since the last success.
    pub(crate) trouble: Option<String>,
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
        let (sender, state) = watch::channel(Kept { lease, lost: None, trouble: None });
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
        loop {
            let lease = self.sender.borrow().lease;
            let now = self.net.boot_time();
            let due = lease.renew_at().saturating_sub(now);
            tokio::time::sleep(due.min(CHECK).min(lease.ttl / 6)).await;
            let due = self.net.boot_time() >= lease.renew_at();
            let lost = if due { self.keep_alive(lease).await } else { None };
            let lost = match lost {
                Some(why) => Some(why),
                None => self.check().await,
            };
            if let Some(why) = lost {
                self.sender.send_modify(|kept| kept.lost = Some(why));
                return;
            }
        }
    }

    /// Options of a call that must not hold up the next try.
    fn options(&self, lease: Lease) -> CallOptions {
        let left = lease.left(self.net.boot_time()).max(Duration::from_millis(200));
        CallOptions { timeout: left.min(lease.ttl / 3), ..CallOptions::default() }
    }

    /// Sends a keep-alive; says why the session is lost if it is.
    async fn keep_alive(&self, lease: Lease) -> Option<String> {
        let sent = self.net.boot_time();
        let request = LockRequest::KeepAlive { session: self.session };
        let fault = match self.client.lock(request, self.options(lease)).await {
            Ok(answer) => match answer.result {
                Ok(LockReply::KeptAlive { expires_in_ms }) => {
                    // The cluster may give more than the lease for a while after an election; the
                    // holder never counts on it.
                    let ttl = lease.ttl.min(Duration::from_millis(expires_in_ms));
                    let lease = Lease { confirmed: sent, ttl: lease.ttl };
                    let confirmed = (sent + ttl).saturating_sub(lease.ttl);
                    self.sender.send_modify(|kept| {
                        kept.lease = Lease { confirmed, ..lease };
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
                tokio::time::sleep((lease.ttl / 20).min(Duration::from_millis(500))).await;
                None
            }
        }
    }

    /// Looks whether every grant is still held: force and wounding take one without the session.
    async fn check(&self) -> Option<String> {
        let lease = self.sender.borrow().lease;
        let checks = self.grants.iter().map(|grant| async {
            let request = LockRequest::Validate { lock: grant.lock.clone(), token: grant.token };
            let answer = self.client.lock(request, self.options(lease)).await;
            match answer.map(|a| a.result) {
                Ok(Ok(LockReply::Valid(None))) => Some(gone(&grant.lock, grant.token.0)),
                _ => None,
            }
        });
        futures::future::join_all(checks).await.into_iter().flatten().next()
    }
}

fn gone(lock: &Name, token: u64) -> String {
    format!("{lock} was taken away: token {token} no longer holds it")
}
