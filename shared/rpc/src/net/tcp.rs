//! The real network: TCP and the clocks of this machine.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::dial::whole_ms;

use super::{Listener, NameError, Network, Stream};

/// Connections that the kernel greets before we do.
const BACKLOG: u32 = 4_096;
/// Silence after which the kernel asks the other side whether it is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
/// Time between two such questions.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
/// Questions without an answer after which the connection is dead.
const KEEPALIVE_TRIES: u32 = 3;
/// Time that sent bytes may stay unacknowledged before the connection is dead.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

/// TCP, with the socket options that a lock service needs.
///
/// Small messages leave at once (`TCP_NODELAY`), and a peer that vanished without a word is noticed
/// within 25 s (keepalive, TCP_USER_TIMEOUT).
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpNetwork;

#[async_trait]
impl Network for TcpNetwork {
    async fn connect(&self, address: &str, limit: Duration) -> io::Result<Stream> {
        let started = Instant::now();
        let late = || {
            let why = format!("no answer within {}", whole_ms(limit));
            io::Error::new(io::ErrorKind::TimedOut, why)
        };
        let found = timeout(limit, resolve(address)).await.map_err(|_| late())??;
        let mut last = late();
        let count = found.len();
        for (i, addr) in found.into_iter().enumerate() {
            let left = limit.saturating_sub(started.elapsed());
            // A name with several addresses: each gets its share, so that one dead address does not
            // use up the time of the others.
            let share = left / u32::try_from(count - i).unwrap_or(u32::MAX);
            match timeout(share, TcpStream::connect(addr)).await {
                Ok(Ok(stream)) => {
                    tune(&stream);
                    return Ok(Box::new(stream));
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = late(),
            }
        }
        Err(last)
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for addr in resolve(address).await? {
            match bind(addr) {
                Ok(listener) => return Ok(Box::new(Tcp(listener))),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn boot_time(&self) -> Duration {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(
            u64::try_from(t.tv_sec).unwrap_or_default(),
            u32::try_from(t.tv_nsec).unwrap_or_default(),
        )
    }
}

struct Tcp(TcpListener);

#[async_trait]
impl Listener for Tcp {
    async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        tune(&stream);
        Ok((Box::new(stream), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Sets the options. A connection that is gone already refuses them; its first use will tell.
fn tune(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let alive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY)
        .with_retries(KEEPALIVE_TRIES);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_keepalive(&alive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options refused");
    }
}

/// Splits `host:port` or `[v6]:port`; the host comes without brackets.
///
/// # Errors
/// `InvalidInput` with the rule that was broken.
pub fn split_address(address: &str) -> io::Result<(&str, u16)> {
    let bad = |why: &str| {
        let text: String = address.chars().take(64).collect();
        io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?} {why}"))
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(|| bad("has no :port"))?;
    let port: u16 = port.parse().map_err(|_| bad("has a port that is not 1 to 65535"))?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match bracketed {
        Some(inner) => inner,
        None if host.contains(':') => return Err(bad("is IPv6 without [brackets]")),
        None => host,
    };
    if host.is_empty() {
        return Err(bad("has no host"));
    }
    Ok((host, port))
}

async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let (host, port) = split_address(address)?;
    let failed = |why: String| {
        io::Error::new(io::ErrorKind::NotFound, NameError { host: host.to_owned(), why })
    };
    let found: Vec<SocketAddr> =
        lookup_host((host, port)).await.map_err(|e| failed(e.to_string()))?.collect();
    if found.is_empty() { Err(failed("no address".to_owned())) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(split_address("a:1").unwrap(), ("a", 1));
        assert_eq!(split_address("[::1]:65535").unwrap(), ("::1", 65535));
        for bad in ["", "a", "a:", ":1", "a:65536", "a:-1", "::1:80", "[]:1", "a:1x"] {
            assert_eq!(
                split_address(bad).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn what_a_dial_says() {
        let net = TcpNetwork;
        let listener = net.listen("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (dialed, accepted) =
            tokio::join!(net.connect(&addr, Duration::from_secs(5)), listener.accept());
        assert!(dialed.is_ok() && accepted.is_ok());
        drop(listener);
        let refused = net.connect(&addr, Duration::from_secs(5)).await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let name = net.connect("no-such-host.invalid:1", Duration::from_secs(20)).await.err();
        assert!(name.unwrap().get_ref().unwrap().is::<NameError>());
    }

    #[test]
    fn boot_time_runs() {
        let first = TcpNetwork.boot_time();
        assert!(first > Duration::ZERO);
        assert!(TcpNetwork.boot_time() >= first);
    }
}
