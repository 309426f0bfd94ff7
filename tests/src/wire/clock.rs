//! The real network with a boot clock that a test can put forward.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dsync::net::{Listener, Network, Stream, TcpNetwork};

/// TCP, on a machine that slept for `slept_ms`.
#[derive(Debug, Default)]
pub struct Shifted {
    /// Milliseconds added to the clock.
    pub slept_ms: AtomicU64,
}

#[async_trait]
impl Network for Shifted {
    async fn connect(&self, address: &str, timeout: Duration) -> io::Result<Stream> {
        TcpNetwork.connect(address, timeout).await
    }

    async fn listen(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        TcpNetwork.listen(address).await
    }

    fn boot_time(&self) -> Duration {
        TcpNetwork.boot_time() + Duration::from_millis(self.slept_ms.load(Ordering::SeqCst))
    }
}
