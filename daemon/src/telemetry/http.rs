//! `/metrics`, `/livez` and `/readyz` on `METRICS_ADDR`.

use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Telemetry;
use crate::server::room::{Place, Room};

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 64;
/// A connection is safe from making place for so long: enough to ask and be answered.
const GRACE: Duration = Duration::from_millis(250);
/// Longest life of a connection: a scraper that keeps one simply dials again.
const LIFE_MAX: Duration = Duration::from_secs(60);
/// Longest time that stopping takes.
const STOP_MAX: Duration = Duration::from_secs(1);
/// The content type of the `OpenMetrics` text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Nothing can listen on `METRICS_ADDR`.
#[derive(Debug, thiserror::Error)]
#[error("METRICS_ADDR={address}: cannot listen there: {error}; {fix}")]
pub struct CannotListen {
    /// As configured.
    pub address: String,
    /// The system's words.
    #[source]
    pub error: io::Error,
    /// What to do.
    pub fix: &'static str,
}

/// The server of metrics and health.
///
/// # Limits
/// 64 connections of at most 60 s each; when there are more the oldest makes place, so that silent
/// ones, however many, keep nobody out who asks.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

impl HttpServer {
    /// Listens on `address` and serves in a task of its own.
    ///
    /// # Errors
    /// Nothing can listen there.
    ///
    /// # Cancel safety
    /// Cancel safe: either it serves or nothing listens.
    pub async fn start(address: &str, telemetry: Telemetry) -> Result<Self, CannotListen> {
        let cannot = |error: io::Error| CannotListen {
            address: address.to_owned(),
            fix: fix(error.kind()),
            error,
        };
        let listener = TcpListener::bind(address).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let listener = Limited { listener, room: Room::new(CONNECTIONS_MAX, usize::MAX, GRACE) };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, router(telemetry)).with_graceful_shutdown(async move {
            // An error: the handle was dropped, which stops the server too.
            stopped.await.unwrap_or_default();
        });
        Ok(Self { address, stop, task: tokio::spawn(server.into_future()) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what was asked and ends, within a second.
    ///
    /// # Cancel safety
    /// Once begun it ends by itself; a cancelled call does not wait for it.
    pub async fn stop(self) {
        // An error: the server ended by itself.
        self.stop.send(()).unwrap_or_default();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(STOP_MAX, self.task).await.is_err() {
            abort.abort();
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the list of kinds is open")]
const fn fix(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => "stop what uses that port, or set another one",
        io::ErrorKind::AddrNotAvailable => "name an address of this machine",
        io::ErrorKind::PermissionDenied => "set a port above 1023",
        _ => "set METRICS_ADDR=127.0.0.1:9100, or to nothing for none",
    }
}

fn router(telemetry: Telemetry) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(telemetry)
}

async fn metrics(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.metrics.encode() {
        Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn readyz(State(telemetry): State<Telemetry>) -> Response {
    match telemetry.readiness.reason() {
        None => "ok\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// A listener that makes room for the connections that it hands out.
struct Limited {
    listener: TcpListener,
    room: Arc<Room>,
}

impl axum::serve::Listener for Limited {
    type Io = Mortal;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Mortal, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if self.room.make_place().await {
                        // Its descriptor is free when its task has run.
                        tokio::task::yield_now().await;
                    }
                    if let Ok(place) = self.room.enter(from.ip()) {
                        return (Mortal::new(stream, place), from);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "metrics: accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends after [`LIFE_MAX`], or when it has to make place.
struct Mortal {
    stream: TcpStream,
    /// Nothing once it has come.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Mortal {
    fn new(stream: TcpStream, place: Place) -> Self {
        let end = Box::pin(async move {
            tokio::select! {
                () = place.must_leave() => {}
                () = tokio::time::sleep(LIFE_MAX) => {}
            }
        });
        Self { stream, end: Some(end) }
    }

    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_pending()
        {
            return Ok(());
        }
        self.end = None;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl AsyncRead for Mortal {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Mortal {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
