//! The product's network over turmoil's.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use dsync::net::{Listener, Network, Stream, split_address};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::trace::Trace;

/// What a host's clock shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// When the simulation begins.
    begins: Duration,
    /// Its rate, in thousandths of the right one.
    rate: u32,
}

impl Default for Clock {
    fn default() -> Self {
        Self { begins: Duration::ZERO, rate: 1_000 }
    }
}

impl Clock {
    /// One of its own for each number: nothing may rest on two clocks that show the same, and rates
    /// may differ by less than 5 %.
    pub(super) fn of(number: u64) -> Self {
        let rate = match number % 3 {
            0 => 980,
            1 => 1_020,
            _ => 1_000,
        };
        Self { begins: Duration::from_secs(5_000 * (number + 1)), rate }
    }
}

/// One host's network. Host names are turmoil's.
#[derive(Debug, Clone)]
pub struct SimNetwork {
    host: String,
    trace: Trace,
    clock: Clock,
}

impl SimNetwork {
    /// The network of `host`; what it dials and sends is written to `trace`.
    pub fn new(host: &str, trace: Trace) -> Self {
        Self { host: host.to_owned(), trace, clock: Clock::default() }
    }

    /// The same, where the host's clock shows that.
    pub(super) fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

#[async_trait]
impl Network for SimNetwork {
    async fn connect(&self, address: &str, timeout: Duration) -> io::Result<Stream> {
        let (host, port) = split_address(address)?;
        // Nothing is sent again in the simulation: a greeting that is lost is never answered.
        let dialed = tokio::time::timeout(timeout, TcpStream::connect((host, port))).await;
        let dialed = dialed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let how = dialed.as_ref().map_or_else(|e| e.kind().to_string(), |_| "connected".to_owned());
        self.trace.add(&format!("{} dials {address}: {how}", self.host));
        let label = format!("{} to {address}", self.host);
        Ok(Box::new(Traced { inner: dialed?, label, trace: self.trace.clone() }))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let (_, port) = split_address(address)?;
        let inner = TcpListener::bind(("0.0.0.0", port)).await?;
        Ok(Box::new(SimListener { inner, host: self.host.clone(), trace: self.trace.clone() }))
    }

    fn boot_time(&self) -> Duration {
        let Clock { begins, rate } = self.clock;
        begins + turmoil::sim_elapsed().unwrap_or_default() * rate / 1_000
    }
}

struct SimListener {
    inner: TcpListener,
    host: String,
    trace: Trace,
}

#[async_trait]
impl Listener for SimListener {
    async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (inner, from) = self.inner.accept().await?;
        let label = format!("{} to {from}", self.host);
        Ok((Box::new(Traced { inner, label, trace: self.trace.clone() }), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A stream that notes every write: any difference between two runs shows here. Not its size:
/// tarpc puts a random span id into every call, whose encoding varies by a byte.
///
/// Its task gets one more turn after every read and write. tarpc keeps deadlines that it counts on
/// std's clock, and wakes the task when a new one comes before an older one: whether it does hangs on
/// a millisecond of real time, and would change the order of tasks. Awake anyway, it changes nothing.
#[derive(Debug)]
struct Traced {
    inner: TcpStream,
    label: String,
    trace: Trace,
}

impl AsyncRead for Traced {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.get_mut().inner).poll_read(cx, buf);
        if read.is_ready() {
            cx.waker().wake_by_ref();
        }
        read
    }
}

impl AsyncWrite for Traced {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let sent = ready!(Pin::new(&mut this.inner).poll_write(cx, buf));
        cx.waker().wake_by_ref();
        if sent.is_ok() {
            this.trace.add(&format!("{}: bytes", this.label));
        }
        Poll::Ready(sent)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn talk(seed: u64) -> Vec<String> {
        let trace = Trace::default();
        let mut sim = turmoil::Builder::new().rng_seed(seed).build();
        let server = SimNetwork::new("server", trace.clone());
        sim.host("server", move || {
            let net = server.clone();
            async move {
                let listener = net.listen("server:7000").await?;
                loop {
                    let (mut stream, _) = listener.accept().await?;
                    tokio::spawn(async move {
                        let mut buffer = [0; 64];
                        while let Ok(count) = stream.read(&mut buffer).await {
                            if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        });
        let net = SimNetwork::new("client", trace.clone());
        sim.client("client", async move {
            let second = Duration::from_secs(1);
            let mut stream = net.connect("server:7000", second).await?;
            for word in ["one", "three"] {
                stream.write_all(word.as_bytes()).await?;
                let mut answer = vec![0; word.len()];
                stream.read_exact(&mut answer).await?;
                assert_eq!(answer, word.as_bytes());
            }
            let refused = net.connect("server:7001", second).await.map(|_| ());
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            let begin = net.boot_time();
            tokio::time::sleep(second).await;
            assert!(net.boot_time() >= begin + second);
            Ok(())
        });
        sim.run().unwrap();
        trace.lines()
    }

    #[test]
    fn bytes_pass_and_one_seed_gives_one_trace() {
        let trace = talk(1);
        assert!(trace.len() >= 6, "{trace:?}");
        assert_eq!(trace, talk(1));
        assert_ne!(trace, talk(2), "latencies come from the seed");
    }
}
