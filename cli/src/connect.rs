//! The one place where a client is made.

use std::sync::Arc;
use std::time::Duration;

use dsync::net::Net;
use dsync::{Client, ClientConfig};

/// The network of this machine, and its clock.
pub(crate) fn network() -> Net {
    Arc::new(tcp::TcpNetwork)
}

/// A client of these endpoints; nothing is dialed before the first call.
pub(crate) fn client(net: &Net, endpoints: &[String]) -> Client {
    let config = ClientConfig {
        endpoints: endpoints.to_vec(),
        connect_timeout: Duration::from_secs(1),
        name: "dsctl".to_owned(),
    };
    Client::new(config, Arc::clone(net))
}

mod tcp {
    //! Plain TCP, until the library brings its own.

    use std::io;
    use std::time::Duration;

    use dsync::net::{Listener, Network, Stream};

    #[derive(Debug)]
    pub(super) struct TcpNetwork;

    impl Network for TcpNetwork {
        fn connect<'a, 'b, 'c>(
            &'a self,
            address: &'b str,
            timeout: Duration,
        ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'c>>
        where
            'a: 'c,
            'b: 'c,
        {
            Box::pin(async move {
                let dial = tokio::net::TcpStream::connect(address);
                let stream = tokio::time::timeout(timeout, dial).await??;
                stream.set_nodelay(true)?;
                let stream: Stream = Box::new(stream);
                Ok(stream)
            })
        }

        fn listen<'a, 'b, 'c>(
            &'a self,
            _address: &'b str,
        ) -> std::pin::Pin<Box<dyn Future<Output = io::Result<Box<dyn Listener>>> + Send + 'c>>
        where
            'a: 'c,
            'b: 'c,
        {
            Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
        }

        fn boot_time(&self) -> Duration {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            Duration::new(
                u64::try_from(now.tv_sec).unwrap_or(0),
                u32::try_from(now.tv_nsec).unwrap_or(0),
            )
        }
    }
}
