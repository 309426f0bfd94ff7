//! The way of a request to the leader of a replicated role: here, or there, or again in a moment.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::Answer;
use dsync_core::node::{RaftId, Role};
use dsync_core::{Code, Effect, Fault};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::forward::Forwarder;
use crate::raft::{Engine, Leadership, Machine, NotDone};

/// Time between two looks for a leader that may have been elected without notice.
const RETRY: Duration = Duration::from_millis(25);
/// So long before its caller gives up, at most, a request is answered: an answer that says what
/// happened is worth more than one that comes too late. More than what a deadline is rounded up by.
const MARGIN: Duration = Duration::from_millis(200);

/// A request that only the leader can serve.
pub trait LeaderCall: Sync {
    /// What it is answered with.
    type Reply: Send;

    /// It changes nothing and waits for something to happen: a node that stops does not wait for it.
    fn is_long_poll(&self) -> bool;

    /// Serves it at this node, which leads.
    fn here(&self, until: Instant) -> impl Future<Output = Result<Self::Reply, Fault>> + Send;

    /// Hands it to the leader at that address.
    fn there(
        &self,
        address: &str,
        until: Instant,
    ) -> impl Future<Output = Result<Answer<Self::Reply>, Fault>> + Send;
}

/// Knows where the leader is. Cheap to clone.
pub struct ToLeader<M: Machine> {
    engine: Engine<M>,
    leadership: watch::Receiver<Leadership>,
    forwarder: Arc<Forwarder>,
    role: Role,
    stopping: CancellationToken,
}

impl<M: Machine> Clone for ToLeader<M> {
    fn clone(&self) -> Self {
        Self {
            engine: self.engine.clone(),
            leadership: self.leadership.clone(),
            forwarder: Arc::clone(&self.forwarder),
            role: self.role,
            stopping: self.stopping.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for ToLeader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToLeader").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Where a request is to go.
enum Route {
    Here,
    To(RaftId, String),
    /// This node leads, and no quorum has acknowledged it for so long.
    Alone(Duration),
    Nowhere,
}

impl<M: Machine> ToLeader<M> {
    /// For requests of `role`, whose nodes run that engine. Long polls end with `stopping`.
    pub fn new(
        engine: Engine<M>,
        leadership: watch::Receiver<Leadership>,
        forwarder: Arc<Forwarder>,
        role: Role,
        stopping: CancellationToken,
    ) -> Self {
        Self { engine, leadership, forwarder, role, stopping }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine<M> {
        &self.engine
    }

    /// Who leads, as it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// How requests are handed on.
    pub fn forwarder(&self) -> &Arc<Forwarder> {
        &self.forwarder
    }

    /// Serves a request here or at the leader, trying on until shortly before then.
    ///
    /// # Cancel safety
    /// A request that was proposed is carried out all the same.
    pub async fn call<C: LeaderCall>(&self, call: &C, until: Instant) -> Answer<C::Reply> {
        let until = answer_by(until);
        if !call.is_long_poll() {
            return self.serve(call, until).await;
        }
        tokio::select! {
            answer = self.serve(call, until) => answer,
            // Asked again at another node, it hears what happens; here the log stands still.
            () = self.stopping.cancelled() => self.forwarder.answer(Err(stopping())),
        }
    }

    async fn serve<C: LeaderCall>(&self, call: &C, until: Instant) -> Answer<C::Reply> {
        let mut last = no_leader(self.role);
        let mut leadership = self.leadership.clone();
        loop {
            let outcome = match self.route() {
                Route::Here => call.here(until).await.map_err(Some),
                Route::To(leader, address) => {
                    let told = tokio::select! {
                        biased;
                        told = call.there(&address, until) => told,
                        // A leader that was deposed may never answer. What it was asked for may be
                        // in the log all the same; the next one knows the request by its key.
                        () = self.deposed(leader, &mut leadership) => {
                            self.forwarder.forget(&address);
                            Err(fault_of(NotDone::NotLeader(None)))
                        }
                    };
                    match told {
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
                    return self.forwarder.answer(Err(stopping()));
                },
                () = pause => {}
            }
        }
    }

    /// Ends when another node leads, this one perhaps; never because nobody does.
    async fn deposed(&self, leader: RaftId, leadership: &mut watch::Receiver<Leadership>) {
        loop {
            match self.route() {
                Route::To(now, _) if now == leader => {}
                Route::Nowhere => {}
                Route::Here | Route::To(..) | Route::Alone(_) => return,
            }
            if leadership.changed().await.is_err() {
                // The node is stopping; what was handed on may still be answered.
                return std::future::pending().await;
            }
        }
    }

    fn route(&self) -> Route {
        if self.engine.leader_time().is_some() {
            return match self.engine.quorum_lost_for() {
                Some(age) => Route::Alone(age),
                None => Route::Here,
            };
        }
        match self.engine.leader() {
            // A leader that has been silent for so long is dead, paused or cut off.
            Some((id, node))
                if id != self.engine.transport().raft_id() && self.engine.hears_leader() =>
            {
                Route::To(id, self.forwarder.address_of(&node))
            }
            _ => Route::Nowhere,
        }
    }

    fn alone(&self, age: Duration) -> Fault {
        let (me, role) = (self.forwarder.node(), self.role);
        Fault::unavailable(format!(
            "{me} leads, but its last quorum acknowledgement is {} ms old",
            age.as_millis()
        ))
        .hint(format!("a majority of the {role} nodes must run and reach each other"))
    }
}

/// When a request is answered whose caller waits until then: in time for the way back.
pub fn answer_by(until: Instant) -> Instant {
    let left = until.saturating_duration_since(Instant::now());
    until - MARGIN.min(left / 2)
}

/// What is answered for a proposal that was not carried out, or may not have been.
pub fn fault_of(error: NotDone) -> Fault {
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

/// A read changes nothing, whatever became of it.
pub fn read_fault(error: NotDone) -> Fault {
    Fault { effect: Effect::None, ..fault_of(error) }
}

/// What is answered by a node that stops.
pub fn stopping() -> Fault {
    Fault::unavailable("this node is stopping")
}

/// What is answered while nobody leads.
pub fn no_leader(role: Role) -> Fault {
    Fault::unavailable(format!("the {role} nodes have no leader now")).hint(format!(
        "see `dsctl raft leader`: a majority of the {role} nodes must run and reach each other"
    ))
}

/// Of two faults the one that says more about what may have happened.
fn worse(known: Fault, new: Fault) -> Fault {
    if known.effect == Effect::Unknown && new.effect == Effect::None { known } else { new }
}

/// The node asked is not the leader either.
fn asks_elsewhere<T>(answer: &Answer<T>) -> bool {
    answer.result.as_ref().is_err_and(|f| f.retryable && f.code == Code::Unavailable)
}
