//! A listener whose connections count their writes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use dsync::net::{Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The listener.
pub struct Counting {
    inner: Box<dyn Listener>,
    writes: Arc<AtomicU64>,
}

impl std::fmt::Debug for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counting").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl Counting {
    /// Counts the writes of all connections of that listener.
    pub fn new(inner: Box<dyn Listener>, writes: Arc<AtomicU64>) -> Self {
        Self { inner, writes }
    }
}

#[async_trait]
impl Listener for Counting {
    async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, from) = self.inner.accept().await?;
        Ok((Box::new(Counted { stream, writes: Arc::clone(&self.writes) }), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

struct Counted {
    stream: Stream,
    writes: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if written.is_ready() {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
