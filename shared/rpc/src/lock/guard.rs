//! A lock that is held.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::lock::{Command, Grant, Holding, Mode, Outcome, Request, Token};
use dsync_core::name::Name;

use super::error::LockError;
use super::inner::{COMMAND_TIMEOUT, Inner, ask};
use super::pending::decide;
use crate::api::{LockReply, LockRequest};
use crate::client::CallOptions;
use crate::dial::millis;

/// Longest wait of one long poll.
const SLICE: Duration = Duration::from_secs(2);
/// Pause after a poll that got no answer.
const RETRY: Duration = Duration::from_millis(200);

/// How a lock is lost that was not given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The session's lease ran out, or was not renewed in time.
    Session,
    /// An older request wants it (wound-wait): it is taken after `grace` unless released before.
    Revoked {
        /// The older one's owner.
        by: Name,
        /// Time until it is taken, less the way of this news.
        grace: Duration,
    },
    /// It was taken: force-released, or held longer than its `max_hold`.
    Taken,
}

/// A lock that is held until the guard is released or dropped, as long as the session lives.
///
/// Dropping it releases the lock in the background; [`LockGuard::release`] waits until that is done.
pub struct LockGuard {
    session: Arc<Inner>,
    grant: Grant,
    /// The release, once it began: its repetition must be the same request.
    releasing: Option<Request>,
    released: bool,
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard")
            .field("grant", &self.grant)
            .field("valid", &self.is_valid())
            .finish_non_exhaustive()
    }
}

impl LockGuard {
    pub(super) fn new(session: Arc<Inner>, grant: Grant) -> Self {
        Self { session, grant, releasing: None, released: false }
    }

    /// The lock's name.
    pub fn name(&self) -> &Name {
        &self.grant.lock
    }

    /// The fencing token: hand it to the resource that the lock protects.
    pub fn token(&self) -> Token {
        self.grant.token
    }

    /// How it is held.
    pub fn mode(&self) -> Mode {
        self.grant.mode
    }

    /// Times this owner has entered, 1 for a new grant.
    pub fn count(&self) -> u32 {
        self.grant.count
    }

    /// True while the session's lease holds; see [`Session::is_valid`](super::Session::is_valid).
    /// A grant that is taken from a session that lives, by force or by wound-wait, is told by
    /// [`LockGuard::lost`].
    pub fn is_valid(&self) -> bool {
        self.session.is_valid()
    }

    /// Waits until the lock is lost, or about to be: stop using what it protects.
    ///
    /// # Time
    /// Force and revocation are told within a round trip after they are committed; when the node
    /// asked is cut off, some seconds later. After a force-release the lock is granted to nobody for
    /// the cluster's lock-delay.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) -> Loss {
        tokio::select! {
            () = self.session.lost() => Loss::Session,
            loss = self.taken() => loss,
        }
    }

    async fn taken(&self) -> Loss {
        let request = LockRequest::Holding {
            lock: self.grant.lock.clone(),
            token: self.grant.token,
            known: Holding::Held,
            wait_ms: millis(SLICE),
        };
        loop {
            let options = CallOptions { timeout: 2 * SLICE, ..CallOptions::default() };
            let answer = self.session.client.lock(request.clone(), options).await;
            match answer.and_then(|answer| answer.result) {
                Ok(LockReply::Holding(Holding::Gone)) => return Loss::Taken,
                Ok(LockReply::Holding(Holding::Revoked { by, grace_ms })) => {
                    return Loss::Revoked { by, grace: Duration::from_millis(grace_ms) };
                }
                Ok(_) => {}
                // The lease decides, not a node that does not answer.
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Gives the lock up and waits until the cluster has confirmed.
    ///
    /// # Errors
    /// `NotHolder`: it was lost before. `Fault`: not confirmed; it is tried on in the background.
    ///
    /// # Cancel safety
    /// The release goes on in the background.
    pub async fn release(mut self) -> Result<(), LockError> {
        let request = self.release_request();
        let outcome = ask(&self.session.client, request.clone(), COMMAND_TIMEOUT).await?;
        self.released = true;
        self.session.answered(request.key);
        if outcome == Outcome::SessionExpired {
            self.session.end();
        }
        if matches!(outcome, Outcome::Released { .. }) {
            return Ok(());
        }
        Err(LockError::of(outcome))
    }

    /// Changes how the lock is held. To `Shared` at once; to `Exclusive` waits, ahead of all
    /// others, until the other sharers are gone, and brings a new token.
    ///
    /// # Errors
    /// `Deadlock`: another sharer is upgrading already. `Timeout`, `NotHolder`, `SessionLost`,
    /// `Fault`. After an error the lock is held as before, unless it says `NotHolder` or
    /// `SessionLost`.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the upgrade in the background; release the guard then, for its
    /// token may be stale.
    pub async fn convert(&mut self, to: Mode, wait: Duration) -> Result<(), LockError> {
        let (lock, token) = (self.grant.lock.clone(), self.grant.token);
        let command = Command::Convert { lock, token, to, wait_ms: millis(wait) };
        let outcome = decide(&self.session, command, wait).await?;
        if let Outcome::Converted(grant) = outcome {
            self.grant = grant;
            return Ok(());
        }
        Err(LockError::of(outcome))
    }

    /// Keeps the lock without a guard: it is held until the session ends or someone releases it by
    /// its token, which this returns.
    pub fn leak(mut self) -> Token {
        self.released = true;
        self.grant.token
    }

    fn release_request(&mut self) -> Request {
        let session = &self.session;
        let grant = &self.grant;
        self.releasing
            .get_or_insert_with(|| {
                session.request(Command::Release {
                    lock: grant.lock.clone(),
                    token: Some(grant.token),
                    owner: None,
                    all: false,
                })
            })
            .clone()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.released {
            let request = self.release_request();
            self.session.send_in_background(request);
        }
    }
}
