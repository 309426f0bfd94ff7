//! One connection to one node: dialed, greeted, and ready for calls.
//!
//! [`Client`](crate::Client) is what most programs want; this is the layer below, which the nodes
//! use among themselves.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::Fault;
use dsync_core::node::Hello;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::client::{Config, NewClient, RequestDispatch, RpcError};
use tarpc::{ClientMessage, Response};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    NodeClient, QueueReply, QueueRequest,
};
use crate::codec::{ClientCodec, FRAME_MAX_CLIENT, FRAME_MAX_PEER};
use crate::dial::{ConnectError, Greeted, dial, whole_ms};
use crate::net::Net;
use crate::peer::{
    CacheAnswer, CacheCall, CacheFrom, Destination, PeerClient, RaftCall, RaftReply,
};
use crate::preamble::{Greeting, Hail, Plane};
use crate::transport::{Pace, Transport, Turns};

/// Requests in flight on one client connection; more wait for their turn.
pub const IN_FLIGHT_CLIENT: usize = 128;
/// The same between nodes.
pub const IN_FLIGHT_PEER: usize = 4_096;
/// What a deadline on the wire is longer than the caller's own timer. The caller's timer, which is
/// tokio's, decides; the deadline, which tarpc counts on std's clock, only reaps what is left when
/// its cancellation got lost and the connection did not break.
pub const DEADLINE_SLACK: Duration = Duration::from_secs(60);
/// Deadlines on the wire are whole steps of this (beside the slack), rounded up, and the way between
/// two nodes takes a moment off: the receiver rounds up again, and has what was meant, however long
/// a busy machine let either of them wait. So a run that is repeated has the same timers.
pub const DEADLINE_STEP: Duration = Duration::from_millis(100);

/// Why a call got no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection was closed before: not executed.
    #[error("the connection was closed before the request was sent")]
    NotSent,
    /// The request is larger than a frame may be: not executed, and never will be.
    #[error("{0}")]
    TooLarge(String),
    /// The other side does not know such a request: not executed, and never will be by that node.
    #[error("{0}")]
    Unreadable(String),
    /// The connection broke: the request may have been executed.
    #[error("the connection broke before the reply came: {0}")]
    Lost(String),
    /// No reply in time: the request may have been executed.
    #[error("no reply within {}", whole_ms(*.0))]
    TimedOut(Duration),
}

impl CallError {
    /// True when the request was certainly not executed.
    pub const fn not_executed(&self) -> bool {
        matches!(self, Self::NotSent | Self::TooLarge(_) | Self::Unreadable(_))
    }
}

/// A connection to a node; clones share it. It closes when the last clone is dropped.
#[derive(Clone)]
pub struct Connection<C> {
    stub: C,
    shared: Arc<Shared>,
}

/// A connection for requests of clients.
pub type NodeConnection = Connection<NodeClient>;
/// A connection for Raft and greetings.
pub type PeerConnection = Connection<PeerClient>;

struct Shared {
    address: String,
    greeting: Greeting,
    closed: CancellationToken,
}

impl<C> fmt::Debug for Connection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.shared.address)
            .field("node", &self.shared.greeting.id)
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl<C> Connection<C> {
    /// What the node said of itself.
    pub fn greeting(&self) -> &Greeting {
        &self.shared.greeting
    }

    /// The address that was dialed.
    pub fn address(&self) -> &str {
        &self.shared.address
    }

    /// True once it broke or the node closed it: every further call fails with `NotSent`.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.is_cancelled()
    }

    /// Waits until it is closed.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    async fn call<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, RpcError>>,
    ) -> Result<T, CallError> {
        if self.is_closed() {
            return Err(CallError::NotSent);
        }
        match timeout(limit, call).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(call_error(error, limit)),
            Err(_) => Err(CallError::TimedOut(limit)),
        }
    }
}

fn call_error(error: RpcError, limit: Duration) -> CallError {
    match error {
        RpcError::Send(source) => CallError::TooLarge(source.to_string()),
        RpcError::Server(refused) => CallError::Unreadable(refused.detail),
        RpcError::DeadlineExceeded => CallError::TimedOut(limit),
        RpcError::Shutdown => CallError::Lost("it was closed".to_owned()),
        RpcError::Channel(source) => {
            let why = std::error::Error::source(&source)
                .map_or_else(|| source.to_string(), ToString::to_string);
            CallError::Lost(why)
        }
    }
}

impl NodeConnection {
    /// Dials a node for requests of clients. `hail.plane` is `Client` or `Forward`.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent but the greeting.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing stays open.
    pub async fn open(
        net: &Net,
        address: &str,
        hail: &Hail,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let greeted = dial(net, address, hail, limit).await?;
        Ok(start(address, greeted, hail.plane, NodeClient::new))
    }

    /// Calls the lock service.
    ///
    /// # Errors
    /// [`CallError`]; a failure of the request itself is in the answer.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request at the node; it may have been executed.
    pub async fn lock(
        &self,
        head: Head,
        request: LockRequest,
        limit: Duration,
    ) -> Result<Answer<LockReply>, CallError> {
        self.call(limit, self.stub.lock(context(limit), head, request)).await
    }

    /// Asks about nodes.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn admin(
        &self,
        head: Head,
        request: AdminRequest,
        limit: Duration,
    ) -> Result<Answer<AdminReply>, CallError> {
        self.call(limit, self.stub.admin(context(limit), head, request)).await
    }

    /// Calls the queue service.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn queue(
        &self,
        head: Head,
        request: QueueRequest,
        limit: Duration,
    ) -> Result<Answer<QueueReply>, CallError> {
        self.call(limit, self.stub.queue(context(limit), head, request)).await
    }

    /// Calls the cache service.
    ///
    /// # Errors
    /// As of [`Self::lock`].
    ///
    /// # Cancel safety
    /// As of [`Self::lock`].
    pub async fn cache(
        &self,
        head: Head,
        request: CacheRequest,
        limit: Duration,
    ) -> Result<Answer<CacheReply>, CallError> {
        self.call(limit, self.stub.cache(context(limit), head, request)).await
    }
}

impl PeerConnection {
    /// Dials a node for Raft and greetings. `hail.plane` is `Peer` or `Bulk`.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing was sent but the greeting.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing stays open.
    pub async fn open(
        net: &Net,
        address: &str,
        hail: &Hail,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let greeted = dial(net, address, hail, limit).await?;
        Ok(start(address, greeted, hail.plane, PeerClient::new))
    }

    /// Two nodes meet.
    ///
    /// # Errors
    /// [`CallError`]; the inner [`Fault`] is the other node's own.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn hello(
        &self,
        from: Hello,
        limit: Duration,
    ) -> Result<Result<Hello, Fault>, CallError> {
        self.call(limit, self.stub.hello(context(limit), from)).await
    }

    /// One call of Raft.
    ///
    /// # Errors
    /// [`CallError`]; the inner [`Fault`] is the other node's own.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the node; it may have been executed.
    pub async fn raft(
        &self,
        to: Destination,
        call: RaftCall,
        limit: Duration,
    ) -> Result<Result<RaftReply, Fault>, CallError> {
        self.call(limit, self.stub.raft(context(limit), to, call)).await
    }

    /// One call between cache nodes.
    ///
    /// # Errors
    /// [`CallError`]; the inner [`Fault`] is the other node's own.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the node; it may have been executed.
    pub async fn cache(
        &self,
        from: CacheFrom,
        call: CacheCall,
        limit: Duration,
    ) -> Result<Result<CacheAnswer, Fault>, CallError> {
        self.call(limit, self.stub.cache(context(limit), from, call)).await
    }
}

/// What tarpc generates per service: a stub and the future that drives its connection.
type Start<C, Req, Resp, T> = fn(Config, T) -> NewClient<C, RequestDispatch<Req, Resp, T>>;
type Wire<Req, Resp> = Transport<ClientCodec<Req, Resp>, ClientMessage<Req>>;

fn start<C, Req, Resp>(
    address: &str,
    greeted: Greeted,
    plane: Plane,
    new: Start<C, Req, Resp, Wire<Req, Resp>>,
) -> Connection<C>
where
    C: Send,
    Req: Serialize + Send + 'static,
    Resp: DeserializeOwned + Send + 'static,
    Wire<Req, Resp>:
        tarpc::Transport<ClientMessage<Req>, Response<Resp>, TransportError = std::io::Error>,
{
    let (frame_max, in_flight) = match plane {
        Plane::Client => (FRAME_MAX_CLIENT, IN_FLIGHT_CLIENT),
        Plane::Peer | Plane::Bulk | Plane::Forward => (FRAME_MAX_PEER, IN_FLIGHT_PEER),
    };
    let turns = Turns::default();
    let codec = ClientCodec::new(frame_max);
    let Greeted { stream, leftover, greeting } = greeted;
    let wire = Transport::new(stream, leftover, codec, Pace::default(), turns.clone());
    let mut config = Config::default();
    config.max_in_flight_requests = in_flight;
    config.pending_request_buffer = in_flight;
    let NewClient { client: stub, dispatch } = new(config, wire);
    let closed = CancellationToken::new();
    let shared = Arc::new(Shared { address: address.to_owned(), greeting, closed: closed.clone() });
    let to = shared.address.clone();
    tokio::spawn(async move {
        let ended = turns.drive(dispatch).await;
        closed.cancel();
        if let Err(error) = ended {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(address = %to, why = ?why, "connection ended");
        }
    });
    Connection { stub, shared }
}

/// tarpc's context with a deadline `limit` (and some slack) from now.
#[expect(clippy::disallowed_types, reason = "tarpc counts its deadlines on std's clock")]
fn context(limit: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    let limit = limit.min(Duration::from_secs(crate::codec::DEADLINE_MAX_S));
    context.deadline = std::time::Instant::now() + whole_steps(limit) + DEADLINE_SLACK;
    context
}

/// The time in whole [`DEADLINE_STEP`]s, rounded up.
pub fn whole_steps(time: Duration) -> Duration {
    let steps = time.as_nanos().div_ceil(DEADLINE_STEP.as_nanos());
    DEADLINE_STEP * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_comes_back_whole_when_the_way_took_less_than_a_step() {
        for limit in [1, 99, 100, 101, 2_985, 3_000].map(Duration::from_millis) {
            let sent = whole_steps(limit);
            assert!(sent >= limit && sent < limit + DEADLINE_STEP);
            let late = DEADLINE_STEP.saturating_sub(Duration::from_nanos(1));
            assert_eq!(whole_steps(sent.saturating_sub(late)), sent);
            assert_eq!(whole_steps(sent), sent);
        }
        assert_eq!(whole_steps(Duration::ZERO), Duration::ZERO);
    }
}
