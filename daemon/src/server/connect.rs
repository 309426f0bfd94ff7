//! The way of one connection from its accept to its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use dsync::codec::{FRAME_MAX_CLIENT, FRAME_MAX_PEER};
use dsync::net::Stream;
use dsync::preamble::{Hail, Plane, Refusal};
use dsync::transport::Pace;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::accept::Shared;
use super::counters::{Counters, Gauge, count};
use super::greeting::{self, Beginning};
use super::handler::{Caller, NodeHandler, PeerHandler};
use super::room::Place;
use super::serve::{self, Link, NodeService, PeerService, Scope, serve};

/// Greets and serves one connection.
pub(super) async fn connect<N: NodeHandler, P: PeerHandler>(
    shared: &Shared<N, P>,
    mut stream: Stream,
    from: SocketAddr,
    place: Place,
    connection: u64,
) {
    let began = {
        let _ungreeted = Gauge::up(&shared.counters.ungreeted);
        tokio::select! {
            began = greet(shared, &mut stream, from) => began,
            () = place.must_leave() => return,
        }
    };
    let Some((hail, leftover, seat)) = began else { return };
    drop(place);
    let Hail { plane, id, version, .. } = hail;
    let caller = Arc::new(Caller { id, version, plane, address: from, connection });
    tracing::debug!(%from, id = %caller.id, %plane, connection, "connected");
    let limits = &shared.limits;
    let idle = match caller.plane {
        Plane::Client => Some(limits.idle),
        // An idle cluster is well; a dead node is noticed by keepalive.
        Plane::Forward | Plane::Peer | Plane::Bulk => None,
    };
    let pace = Pace { write_stall: limits.write_stall, idle };
    let _open = Gauge::up(match plane {
        Plane::Client | Plane::Forward => &shared.counters.clients,
        Plane::Peer | Plane::Bulk => &shared.counters.peers,
    });
    let mut link = Link { stream, leftover, pace };
    let ended = match first_bytes(shared, &mut link).await {
        Ok(true) => serve_plane(shared, link, &caller).await,
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    note_end(&shared.counters, &caller, ended);
    drop(seat);
}

/// Reads the caller's line and welcomes it, if it is one of ours and there is a seat.
async fn greet<N, P>(
    shared: &Shared<N, P>,
    stream: &mut Stream,
    from: SocketAddr,
) -> Option<(Hail, BytesMut, OwnedSemaphorePermit)> {
    let received = greeting::receive(stream, &shared.identity.node);
    let beginning = tokio::select! {
        beginning = tokio::time::timeout(shared.limits.greet, received) => beginning,
        () = shared.stop.cancelled() => return None,
    };
    let refused = match beginning {
        Ok(Beginning::Hail(hail, leftover)) => match sit_down(shared, hail.plane) {
            Ok(seat) => {
                greeting::welcome(stream, &shared.identity).await.ok()?;
                return Some((hail, leftover, seat));
            }
            Err(refusal) => {
                greeting::turn_away(stream, &refusal).await;
                refusal
            }
        },
        Ok(Beginning::Refused(refusal)) => refusal,
        Ok(Beginning::Foreign(protocol)) => {
            count(&shared.counters.foreign);
            Refusal::new("foreign", format!("it speaks {protocol:?}"))
        }
        Ok(Beginning::Gone) => return None,
        Err(_) => {
            count(&shared.counters.silent);
            return None;
        }
    };
    note_refusal(&shared.counters, from, &refused);
    None
}

/// A seat among those of its kind, unless there is none.
fn sit_down<N, P>(shared: &Shared<N, P>, plane: Plane) -> Result<OwnedSemaphorePermit, Refusal> {
    if shared.stop.is_cancelled() {
        return Err(Refusal::new("stopping", "this node is stopping; try another"));
    }
    let (seats, most, whose) = match plane {
        Plane::Client => (&shared.seats.clients, shared.limits.clients, "clients"),
        Plane::Forward | Plane::Peer | Plane::Bulk => {
            (&shared.seats.nodes, shared.limits.nodes, "nodes")
        }
    };
    Arc::clone(seats).try_acquire_owned().map_err(|_| {
        let text = format!("{most} connections of {whose} are open; try another node");
        Refusal::new("busy", text)
    })
}

/// Waits for the first bytes after the greeting; false when a stop comes before.
///
/// Until there are some a connection costs hardly more than its socket: what serves it is made for
/// the first request.
async fn first_bytes<N, P>(shared: &Shared<N, P>, link: &mut Link) -> io::Result<bool> {
    let Link { stream, leftover, pace } = link;
    if !leftover.is_empty() {
        return Ok(true);
    }
    let idle = async {
        match pace.idle {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        read = stream.read_buf(leftover) => match read? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer has closed")),
            _ => Ok(true),
        },
        () = idle => Err(io::Error::new(io::ErrorKind::TimedOut, "no message since the greeting")),
        () = shared.stop.cancelled() => Ok(false),
    }
}

async fn serve_plane<N: NodeHandler, P: PeerHandler>(
    shared: &Shared<N, P>,
    link: Link,
    caller: &Arc<Caller>,
) -> io::Result<()> {
    let (limits, counters) = (&shared.limits, &shared.counters);
    let scope = Scope {
        caller: Arc::clone(caller),
        identity: Arc::clone(&shared.identity),
        counters: Arc::clone(counters),
    };
    let (frame_max, in_flight) = match caller.plane {
        Plane::Client => (FRAME_MAX_CLIENT, limits.in_flight_client),
        Plane::Forward | Plane::Peer | Plane::Bulk => (FRAME_MAX_PEER, limits.in_flight_peer),
    };
    let room = serve::Room { frame_max, in_flight, drain: limits.drain };
    match caller.plane {
        Plane::Client | Plane::Forward => {
            let service = NodeService { handler: shared.handlers.node.clone(), scope };
            Box::pin(serve(link, service, room, &shared.stop)).await
        }
        Plane::Peer | Plane::Bulk => {
            let service = PeerService { handler: shared.handlers.peer.clone(), scope };
            Box::pin(serve(link, service, room, &shared.stop)).await
        }
    }
}

fn note_refusal(counters: &Counters, from: SocketAddr, refusal: &Refusal) {
    count(&counters.refused);
    tracing::debug!(%from, %refusal, "a caller was refused");
}

fn note_end(counters: &Counters, caller: &Caller, ended: io::Result<()>) {
    let Err(error) = ended else { return };
    let of = if error.kind() == io::ErrorKind::InvalidData {
        &counters.bad_frames
    } else if error.kind() == io::ErrorKind::TimedOut {
        &counters.stalled
    } else {
        tracing::debug!(from = %caller.address, id = %caller.id, %error, "disconnected");
        return;
    };
    count(of);
    tracing::info!(from = %caller.address, id = %caller.id, %error, "connection ended");
}
