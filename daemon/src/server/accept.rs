//! The accept loop.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use dsync::net::{Listener, Stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::connect::connect;
use super::counters::{Counters, count};
use super::greeting::Identity;
use super::handler::{Handlers, NodeHandler, PeerHandler};
use super::limits::Limits;
use super::room::{Place, Room};

/// A server on one listener.
pub struct Server {
    /// Where connections come from.
    pub listener: Box<dyn Listener>,
    /// What the node says of itself.
    pub identity: Identity,
    /// Limits.
    pub limits: Limits,
    /// Counts, for metrics.
    pub counters: Arc<Counters>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Seats of those that have greeted. Clients, however many, leave those of nodes alone: a cluster
/// whose nodes cannot reach each other has no leader.
#[derive(Debug)]
pub(super) struct Seats {
    pub(super) clients: Arc<Semaphore>,
    pub(super) nodes: Arc<Semaphore>,
}

/// What every connection of a server shares.
pub(super) struct Shared<N, P> {
    pub(super) identity: Arc<Identity>,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) handlers: Handlers<N, P>,
    pub(super) room: Arc<Room>,
    pub(super) seats: Seats,
    /// A stop was asked for.
    pub(super) stop: CancellationToken,
    /// Its time is over.
    pub(super) kill: CancellationToken,
}

impl Server {
    /// Serves until `stop` is cancelled, then lets the requests in flight finish within
    /// [`Limits::drain`], closes every connection and returns.
    ///
    /// # Cancel safety
    /// Dropping the future ends every connection at once.
    pub async fn run<N: NodeHandler, P: PeerHandler>(
        self,
        handlers: Handlers<N, P>,
        stop: CancellationToken,
    ) {
        warn_of(&self.identity);
        let limits = self.limits;
        let kill = CancellationToken::new();
        let _killed_on_drop = kill.clone().drop_guard();
        let room =
            Room::new(limits.ungreeted, limits.ungreeted_per_address, limits.ungreeted_grace);
        let shared = Arc::new(Shared {
            identity: Arc::new(self.identity),
            limits,
            counters: self.counters,
            handlers,
            room,
            seats: Seats {
                clients: Arc::new(Semaphore::new(limits.clients)),
                nodes: Arc::new(Semaphore::new(limits.nodes)),
            },
            stop: stop.clone(),
            kill,
        });
        let tasks = TaskTracker::new();
        tokio::select! {
            () = accept(self.listener, &shared, &tasks) => {}
            () = stop.cancelled() => {}
        }
        tasks.close();
        // Each connection keeps to the same limit itself; this is for one that cannot.
        let limit = limits.drain + limits.ungreeted_grace + limits.accept_pause;
        if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "connections cut off: they did not end in time");
        }
    }
}

fn warn_of(identity: &Identity) {
    if let Err(error) = identity.check() {
        tracing::error!(%error, "this node can greet nobody: choose a shorter NODE_ID");
    }
}

async fn accept<N: NodeHandler, P: PeerHandler>(
    listener: Box<dyn Listener>,
    shared: &Arc<Shared<N, P>>,
    tasks: &TaskTracker,
) {
    let mut number = 0_u64;
    let mut failing = false;
    loop {
        let accepted = listener.accept().await;
        note(&mut failing, &accepted);
        let Ok((stream, from)) = accepted else {
            count(&shared.counters.accept_errors);
            tokio::time::sleep(shared.limits.accept_pause).await;
            continue;
        };
        count(&shared.counters.accepted);
        let Some(place) = find_place(shared, from).await else { continue };
        number += 1;
        let (shared, connection) = (Arc::clone(shared), number);
        let connecting = async move {
            tokio::select! {
                () = connect(&shared, stream, from, place, connection) => {}
                () = shared.kill.cancelled() => {}
            }
        };
        tasks.spawn(connecting.in_current_span());
    }
}

/// Logs the first of a row of failures, and its end.
fn note(failing: &mut bool, accepted: &io::Result<(Stream, SocketAddr)>) {
    match accepted {
        Err(error) if !*failing => tracing::warn!(%error, "cannot accept connections; trying on"),
        Ok(_) if *failing => tracing::info!("accepting connections again"),
        _ => {}
    }
    *failing = accepted.is_err();
}

async fn find_place<N, P>(shared: &Shared<N, P>, from: SocketAddr) -> Option<Place> {
    if shared.room.make_place().await {
        count(&shared.counters.evicted);
        // Its descriptor is free when its task has run.
        tokio::task::yield_now().await;
    }
    let place = shared.room.enter(from.ip());
    if place.is_err() {
        count(&shared.counters.refused);
    }
    place.ok()
}
