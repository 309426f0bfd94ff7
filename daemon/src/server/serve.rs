//! Serves one greeted connection until it ends.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use dsync::api::{Answer, NodeRequest, NodeResponse};
use dsync::codec::{Reply, ServerCodec};
use dsync::connection::{DEADLINE_SLACK, whole_steps};
use dsync::net::Stream;
use dsync::peer::{PeerRequest, PeerResponse};
use dsync::transport::{Gate, Pace, Transport, Turns};
use dsync_core::{Code, Effect, Fault};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use tarpc::server::{BaseChannel, Channel, Config, Requests, Serve};
use tarpc::{ChannelError, RequestName, Response, ServerError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counters::{Counters, Gauge, count};
use super::greeting::Identity;
use super::handler::{Call, Caller, NodeHandler, PeerHandler};

/// A connection after its greeting.
pub(super) struct Link {
    pub(super) stream: Stream,
    pub(super) leftover: BytesMut,
    pub(super) pace: Pace,
}

/// What a connection may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) frame_max: usize,
    pub(super) in_flight: usize,
    pub(super) drain: Duration,
}

/// Serves requests until the connection ends, or `stop` and then the last reply.
///
/// # Errors
/// Why it ended: `UnexpectedEof` (the peer closed), `InvalidData` (a frame that does not decode),
/// `TimedOut` (idle or stalled), others as the network says.
pub(super) async fn serve<S>(
    link: Link,
    service: S,
    room: Room,
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: Serve + Clone,
    S::Req: DeserializeOwned + RequestName,
    S::Resp: Reply,
{
    let turns = Turns::default();
    let gate = Gate::new(room.in_flight);
    let codec = ServerCodec::<S::Req, S::Resp>::new(room.frame_max);
    let wire = Transport::new(link.stream, link.leftover, codec, link.pace, turns.clone())
        .gated(Arc::clone(&gate));
    // Never full: there is room for a reply of each request in flight.
    let config = Config { pending_response_buffer: room.in_flight };
    let channel = BaseChannel::new(config, wire);
    turns.drive(run(channel, service, gate, room.drain, stop)).await
}

type Wire<Req, Resp> = BaseChannel<Req, Resp, Transport<ServerCodec<Req, Resp>, Response<Resp>>>;

async fn run<S>(
    channel: Wire<S::Req, S::Resp>,
    service: S,
    gate: Arc<Gate>,
    drain: Duration,
    stop: &CancellationToken,
) -> io::Result<()>
where
    S: Serve + Clone,
    S::Req: DeserializeOwned + RequestName,
    S::Resp: Reply,
{
    let mut requests = pin!(channel.requests());
    let mut running = FuturesUnordered::new();
    let mut stopped = pin!(stop.cancelled());
    loop {
        tokio::select! {
            biased;
            next = requests.next() => match next {
                Some(Ok(request)) => {
                    let (pass, service) = (gate.enter(), service.clone());
                    running.push(async move {
                        request.execute(service).await;
                        drop(pass);
                    });
                }
                Some(Err(error)) => return Err(into_io(error)),
                None => return Ok(()),
            },
            Some(()) = running.next(), if !running.is_empty() => {}
            () = &mut stopped => break,
        }
    }
    gate.close();
    let last = async {
        poll_fn(|cx| finish(&mut requests, &mut running, cx)).await?;
        requests.as_mut().channel_pin_mut().close().await.map_err(into_io)
    };
    // Out of time: what is still running is dropped.
    tokio::time::timeout(drain, last).await.unwrap_or(Ok(()))
}

/// Ready when every request in flight has been answered, or the connection has ended.
fn finish<Req, Resp, F>(
    requests: &mut Pin<&mut Requests<Wire<Req, Resp>>>,
    running: &mut FuturesUnordered<F>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    Req: DeserializeOwned,
    Resp: Reply,
    F: Future<Output = ()>,
{
    while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
    // Nothing is read any more; this sends the replies.
    match requests.poll_next_unpin(cx) {
        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(into_io(error))),
        Poll::Ready(None) => return Poll::Ready(Ok(())),
        Poll::Ready(Some(Ok(_))) => cx.waker().wake_by_ref(),
        Poll::Pending => {}
    }
    let done = running.is_empty() && requests.channel().in_flight_requests() == 0;
    if done { Poll::Ready(Ok(())) } else { Poll::Pending }
}

fn into_io(error: ChannelError<io::Error>) -> io::Error {
    let (ChannelError::Read(source)
    | ChannelError::Ready(source)
    | ChannelError::Write(source)
    | ChannelError::Flush(source)
    | ChannelError::Close(source)) = error;
    io::Error::new(source.kind(), source.to_string())
}

/// What the requests of one connection share.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) caller: Arc<Caller>,
    pub(super) identity: Arc<Identity>,
    pub(super) counters: Arc<Counters>,
}

impl Scope {
    #[expect(clippy::disallowed_types, reason = "tarpc counts its deadlines on std's clock")]
    fn call(&self, context: &tarpc::context::Context) -> Call {
        let left = context.deadline.saturating_duration_since(std::time::Instant::now());
        Call { caller: Arc::clone(&self.caller), deadline: Instant::now() + time_asked_for(left) }
    }

    /// Runs a handler: counts it, and answers for it when it panics.
    async fn guard<T>(
        &self,
        what: &str,
        request_id: Option<u128>,
        handler: impl Future<Output = T>,
        failed: impl FnOnce(Fault) -> T,
    ) -> T {
        count(&self.counters.requests);
        let _in_flight = Gauge::up(&self.counters.in_flight);
        let mut dropped = CountDrop { counters: &self.counters, armed: true };
        let result = AssertUnwindSafe(handler).catch_unwind().await;
        dropped.armed = false;
        result.unwrap_or_else(|panic| {
            count(&self.counters.panics);
            let request = request_id.map(|id| format!("{id:032x}"));
            let why = panic_text(&*panic);
            tracing::error!(
                what,
                request,
                caller = %self.caller.id,
                connection = self.caller.connection,
                "a handler panicked: {why}"
            );
            failed(panic_fault(what, request.as_deref()))
        })
    }

    fn answer<T>(&self, fault: Fault) -> Answer<T> {
        Answer {
            served_by: self.identity.node.clone(),
            address: self.identity.address.clone(),
            result: Err(fault),
        }
    }
}

/// What a caller's own timer said, from the time left on the wire. The way took a moment off, which
/// is put back: how long it was must not decide anything in a run that is repeated.
fn time_asked_for(left: Duration) -> Duration {
    // Another client than ours may ask for less than the slack.
    whole_steps(left.checked_sub(DEADLINE_SLACK).unwrap_or(left))
}

fn panic_fault(what: &str, request: Option<&str>) -> Fault {
    let name = request.map(|id| format!(" (request {id})")).unwrap_or_default();
    Fault {
        effect: Effect::Unknown,
        ..Fault::new(Code::Internal, format!("the node failed while it served {what}{name}"))
            .hint("this is a fault of dsync; the node's log has the details")
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Counts a handler that is dropped before it has answered.
struct CountDrop<'a> {
    counters: &'a Counters,
    armed: bool,
}

impl Drop for CountDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            count(&self.counters.dropped);
        }
    }
}

/// The client plane.
#[derive(Clone)]
pub(super) struct NodeService<N> {
    pub(super) handler: N,
    pub(super) scope: Scope,
}

impl<N: NodeHandler> Serve for NodeService<N> {
    type Req = NodeRequest;
    type Resp = NodeResponse;

    async fn serve(
        self,
        context: tarpc::context::Context,
        request: NodeRequest,
    ) -> Result<NodeResponse, ServerError> {
        let Self { handler, scope } = &self;
        let call = scope.call(&context);
        Ok(match request {
            NodeRequest::Lock { head, request } => {
                let id = Some(head.request_id);
                let handled = handler.lock(call, head, request);
                let failed = |fault| scope.answer(fault);
                NodeResponse::Lock(scope.guard("lock", id, handled, failed).await)
            }
            NodeRequest::Admin { head, request } => {
                let id = Some(head.request_id);
                let handled = handler.admin(call, head, request);
                let failed = |fault| scope.answer(fault);
                NodeResponse::Admin(scope.guard("admin", id, handled, failed).await)
            }
            NodeRequest::Queue { head, request } => {
                let id = Some(head.request_id);
                let handled = handler.queue(call, head, request);
                let failed = |fault| scope.answer(fault);
                NodeResponse::Queue(scope.guard("queue", id, handled, failed).await)
            }
            NodeRequest::Cache { head, request } => {
                let id = Some(head.request_id);
                let handled = handler.cache(call, head, request);
                let failed = |fault| scope.answer(fault);
                NodeResponse::Cache(scope.guard("cache", id, handled, failed).await)
            }
        })
    }
}

/// The peer plane.
#[derive(Clone)]
pub(super) struct PeerService<P> {
    pub(super) handler: P,
    pub(super) scope: Scope,
}

impl<P: PeerHandler> Serve for PeerService<P> {
    type Req = PeerRequest;
    type Resp = PeerResponse;

    async fn serve(
        self,
        context: tarpc::context::Context,
        request: PeerRequest,
    ) -> Result<PeerResponse, ServerError> {
        let Self { handler, scope } = &self;
        let call = scope.call(&context);
        Ok(match request {
            PeerRequest::Hello { from } => {
                let handled = handler.hello(call, from);
                PeerResponse::Hello(scope.guard("hello", None, handled, Err).await)
            }
            PeerRequest::Raft { to, call: request } => {
                let handled = handler.raft(call, to, request);
                PeerResponse::Raft(scope.guard("raft", None, handled, Err).await)
            }
            PeerRequest::Cache { from, call: request } => {
                let handled = handler.cache(call, from, request);
                PeerResponse::Cache(scope.guard("cache", None, handled, Err).await)
            }
        })
    }
}
