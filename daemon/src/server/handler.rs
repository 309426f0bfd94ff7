//! What answers requests, and who asks.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom, Destination, RaftCall, RaftReply};
use dsync::preamble::Plane;
use dsync_core::Fault;
use dsync_core::node::Hello;
use tokio::time::Instant;

/// Who is on the other side of a connection, as far as it told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// NODE_ID, or what a client calls itself.
    pub id: String,
    /// Version of its program.
    pub version: String,
    /// What the connection is for.
    pub plane: Plane,
    /// Where it comes from.
    pub address: SocketAddr,
    /// Number of the connection since the start.
    pub connection: u64,
}

/// What comes with every request.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// When the caller stops waiting; the handler is dropped soon after.
    pub deadline: Instant,
}

impl Call {
    /// Time that the caller still waits.
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// Answers requests of clients.
///
/// A handler's future is dropped at any await when its caller cancels, disconnects or runs out of
/// time: send to the task that owns the state, and await its answer. It runs in the connection's
/// task: never block.
pub trait NodeHandler: Clone + Send + Sync + 'static {
    /// The lock service.
    fn lock(
        &self,
        call: Call,
        head: Head,
        request: LockRequest,
    ) -> impl Future<Output = Answer<LockReply>> + Send;

    /// Nodes, Raft, membership.
    fn admin(
        &self,
        call: Call,
        head: Head,
        request: AdminRequest,
    ) -> impl Future<Output = Answer<AdminReply>> + Send;

    /// The queue service.
    fn queue(
        &self,
        call: Call,
        head: Head,
        request: QueueRequest,
    ) -> impl Future<Output = Answer<QueueReply>> + Send;

    /// The cache service.
    fn cache(
        &self,
        call: Call,
        head: Head,
        request: CacheRequest,
    ) -> impl Future<Output = Answer<CacheReply>> + Send;
}

/// Answers nodes. The same rules as for [`NodeHandler`].
pub trait PeerHandler: Clone + Send + Sync + 'static {
    /// Two nodes meet.
    fn hello(&self, call: Call, from: Hello) -> impl Future<Output = Result<Hello, Fault>> + Send;

    /// Raft.
    fn raft(
        &self,
        call: Call,
        to: Destination,
        request: RaftCall,
    ) -> impl Future<Output = Result<RaftReply, Fault>> + Send;

    /// Between cache nodes.
    fn cache(
        &self,
        call: Call,
        from: CacheFrom,
        request: CacheCall,
    ) -> impl Future<Output = Result<CacheAnswer, Fault>> + Send;
}

/// What serves the planes.
#[derive(Clone)]
pub struct Handlers<N, P> {
    /// Planes `client` and `forward`.
    pub node: N,
    /// Planes `peer` and `bulk`.
    pub peer: P,
}

impl<N, P> fmt::Debug for Handlers<N, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}
