//! All dialing and listening goes through here, so that a simulated network can stand in.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

mod tcp;

pub use tcp::{TcpNetwork, split_address};

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
    /// # Errors
    /// What the network says. The listener stays usable: pause a little and accept again.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn accept(&self) -> io::Result<(Stream, std::net::SocketAddr)>;
    /// Where it listens.
    ///
    /// # Errors
    /// What the network says.
    fn local_addr(&self) -> io::Result<std::net::SocketAddr>;
}

/// A network and its clock.
#[async_trait]
pub trait Network: Send + Sync + fmt::Debug {
    /// Dials `host:port` within `timeout`.
    ///
    /// # Errors
    /// The kind tells what happened: `InvalidInput` (not `host:port`), `ConnectionRefused`,
    /// `TimedOut`, `HostUnreachable`, `NetworkUnreachable`, `ConnectionReset`. A name that does not
    /// resolve is an error of any kind whose source is [`NameError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing stays open.
    async fn connect(&self, address: &str, timeout: Duration) -> io::Result<Stream>;
    /// Listens on `host:port`.
    ///
    /// # Errors
    /// As of [`Network::connect`], and `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`.
    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>>;
    /// A clock that also runs while the machine sleeps (CLOCK_BOOTTIME); leases are counted on it.
    fn boot_time(&self) -> Duration;
}

/// A shared network.
pub type Net = Arc<dyn Network>;

/// A host name that does not resolve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host:?} does not resolve: {why}")]
pub struct NameError {
    /// The name.
    pub host: String,
    /// What the resolver said.
    pub why: String,
}
