//! Where the values of all keys are, and who takes part: in the nodes' own Raft log, or in Redis.
//!
//! # Consistency
//! Both are linearizable: a write is done at one moment between the question and its answer, and a
//! look sees every write that was answered before it. Redis may be restarted and forget; then
//! nothing that belongs to an epoch reaches it until a view of the new run is in force.

mod beats;
mod raft;
mod redis;
mod state;

use dsync_core::Fault;
use dsync_core::cache::command::{Ask, Told};
use dsync_core::config::Store as StoreKind;
use tokio::time::Instant;

pub use self::raft::RaftMemory;
pub use self::redis::RedisMemory;
pub use self::state::{MemoryState, noop};

/// The memory of the cache. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Memory {
    /// The nodes keep it themselves.
    Raft(RaftMemory),
    /// Redis keeps it.
    Redis(RedisMemory),
}

impl Memory {
    /// Asks it something, trying on until shortly before then where that makes sense.
    ///
    /// # Errors
    /// Effect `None`: nothing was done. Effect `Unknown`, of `Do` alone: it may have been done, or be
    /// done yet. A `Write` may then be repeated under the same id, and is done once; so may `Fence`
    /// and `TakeOver`, whose repetition does nothing more; a `Replace` that was done is answered with
    /// `false` when it is repeated, and the next `Live` shows the view. `Unavailable` is worth a
    /// repetition in a moment.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether a `Do` is done.
    pub async fn ask(&self, ask: &Ask, until: Instant) -> Result<Told, Fault> {
        // Boxed: these futures are large, and callers hold them in futures of their own.
        match self {
            Self::Raft(memory) => Box::pin(memory.ask(ask, until)).await,
            Self::Redis(memory) => Box::pin(memory.ask(ask, until)).await,
        }
    }

    /// Answers another node's question, if this one leads those that keep the memory.
    ///
    /// # Errors
    /// As of [`ask`](Self::ask); `Unavailable` with effect `None` at a node that does not lead.
    ///
    /// # Cancel safety
    /// As of [`ask`](Self::ask).
    pub async fn serve(&self, ask: Ask, until: Instant) -> Result<Told, Fault> {
        match self {
            Self::Raft(memory) => Box::pin(memory.serve(ask, until)).await,
            Self::Redis(_) => Err(Fault::unavailable("the memory is in Redis: no node serves it")),
        }
    }

    /// Which kind of store it is.
    pub fn store(&self) -> StoreKind {
        match self {
            Self::Raft(_) => StoreKind::Raft,
            Self::Redis(_) => StoreKind::Redis,
        }
    }

    /// What it is called in error texts.
    pub fn name(&self) -> String {
        match self {
            Self::Raft(_) => "the quorum of the cache nodes".to_owned(),
            Self::Redis(memory) => memory.name(),
        }
    }

    /// What is wrong with it, in words; of a memory in the nodes' own log the log tells.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Raft(_) => Vec::new(),
            Self::Redis(memory) => memory.problems(),
        }
    }
}
