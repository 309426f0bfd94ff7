//! All dialing and listening goes through here, so that a simulated network can stand in.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, of whatever network.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection.
pub type Stream = Box<dyn Io>;

/// A listener, of whatever network.
#[async_trait]
pub trait Listener: Send + Sync {
    /// The next connection and who made it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn accept(&self) -> io::Result<(Stream, std::net::SocketAddr)>;
    /// Where it listens.
    fn local_addr(&self) -> io::Result<std::net::SocketAddr>;
}

/// A network and its clock.
#[async_trait]
pub trait Network: Send + Sync + fmt::Debug {
    /// Dials `host:port` within `timeout`.
    async fn connect(&self, address: &str, timeout: Duration) -> io::Result<Stream>;
    /// Listens on `host:port`.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
    /// A clock that also runs while the machine sleeps (CLOCK_BOOTTIME); leases are counted on it.
    fn boot_time(&self) -> Duration;
}

/// A shared network.
pub type Net = Arc<dyn Network>;
