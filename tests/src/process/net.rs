//! Plain TCP, for clients inside a test.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use dsync::net::{Listener, Network, Stream};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::{TcpListener, TcpStream};

/// The loopback network.
#[derive(Debug)]
pub(super) struct Loopback;

#[async_trait]
impl Network for Loopback {
    async fn connect(&self, address: &str, timeout: Duration) -> io::Result<Stream> {
        let stream = tokio::time::timeout(timeout, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Bound(TcpListener::bind(address).await?)))
    }

    fn boot_time(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}

#[derive(Debug)]
struct Bound(TcpListener);

#[async_trait]
impl Listener for Bound {
    async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}
