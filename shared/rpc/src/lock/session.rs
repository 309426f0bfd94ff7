//! Sessions: the lease on which everything a program holds depends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::lock::{
    Command, DEFAULT_TTL_MS, Grant, Holder, Lease, Mode, Outcome, Policy, Request, RequestKey,
    SessionId, Token, Want,
};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};

use super::error::LockError;
use super::guard::LockGuard;
use super::inner::{COMMAND_TIMEOUT, Inner, ask, out_of_place};
use super::keepalive::keep_alive;
use super::pending::decide;
use crate::api::{LockReply, LockRequest};
use crate::client::{CallOptions, Client};
use crate::dial::millis;

/// How to open a session.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// Lease: the session ends when the cluster hears nothing for so long. 1 s to 24 h.
    pub ttl: Duration,
    /// Who, for people to read: `user@host`.
    pub owner: String,
    /// Anything, at most 4 096 bytes.
    pub meta: String,
}

impl SessionOptions {
    /// A lease of 15 s for that owner.
    pub fn new(owner: impl Into<String>) -> Self {
        let ttl = Duration::from_millis(DEFAULT_TTL_MS);
        Self { ttl, owner: owner.into(), meta: String::new() }
    }

    /// Another lease.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// A description.
    #[must_use]
    pub fn meta(mut self, meta: impl Into<String>) -> Self {
        self.meta = meta.into();
        self
    }
}

/// How to ask for a lock.
#[derive(Debug, Clone)]
pub struct Acquire {
    /// How to hold it.
    pub mode: Mode,
    /// Longest wait, at most 24 h; zero: do not wait.
    pub wait: Duration,
    /// What to do when it would wait.
    pub policy: Policy,
    /// Age for wound-wait and wait-die, kept over retries; 0: the session's.
    pub age: u64,
    /// The grant ends after so long even if the session lives.
    pub max_hold: Option<Duration>,
    /// Owner label within the session; `None`: the session's owner. The same label enters again.
    pub owner: Option<String>,
}

impl Acquire {
    /// Held in that mode, with a wait of 30 s.
    pub const fn mode(mode: Mode) -> Self {
        let wait = Duration::from_secs(30);
        Self { mode, wait, policy: Policy::Detect, age: 0, max_hold: None, owner: None }
    }

    /// Held by one.
    pub const fn exclusive() -> Self {
        Self::mode(Mode::Exclusive)
    }

    /// Held by any number of sharers.
    pub const fn shared() -> Self {
        Self::mode(Mode::Shared)
    }

    /// Another wait.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Another policy.
    #[must_use]
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }
}

/// A session; clones share it.
///
/// It keeps itself alive in the background, every third of its lease. When the last clone and the
/// last guard are dropped it closes itself, as well as it can without waiting.
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.inner.id)
            .field("owner", &self.inner.owner)
            .field("valid", &self.is_valid())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// `Fault`: `InvalidArgument` for an owner that is no name or a lease out of range;
    /// `Unavailable` or `Timeout` when no node answers for the cluster within 10 s.
    ///
    /// # Cancel safety
    /// A session that was opened meanwhile ends by itself when its lease does.
    pub async fn open(client: &Client, options: SessionOptions) -> Result<Self, LockError> {
        let owner = Name::parse("owner", &options.owner)?;
        let request = Request {
            key: RequestKey::Detached(rand::random()),
            first_outstanding: 0,
            command: Command::OpenSession {
                ttl_ms: millis(options.ttl),
                owner: owner.clone(),
                meta: options.meta,
                ephemeral: false,
            },
        };
        let sent = client.net().boot_time();
        let outcome = ask(client, request, COMMAND_TIMEOUT).await?;
        let Outcome::SessionOpened { session: id, ttl_ms } = outcome else {
            return Err(LockError::of(outcome));
        };
        let lease = Lease { confirmed: sent, ttl: Duration::from_millis(ttl_ms) };
        let inner = Arc::new(Inner::new(client.clone(), id, owner, lease));
        tokio::spawn(keep_alive(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.inner.id
    }

    /// Its owner.
    pub fn owner(&self) -> &Name {
        &self.inner.owner
    }

    /// The lease in force.
    pub fn ttl(&self) -> Duration {
        self.inner.lease().ttl
    }

    /// The moment, on the network's boot clock, from which the locks may be granted to others. It
    /// moves with every keep-alive that is acknowledged.
    pub fn deadline(&self) -> Duration {
        self.inner.lease().deadline()
    }

    /// Time until [`Self::deadline`].
    pub fn time_left(&self) -> Duration {
        self.inner.time_left()
    }

    /// True while no one else can have been granted what this session holds.
    ///
    /// True now does not mean true after the next line: see the module's docs on fencing.
    pub fn is_valid(&self) -> bool {
        self.inner.is_valid()
    }

    /// Waits until the session is not valid any more: closed, expired at the cluster, or its
    /// deadline passed without an acknowledged keep-alive.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) {
        self.inner.lost().await;
    }

    /// Ends the session: its requests are withdrawn and its locks released cleanly, without the
    /// delay that follows an expiry.
    ///
    /// # Errors
    /// `Fault`: the cluster did not confirm; then the lease runs out.
    ///
    /// # Cancel safety
    /// Not valid any more in any case; the lease runs out.
    pub async fn close(self) -> Result<(), LockError> {
        if self.inner.is_over() {
            return Ok(());
        }
        let request = self.inner.request(Command::CloseSession);
        self.inner.end();
        let outcome = ask(&self.inner.client, request, COMMAND_TIMEOUT).await?;
        if matches!(outcome, Outcome::SessionClosed | Outcome::SessionExpired) {
            return Ok(());
        }
        Err(LockError::of(outcome))
    }

    /// Asks for a lock and waits for it.
    ///
    /// # Errors
    /// `Timeout`, `WouldBlock` (with a wait of zero), `Deadlock`, `Wounded`, `SessionLost`, and
    /// `Fault` for what cannot be asked for (`InvalidArgument`, `LimitReached`) or when no node
    /// answers. After any error nothing is held, or what was granted is released in the background.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the request in the background, or releases the lock if it was
    /// granted meanwhile.
    pub async fn acquire(&self, lock: &str, how: &Acquire) -> Result<LockGuard, LockError> {
        let mut grants = self.request_locks(&[(lock, how.mode)], how).await?;
        grants.pop().map(|grant| self.guard(grant)).ok_or_else(no_grant)
    }

    /// Asks for a lock without waiting; `None`: someone else holds it.
    ///
    /// # Errors
    /// As of [`Self::acquire`].
    ///
    /// # Cancel safety
    /// As of [`Self::acquire`].
    pub async fn try_acquire(
        &self,
        lock: &str,
        how: &Acquire,
    ) -> Result<Option<LockGuard>, LockError> {
        match self.acquire(lock, &how.clone().wait(Duration::ZERO)).await {
            Ok(guard) => Ok(Some(guard)),
            Err(LockError::WouldBlock { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for several locks, all at once or none: two groups never deadlock each other.
    ///
    /// `how.mode` is not used. The guards come in the order asked for; 64 locks at most.
    ///
    /// # Errors
    /// As of [`Self::acquire`].
    ///
    /// # Cancel safety
    /// As of [`Self::acquire`].
    pub async fn acquire_many(
        &self,
        locks: &[(&str, Mode)],
        how: &Acquire,
    ) -> Result<Vec<LockGuard>, LockError> {
        let grants = self.request_locks(locks, how).await?;
        Ok(grants.into_iter().map(|grant| self.guard(grant)).collect())
    }

    /// Who holds the lock with that token; `None`: the token is not, or not any more, valid.
    ///
    /// # Errors
    /// `Fault`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn validate(&self, lock: &str, token: Token) -> Result<Option<Holder>, LockError> {
        let request = LockRequest::Validate { lock: Name::parse("lock", lock)?, token };
        let options = CallOptions { timeout: COMMAND_TIMEOUT, ..CallOptions::default() };
        let reply = self.inner.client.lock(request, options).await?.result?;
        let LockReply::Valid(holder) = reply else { return Err(out_of_place(&reply)) };
        Ok(holder)
    }

    fn guard(&self, grant: Grant) -> LockGuard {
        LockGuard::new(Arc::clone(&self.inner), grant)
    }

    async fn request_locks(
        &self,
        locks: &[(&str, Mode)],
        how: &Acquire,
    ) -> Result<Vec<Grant>, LockError> {
        let wants: Result<Vec<_>, Fault> = locks
            .iter()
            .map(|(lock, mode)| Ok(Want { lock: Name::parse("lock", lock)?, mode: *mode }))
            .collect();
        let owner = match &how.owner {
            Some(label) => Name::parse("owner", label)?,
            None => self.inner.owner.clone(),
        };
        let command = Command::Acquire {
            wants: wants?,
            owner,
            wait_ms: millis(how.wait),
            policy: how.policy,
            age: how.age,
            max_hold_ms: how.max_hold.map_or(0, millis),
        };
        let outcome = decide(&self.inner, command, how.wait).await?;
        if let Outcome::Granted(grants) = outcome {
            return Ok(grants);
        }
        Err(LockError::of(outcome))
    }
}

fn no_grant() -> LockError {
    Fault::new(Code::Internal, "granted, but without a lock").into()
}
