//! The lock role: requests in, log entries out, answers back, on any node.

mod proposer;
mod reads;
mod state;

use std::sync::Arc;
use std::time::Duration;

use dsync::api::{Answer, Head, LockReply, LockRequest};
use dsync_core::config::NodeConfig;
use dsync_core::lock::{Request, RequestKey, Settings, check};
use dsync_core::{Code, Effect, Fault};
use tokio::sync::watch;
use tokio::time::Instant;

use self::proposer::{NotProposed, Proposer};
pub use self::state::LockState;
use crate::forward::Forwarder;
use crate::raft::{Engine, Leadership, NotDone};

/// Longest time that a request waits here for a leader or for its entry.
const BUDGET: Duration = Duration::from_secs(10);
/// Time between two looks for a leader that may have been elected without notice.
const RETRY: Duration = Duration::from_millis(25);

/// The lock service of one node.
#[derive(Debug, Clone)]
pub struct LockRole {
    engine: Engine<LockState>,
    proposer: Proposer,
    leadership: watch::Receiver<Leadership>,
    forwarder: Arc<Forwarder>,
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

/// Where a request is to go.
enum Route {
    Here,
    To(String),
    /// This node leads, and no quorum has acknowledged it for so long.
    Alone(Duration),
    Nowhere,
}

impl LockRole {
    /// Starts the role on a running engine.
    pub fn start(
        engine: Engine<LockState>,
        config: &NodeConfig,
        leadership: watch::Receiver<Leadership>,
        forwarder: Arc<Forwarder>,
    ) -> Self {
        let proposer = Proposer::start(engine.clone(), settings(config), leadership.clone());
        Self { engine, proposer, leadership, forwarder }
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine<LockState> {
        &self.engine
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
            return self.forwarder.answer(Err(fault));
        }
        let until = Instant::now() + within.min(BUDGET);
        let mut last = no_leader();
        let mut leadership = self.leadership.clone();
        loop {
            let outcome = match self.route() {
                Route::Here => self.here(&request, until).await.map_err(Some),
                Route::To(address) => {
                    match self.forwarder.lock(&address, head, request.clone(), until).await {
                        Ok(answer) if !asks_elsewhere(&answer) => return answer,
                        Ok(answer) => Err(answer.result.err()),
                        Err(fault) => Err(Some(fault)),
                    }
                }
                Route::Alone(age) => Err(Some(self.alone(age))),
                Route::Nowhere => Err(None),
            };
            match outcome {
                Ok(reply) => return self.forwarder.answer(Ok(reply)),
                Err(Some(fault)) if !fault.retryable => return self.forwarder.answer(Err(fault)),
                Err(Some(fault)) => last = worse(last, fault),
                Err(None) => {}
            }
            if Instant::now() + RETRY >= until {
                return self.forwarder.answer(Err(last));
            }
            // A new leader wakes this at once; an error of the moment is tried again soon.
            let pause = tokio::time::sleep(RETRY);
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() {
                    return self.forwarder.answer(Err(Fault::unavailable("this node is stopping")));
                },
                () = pause => {}
            }
        }
    }

    /// True while this node leads with a quorum, or hears a leader.
    pub fn has_leader(&self) -> bool {
        let known = self.leadership.borrow().clone();
        if known.mine {
            return self.engine.quorum_lost_for().is_none();
        }
        let patience = Duration::from_millis(2 * self.engine.timers().election_max_ms);
        let heard = self.engine.transport().leader_heard();
        known.leader.is_some() && heard.is_some_and(|(_, at)| at.elapsed() < patience)
    }

    fn route(&self) -> Route {
        if self.engine.leader_time().is_some() {
            return match self.engine.quorum_lost_for() {
                Some(age) => Route::Alone(age),
                None => Route::Here,
            };
        }
        match self.engine.leader() {
            Some((id, node)) if id != self.engine.transport().raft_id() => {
                Route::To(self.forwarder.address_of(&node))
            }
            _ => Route::Nowhere,
        }
    }

    fn alone(&self, age: Duration) -> Fault {
        let me = &self.forwarder.node();
        Fault::unavailable(format!(
            "{me} leads, but its last quorum acknowledgement is {} ms old",
            age.as_millis()
        ))
        .hint("a majority of the lock nodes must run and reach each other")
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

fn fault_of(error: NotDone) -> Fault {
    match error {
        // It may be in the log of a leader that was deposed: the key decides, not this node.
        NotDone::NotLeader(_) => Fault {
            code: Code::Unavailable,
            ..Fault::unknown("the leader changed while the request was on its way")
        },
        NotDone::NoQuorum(why) => Fault::unavailable(format!("no quorum: {why}")),
        NotDone::Stopped(why) => Fault {
            code: Code::Unavailable,
            ..Fault::unknown(format!("this node has stopped: {why}"))
        },
        NotDone::Refused(why) => Fault::new(Code::InvalidArgument, why),
    }
}

fn name_request(fault: Fault, key: &RequestKey) -> Fault {
    let name = match key {
        RequestKey::Detached(id) => format!("--request-id {id:032x}"),
        RequestKey::Session { session, seq } => format!("session {} seq {seq}", session.0),
    };
    fault.hint(format!("the outcome is unknown; repeat it with {name}: it takes effect once"))
}

/// What is answered while nobody leads.
pub fn no_leader() -> Fault {
    Fault::unavailable("the lock nodes have no leader now")
        .hint("see `dsctl raft leader`: a majority of the lock nodes must run and reach each other")
}

/// Of two faults the one that says more about what may have happened.
fn worse(known: Fault, new: Fault) -> Fault {
    if known.effect == Effect::Unknown && new.effect == Effect::None { known } else { new }
}

/// The node asked is not the leader either.
fn asks_elsewhere(answer: &Answer<LockReply>) -> bool {
    answer.result.as_ref().is_err_and(|f| f.retryable && f.code == Code::Unavailable)
}
