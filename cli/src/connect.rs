//! The one place where a client is made.

use std::sync::Arc;
use std::time::Duration;

use dsync::net::{Net, TcpNetwork};
use dsync::{Client, ClientConfig};

/// The network of this machine, and its clock.
pub(crate) fn network() -> Net {
    Arc::new(TcpNetwork)
}

/// A client of these endpoints; nothing is dialed before the first call. It gives up at once when no
/// endpoint can be reached: someone waits in front of it.
pub(crate) fn client(net: &Net, endpoints: &[String]) -> Client {
    patient(net, endpoints).fail_fast()
}

/// A client that tries on until the time of a call is over.
pub(crate) fn patient(net: &Net, endpoints: &[String]) -> Client {
    let config = ClientConfig {
        endpoints: endpoints.to_vec(),
        connect_timeout: Duration::from_secs(1),
        name: "dsctl".to_owned(),
    };
    Client::new(config, Arc::clone(net))
}
