//! The lock role: requests in, log entries out, answers back, on any node.

mod proposer;
mod reads;
mod state;
#[cfg(test)]
mod state_tests;
mod watchers;

use std::time::Duration;

use dsync::api::{Answer, Head, LockReply, LockRequest};
use dsync_core::config::NodeConfig;
use dsync_core::lock::{Batch, Request, RequestKey, Settings, check};
use dsync_core::{Code, Effect, Fault};
use tokio::time::Instant;

use self::proposer::{NotProposed, Proposer};
pub use self::state::LockState;
use super::leader::{LeaderCall, ToLeader, fault_of};
use crate::raft::Engine;

/// Longest time that a request waits here for a leader or for its entry.
const BUDGET: Duration = Duration::from_secs(10);

/// The lock service of one node.
#[derive(Debug, Clone)]
pub struct LockRole {
    to_leader: ToLeader<LockState>,
    proposer: Proposer,
}

/// Times that the leader writes into every entry.
pub fn settings(config: &NodeConfig) -> Settings {
    Settings {
        new_term_grace_ms: 2 * config.timers.election_max_ms,
        lock_delay_ms: config.lock_delay_ms,
        wound_grace_ms: config.lock_wound_grace_ms,
        min_ttl_ms: dsync_core::lock::MIN_TTL_MS.max(config.timers.election_max_ms * 3 / 2),
    }
}

/// The entry that does nothing.
pub fn noop(config: &NodeConfig) -> Batch {
    Batch { settings: settings(config), ..Batch::default() }
}

impl LockRole {
    /// Starts the role on a running engine.
    pub fn start(to_leader: ToLeader<LockState>, config: &NodeConfig) -> Self {
        let proposer =
            Proposer::start(to_leader.engine().clone(), settings(config), to_leader.leadership());
        Self { to_leader, proposer }
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine<LockState> {
        self.to_leader.engine()
    }

    /// Answers a request here or at the leader.
    ///
    /// # Errors
    /// See [`Fault`]: a fault with effect `Unknown` must be repeated under the same request key
    /// only.
    ///
    /// # Cancel safety
    /// A request that was proposed is carried out all the same; its key finds the outcome.
    pub async fn call(
        &self,
        head: &Head,
        request: LockRequest,
        within: Duration,
    ) -> Answer<LockReply> {
        if let LockRequest::Do(request) = &request
            && let Err(fault) = check(request)
        {
            return self.to_leader.forwarder().answer(Err(fault));
        }
        let until = Instant::now() + within.min(BUDGET);
        self.to_leader.call(&LockCall { role: self, head, request }, until).await
    }

    async fn here(&self, request: &LockRequest, until: Instant) -> Result<LockReply, Fault> {
        match request {
            LockRequest::Do(request) => self.carry_out(request, until).await,
            LockRequest::KeepAlive { session } => {
                let left = in_time(until, self.proposer.keep_alive(*session)).await?;
                match left {
                    Some(expires_in_ms) => Ok(LockReply::KeptAlive { expires_in_ms }),
                    None => Err(Fault::new(
                        Code::SessionExpired,
                        format!("session {} is over: what it held is released", session.0),
                    )
                    .hint("open a new session; the lease was not renewed in time")),
                }
            }
            LockRequest::Await { .. }
            | LockRequest::Get { .. }
            | LockRequest::List { .. }
            | LockRequest::Validate { .. }
            | LockRequest::WaitGraph
            | LockRequest::Sessions { .. }
            | LockRequest::Events { .. }
            | LockRequest::Holding { .. } => self.read(request, until).await,
        }
    }

    async fn carry_out(&self, request: &Request, until: Instant) -> Result<LockReply, Fault> {
        let outcome = in_time(until, self.proposer.submit(request.clone())).await.map_err(|f| {
            if f.effect == Effect::Unknown { name_request(f, &request.key) } else { f }
        })?;
        Ok(LockReply::Outcome(outcome))
    }
}

/// A request on its way.
struct LockCall<'a> {
    role: &'a LockRole,
    head: &'a Head,
    request: LockRequest,
}

impl LeaderCall for LockCall<'_> {
    type Reply = LockReply;

    fn is_long_poll(&self) -> bool {
        matches!(
            self.request,
            LockRequest::Await { .. } | LockRequest::Events { .. } | LockRequest::Holding { .. }
        )
    }

    async fn here(&self, until: Instant) -> Result<LockReply, Fault> {
        self.role.here(&self.request, until).await
    }

    async fn there(&self, address: &str, until: Instant) -> Result<Answer<LockReply>, Fault> {
        let forwarder = self.role.to_leader.forwarder();
        forwarder.hand_on(address, self.head, self.request.clone(), until).await
    }
}

/// Waits for the proposer until the time is up.
async fn in_time<T>(
    until: Instant,
    proposed: impl Future<Output = Result<T, NotProposed>>,
) -> Result<T, Fault> {
    match tokio::time::timeout_at(until, proposed).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(NotProposed::QueueFull)) => Err(Fault::unavailable(
            "too many requests wait for the quorum already; nothing was done",
        )),
        Ok(Err(NotProposed::NotDone(error))) => Err(fault_of(error)),
        Err(_) => Err(Fault::unknown("no quorum confirmed the request in time")),
    }
}

fn name_request(fault: Fault, key: &RequestKey) -> Fault {
    let name = match key {
        RequestKey::Detached(id) => format!("--request-id {id:032x}"),
        RequestKey::Session { session, seq } => format!("session {} seq {seq}", session.0),
    };
    fault.hint(format!("the outcome is unknown; repeat it with {name}: it takes effect once"))
}
