//! What the client may do with each request: wait for it, repeat it, follow its answer.

use std::future::Future;
use std::time::Duration;

use dsync_core::queue::Command;
use dsync_core::queue::partition_of;

use crate::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use crate::connection::{CallError, NodeConnection};
use crate::dial::ConnectError;

/// Time for a node to answer a request that does not wait, before another node is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why an attempt gave no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// No connection.
    Connect(ConnectError),
    /// No reply.
    Call(CallError),
}

/// What one node is in charge of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// All locks.
    Locks,
    /// The queues of that partition.
    Queues(u8),
    /// All keys of the cache.
    Cache,
}

/// A request of any service.
pub(super) trait Ask: Send + Sync {
    /// Its reply.
    type Told: Send;

    /// What it is about, if one node is in charge of that: whoever answers is worth going to
    /// directly next time.
    fn place(&self) -> Option<Place>;

    /// Time that it asks the node to wait.
    fn wait(&self) -> Duration {
        Duration::ZERO
    }

    /// It waits at the node.
    fn is_wait(&self) -> bool {
        !self.wait().is_zero()
    }

    /// It changes nothing: whether it was executed is nobody's concern.
    fn is_read(&self) -> bool;

    /// A repetition has no second effect.
    fn may_repeat(&self) -> bool;

    /// Time for one node; `None`: all there is.
    fn patience(&self) -> Option<Duration>;

    /// Sends it.
    fn send(
        &self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> impl Future<Output = Result<Answer<Self::Told>, CallError>> + Send;
}

impl Ask for LockRequest {
    type Told = LockReply;

    fn place(&self) -> Option<Place> {
        Some(Place::Locks)
    }

    fn wait(&self) -> Duration {
        match self {
            Self::Await { wait_ms, .. }
            | Self::Events { wait_ms, .. }
            | Self::Holding { wait_ms, .. } => Duration::from_millis(*wait_ms),
            Self::Do(_)
            | Self::KeepAlive { .. }
            | Self::Get { .. }
            | Self::List { .. }
            | Self::Validate { .. }
            | Self::WaitGraph
            | Self::Sessions { .. } => Duration::ZERO,
        }
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Do(_) | Self::KeepAlive { .. } => false,
            Self::Await { .. }
            | Self::Events { .. }
            | Self::Holding { .. }
            | Self::Get { .. }
            | Self::List { .. }
            | Self::Validate { .. }
            | Self::WaitGraph
            | Self::Sessions { .. } => true,
        }
    }

    /// Commands carry a key that the state machine remembers; all else only reads or refreshes.
    fn may_repeat(&self) -> bool {
        true
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.wait() + PATIENCE)
    }

    async fn send(
        &self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<LockReply>, CallError> {
        to.lock(head, self.clone(), limit).await
    }
}

impl Ask for AdminRequest {
    type Told = AdminReply;

    fn place(&self) -> Option<Place> {
        None
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Ping
            | Self::NodeInfo
            | Self::Directory
            | Self::RaftStatus
            | Self::RaftProbe
            | Self::SnapshotRead { .. }
            | Self::DialCheck { .. } => true,
            Self::RaftTransfer { .. } | Self::RaftReplace { .. } | Self::SnapshotWrite { .. } => {
                false
            }
        }
    }

    fn may_repeat(&self) -> bool {
        self.is_read()
    }

    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Ping | Self::NodeInfo | Self::Directory | Self::RaftStatus => Some(PATIENCE),
            Self::RaftProbe
            | Self::SnapshotRead { .. }
            | Self::DialCheck { .. }
            | Self::RaftTransfer { .. }
            | Self::RaftReplace { .. }
            | Self::SnapshotWrite { .. } => None,
        }
    }

    async fn send(
        &self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<AdminReply>, CallError> {
        to.admin(head, self.clone(), limit).await
    }
}

impl Ask for QueueRequest {
    type Told = QueueReply;

    fn place(&self) -> Option<Place> {
        let queue = match self {
            Self::Do { queue, .. } => queue,
            Self::Read(query) => query.queue()?,
            Self::Ring { queue } => queue.as_ref()?,
        };
        Some(Place::Queues(partition_of(queue)))
    }

    fn wait(&self) -> Duration {
        match self {
            Self::Do { command: Command::Pop { .. }, wait_ms, .. } => {
                Duration::from_millis(*wait_ms)
            }
            Self::Do { .. } | Self::Read(_) | Self::Ring { .. } => Duration::ZERO,
        }
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Do { .. } => false,
            Self::Read(_) | Self::Ring { .. } => true,
        }
    }

    fn may_repeat(&self) -> bool {
        match self {
            Self::Do { command, .. } => command.may_repeat(),
            Self::Read(_) | Self::Ring { .. } => true,
        }
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.wait() + PATIENCE)
    }

    async fn send(
        &self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<QueueReply>, CallError> {
        to.queue(head, self.clone(), limit).await
    }
}

impl Ask for CacheRequest {
    type Told = CacheReply;

    /// Every cache node serves every key.
    fn place(&self) -> Option<Place> {
        Some(Place::Cache)
    }

    fn is_read(&self) -> bool {
        match self {
            Self::Do { .. } | Self::Invalidate { .. } => false,
            Self::Get { .. }
            | Self::Inspect { .. }
            | Self::Line { .. }
            | Self::Keys { .. }
            | Self::Stats
            | Self::Lost
            | Self::View => true,
        }
    }

    /// A change that may have been made is not repeated: another one may have come between.
    fn may_repeat(&self) -> bool {
        !matches!(self, Self::Do { .. })
    }

    fn patience(&self) -> Option<Duration> {
        match self {
            // A change may have to wait until the lease of a node that says nothing is over, and no
            // other node is asked after it; an invalidation deletes one key after the other.
            Self::Do { .. } | Self::Invalidate { .. } => None,
            Self::Get { .. }
            | Self::Inspect { .. }
            | Self::Line { .. }
            | Self::Keys { .. }
            | Self::Stats
            | Self::Lost
            | Self::View => Some(PATIENCE),
        }
    }

    async fn send(
        &self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<CacheReply>, CallError> {
        to.cache(head, self.clone(), limit).await
    }
}
