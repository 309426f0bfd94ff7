//! Connections to the other cache nodes, one each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync::net::Net;
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom};
use dsync::preamble::Plane;
use dsync::{CallError, PeerConnection};
use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::node::ClusterId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::directory::Hailer;

/// Longest time for one connection attempt.
const DIAL: Duration = Duration::from_millis(500);

/// The way to the other nodes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    net: Net,
    hailer: Hailer,
    node: Name,
    incarnation: u64,
    cluster: watch::Receiver<Option<ClusterId>>,
    connections: Mutex<HashMap<String, PeerConnection>>,
    calls: AtomicU64,
}

impl Peers {
    /// Calls in the name of that run of that node, of that cluster or store.
    pub fn new(
        net: Net,
        hailer: Hailer,
        (node, incarnation): (Name, u64),
        cluster: watch::Receiver<Option<ClusterId>>,
    ) -> Self {
        let connections = Mutex::default();
        let calls = AtomicU64::new(0);
        let shared = Shared { net, hailer, node, incarnation, cluster, connections, calls };
        Self { shared: Arc::new(shared) }
    }

    /// The network, and its clock.
    pub fn net(&self) -> &Net {
        &self.shared.net
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::Relaxed)
    }

    /// The store, once it is known.
    pub fn store(&self) -> Option<ClusterId> {
        *self.shared.cluster.borrow()
    }

    /// Calls the node at that address; `to` is the run of it that is meant, 0 for any.
    ///
    /// # Errors
    /// Unavailable with effect `None` when it was not sent, `Unknown` when the answer got lost; or
    /// what the other node said.
    ///
    /// # Cancel safety
    /// The call may be executed all the same.
    pub async fn call(
        &self,
        address: &str,
        to: u64,
        call: CacheCall,
        until: Instant,
    ) -> Result<CacheAnswer, Fault> {
        let shared = &*self.shared;
        let Some(store) = self.store() else {
            return Err(Fault::unavailable(format!("{} has no store yet", shared.node)));
        };
        let from =
            CacheFrom { node: shared.node.clone(), incarnation: shared.incarnation, store, to };
        shared.calls.fetch_add(1, Ordering::Relaxed);
        let connection = self.connection(address, until).await?;
        let left = until.saturating_duration_since(Instant::now());
        match connection.cache(from, call, left).await {
            Ok(answer) => answer,
            Err(error) => Err(self.failed(address, &error)),
        }
    }

    async fn connection(&self, address: &str, until: Instant) -> Result<PeerConnection, Fault> {
        let shared = &*self.shared;
        let open = shared.connections.lock().get(address).filter(|c| !c.is_closed()).cloned();
        if let Some(open) = open {
            return Ok(open);
        }
        let within = DIAL.min(until.saturating_duration_since(Instant::now()));
        let hail = shared.hailer.hail(Plane::Peer);
        let opening = Box::pin(PeerConnection::open(&shared.net, address, &hail, within));
        let connection = opening.await.map_err(|error| {
            Fault::unavailable(format!("{} cannot reach {address}: {}", shared.node, error.detail))
        })?;
        shared.connections.lock().insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn failed(&self, address: &str, error: &CallError) -> Fault {
        let why = format!("{} asked {address}: {error}", self.shared.node);
        if matches!(error, CallError::NotSent | CallError::Lost(_) | CallError::TimedOut(_)) {
            self.shared.connections.lock().remove(address);
        }
        let code = dsync_core::Code::Unavailable;
        if error.not_executed() {
            Fault::unavailable(why)
        } else {
            Fault { code, ..Fault::unknown(why) }
        }
    }
}
