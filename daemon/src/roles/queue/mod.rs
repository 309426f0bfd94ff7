//! The queue role: pushes, pops and what follows, on any node.

mod pops;
mod raft;
mod redis;
mod serve;
mod tally;
mod waiting;

use std::time::Duration;

use dsync::api::{Answer, Head, POP_WAIT_MAX_MS, QueueReply, QueueRequest};
use dsync_core::queue::{Batch, Command, Outcome, check};
use dsync_core::{Code, Fault};
use tokio::time::Instant;

pub use self::raft::{COMMAND_MAX, QueueState, RaftQueues};
pub use self::redis::{Myself, RedisQueues};

/// Longest time that a request waits here for a leader or for the store, its own wait aside.
const BUDGET: Duration = Duration::from_secs(10);

/// The entry that does nothing.
pub fn noop() -> Batch {
    Batch::default()
}

/// The queue service of one node.
#[derive(Debug, Clone)]
pub enum QueueRole {
    /// The jobs are in the nodes' own log.
    Raft(RaftQueues),
    /// The jobs are in Redis.
    Redis(RedisQueues),
}

impl QueueRole {
    /// Answers a request here or at the node in charge.
    ///
    /// # Errors
    /// See [`Fault`]: after effect `Unknown` the same command may be repeated if it
    /// [may be](dsync_core::queue::Command::may_repeat).
    ///
    /// # Cancel safety
    /// A command that reached the store is carried out all the same; jobs that a dropped pop takes
    /// are given back.
    pub async fn call(
        &self,
        head: &Head,
        request: QueueRequest,
        within: Duration,
    ) -> Answer<QueueReply> {
        match self {
            Self::Raft(queues) => queues.call(head, request, within).await,
            Self::Redis(queues) => queues.call(head, request, within).await,
        }
    }

    /// False while Redis is there and takes no writes. What only takes jobs away may still work.
    pub fn takes_writes(&self) -> bool {
        match self {
            Self::Raft(_) => true,
            Self::Redis(queues) => !queues.is_refused(),
        }
    }

    /// Consumers that wait here.
    pub fn waiters(&self) -> usize {
        match self {
            Self::Raft(queues) => queues.waiters(),
            Self::Redis(queues) => queues.waiters(),
        }
    }

    /// The node stops: others take over what it is in charge of.
    pub async fn leave(&self) {
        match self {
            // Leadership is handed over with the group.
            Self::Raft(_) => {}
            Self::Redis(queues) => queues.leave().await,
        }
    }
}

/// Checks a request, and says until when it is worked on.
fn admit(request: &QueueRequest, within: Duration) -> Result<Instant, Fault> {
    let mut budget = BUDGET;
    if let QueueRequest::Do { command, wait_ms, .. } = request {
        check(command)?;
        if *wait_ms > POP_WAIT_MAX_MS {
            let text =
                format!("a pop that waits {wait_ms} ms: at most {POP_WAIT_MAX_MS} are possible");
            return Err(Fault::new(Code::InvalidArgument, text).hint("wait shorter, and ask again"));
        }
        budget += Duration::from_millis(*wait_ms);
    }
    Ok(Instant::now() + within.min(budget))
}

/// A pop that waits: a node that stops does not wait for it.
fn is_long_poll(request: &QueueRequest) -> bool {
    matches!(request, QueueRequest::Do { command: Command::Pop { .. }, wait_ms: 1.., .. })
}

/// The fault that an outcome stands for which should not have been.
fn not_done(outcome: Outcome) -> Fault {
    match outcome {
        Outcome::Invalid(why) => Fault::new(Code::InvalidArgument, why),
        Outcome::LimitReached(why) => Fault::new(Code::LimitReached, why),
        Outcome::Pushed(_)
        | Outcome::Popped(_)
        | Outcome::Settled(_)
        | Outcome::Set
        | Outcome::Moved(_) => Fault::new(Code::Internal, "a command was answered as another one"),
    }
}
