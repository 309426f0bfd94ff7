//! A greeted connection as tarpc sees it, with what tarpc leaves to its transport.
//!
//! - The other side's end of stream is an *error*: tarpc then drops the handlers of a client that
//!   is gone; on a clean end it would let them run on.
//! - A flush waits for one turn of the scheduler, so that replies which become ready together leave
//!   in one write.
//! - Nothing is read while [`Gate`] says that enough is in flight, or while enough waits to be
//!   written: a client that asks faster than it reads is held back by TCP and not by our memory.
//! - A peer that accepts no byte for [`Pace::write_stall`] or sends no message for
//!   [`Pace::idle`] loses its connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use futures::Sink;
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::codec::{Decoder, Encoder, Framed, FramedParts};

use crate::codec::Inbound;
use crate::net::Stream;

/// Bytes collected before a write.
const BUFFER: usize = 64 * 1024;
/// What a buffer begins with, and grows from when there is more to read or write at once: most
/// connections never need it.
const BUFFER_AT_FIRST: usize = 8 * 1024;

/// How long a connection may make no progress.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Longest time in which the other side accepts no byte.
    pub write_stall: Duration,
    /// Longest time without a message; `None`: for ever.
    pub idle: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { write_stall: Duration::from_secs(10), idle: None }
    }
}

/// Counts requests in flight and stops reading at a limit.
#[derive(Debug)]
pub struct Gate {
    in_flight: AtomicUsize,
    limit: usize,
    closed: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    /// A gate for `limit` requests.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicUsize::new(0),
            limit,
            closed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        })
    }

    /// Counts one more request until the pass is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Pass {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Pass(Arc::clone(self))
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Reads nothing any more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn shut(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.in_flight() >= self.limit
    }

    fn poll_open(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.shut() {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.shut() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// One request in flight.
#[derive(Debug)]
pub struct Pass(Arc<Gate>);

impl Drop for Pass {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        if before >= self.0.limit {
            self.0.waker.wake();
        }
    }
}

/// Counts the scheduler's turns of the task that drives a connection.
#[derive(Debug, Clone, Default)]
pub struct Turns(Arc<AtomicU64>);

impl Turns {
    /// Drives `future`, which holds the connection, and counts its turns.
    pub async fn drive<F: Future>(self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(move |cx| {
            self.0.fetch_add(1, Ordering::Relaxed);
            future.as_mut().poll(cx)
        })
        .await
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A greeted connection. Its task must run under [`Turns::drive`] of the same `turns`.
#[derive(Debug)]
pub struct Transport<C, Out> {
    framed: Framed<Paced, C>,
    gate: Option<Arc<Gate>>,
    turns: Turns,
    flush: Flush,
    answer: Option<Out>,
    idle: Option<Idle>,
    /// Whoever would read, once enough is written.
    held: Option<Waker>,
    ended: bool,
}

/// Where a flush stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flush {
    Clean,
    /// Something was written since.
    Due,
    /// Asked for in this turn: waits for the next.
    Deferred(u64),
    Running,
}

impl<C, Out> Transport<C, Out> {
    /// Wraps a stream; `leftover` was read after the greeting already.
    pub fn new(stream: Stream, leftover: BytesMut, codec: C, pace: Pace, turns: Turns) -> Self
    where
        C: Encoder<Out>,
    {
        let mut parts = FramedParts::new::<Out>(Paced::new(stream, pace.write_stall), codec);
        parts.read_buf = leftover;
        parts.read_buf.reserve(BUFFER_AT_FIRST);
        parts.write_buf.reserve(BUFFER_AT_FIRST);
        let mut framed = Framed::from_parts(parts);
        framed.set_backpressure_boundary(BUFFER);
        Self {
            framed,
            gate: None,
            turns,
            flush: Flush::Clean,
            answer: None,
            idle: pace.idle.map(Idle::new),
            held: None,
            ended: false,
        }
    }

    /// Reads nothing while the gate is shut.
    #[must_use]
    pub fn gated(mut self, gate: Arc<Gate>) -> Self {
        self.gate = Some(gate);
        self
    }
}

// Nothing in it is pinned through it.
impl<C, Out> Unpin for Transport<C, Out> {}

impl<C, In, Out> futures::Stream for Transport<C, Out>
where
    C: Decoder<Item = Inbound<In, Out>, Error = io::Error>
        + Encoder<Out, Error = io::Error>
        + Unpin,
{
    type Item = io::Result<In>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.answer.is_some() {
                ready!(Pin::new(&mut this.framed).poll_ready(cx))?;
                if let Some(answer) = this.answer.take() {
                    Pin::new(&mut this.framed).start_send(answer)?;
                    this.wrote();
                }
            }
            if let Some(gate) = &this.gate {
                ready!(gate.poll_open(cx));
                // Who does not read replies is not read from: else as many again would pile up
                // behind those that wait.
                if this.framed.write_buffer().len() >= BUFFER {
                    this.held = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
            match Pin::new(&mut this.framed).poll_next(cx) {
                Poll::Ready(Some(Ok(Inbound::Answer(answer)))) => this.answer = Some(answer),
                Poll::Ready(Some(Ok(Inbound::Message(message)))) => {
                    if let Some(idle) = &mut this.idle {
                        idle.last = Instant::now();
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                Poll::Ready(None) if !this.ended => {
                    this.ended = true;
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has closed");
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(end) => {
                    this.ended = true;
                    return Poll::Ready(end.and_then(Result::err).map(Err));
                }
                Poll::Pending => {
                    let Some(idle) = &mut this.idle else { return Poll::Pending };
                    ready!(idle.poll(cx));
                    let why = format!("no message for {:?}", idle.limit);
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, why))));
                }
            }
        }
    }
}

impl<C, Out> Transport<C, Out> {
    fn wrote(&mut self) {
        if self.flush == Flush::Clean {
            self.flush = Flush::Due;
        }
    }

    /// After a write, however far it came: there may be room for more replies now.
    fn let_read(&mut self) {
        if self.framed.write_buffer().len() < BUFFER
            && let Some(held) = self.held.take()
        {
            held.wake();
        }
    }
}

impl<C, Out> Sink<Out> for Transport<C, Out>
where
    C: Encoder<Out, Error = io::Error> + Unpin,
{
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = Pin::new(&mut self.framed).poll_ready(cx);
        self.let_read();
        ready
    }

    fn start_send(mut self: Pin<&mut Self>, item: Out) -> io::Result<()> {
        Pin::new(&mut self.framed).start_send(item)?;
        self.wrote();
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.turns.now();
        match self.flush {
            Flush::Clean | Flush::Running => {}
            Flush::Due => {
                self.flush = Flush::Deferred(now);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Flush::Deferred(turn) if turn == now => return Poll::Pending,
            Flush::Deferred(_) => self.flush = Flush::Running,
        }
        let flushed = Pin::new(&mut self.framed).poll_flush(cx);
        self.let_read();
        ready!(flushed)?;
        self.flush = Flush::Clean;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.framed).poll_close(cx)
    }
}

/// Time since the last message.
#[derive(Debug)]
struct Idle {
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(limit: Duration) -> Self {
        let last = Instant::now();
        Self { limit, last, sleep: Box::pin(sleep_until(last + limit)) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let end = self.last + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(end);
        }
    }
}

/// A stream whose writes fail when the other side accepts no byte for a while.
struct Paced {
    stream: Stream,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl std::fmt::Debug for Paced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paced").field("stalled", &self.stalled.is_some()).finish_non_exhaustive()
    }
}

impl Paced {
    fn new(stream: Stream, limit: Duration) -> Self {
        Self { stream, limit, stalled: None }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.limit;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        let why = format!("the peer accepted no byte for {limit:?}");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
