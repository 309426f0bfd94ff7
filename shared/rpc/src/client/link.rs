//! The connections to one address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::route::Routes;
use crate::connection::{IN_FLIGHT_CLIENT, IN_FLIGHT_PEER, NodeConnection};
use crate::dial::{Class, ConnectError, whole_ms};
use crate::preamble::Plane;

/// Requests on one connection before another is opened. Less than what a node allows, because a
/// cancelled request counts there until its cancellation arrives.
const fn lane_load(plane: Plane) -> usize {
    match plane {
        Plane::Client => IN_FLIGHT_CLIENT - 16,
        Plane::Peer | Plane::Bulk | Plane::Forward => IN_FLIGHT_PEER / 2,
    }
}
/// Connections of one kind to one address; beyond them requests share.
const LANES_MAX: usize = 32;

/// One address.
#[derive(Debug)]
pub(super) struct Link {
    address: String,
    calls: Lanes,
    waits: Lanes,
}

/// Connections of one kind.
#[derive(Debug, Default)]
struct Lanes {
    open: Mutex<Vec<Arc<Load>>>,
    /// One dials, the others wait for it.
    dialing: tokio::sync::Mutex<()>,
}

/// One connection and how much it carries.
#[derive(Debug)]
struct Load {
    connection: NodeConnection,
    in_flight: AtomicUsize,
}

/// A connection to send one request on.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) connection: NodeConnection,
    load: Arc<Load>,
}

impl Lane {
    fn new(load: &Arc<Load>) -> Self {
        load.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { connection: load.connection.clone(), load: Arc::clone(load) }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// A connection that can take one more request, or any when no more may be opened.
    fn find(&self, load_max: usize) -> Option<Lane> {
        let mut open = self.open.lock();
        open.retain(|load| !load.connection.is_closed());
        let least = open.iter().min_by_key(|load| load.in_flight.load(Ordering::Relaxed))?;
        let free = least.in_flight.load(Ordering::Relaxed) < load_max;
        (free || open.len() >= LANES_MAX).then(|| Lane::new(least))
    }
}

impl Link {
    pub(super) fn new(address: &str) -> Arc<Self> {
        let (calls, waits) = (Lanes::default(), Lanes::default());
        Arc::new(Self { address: address.to_owned(), calls, waits })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// True while there is a connection for calls.
    pub(super) fn is_open(&self) -> bool {
        self.calls.open.lock().iter().any(|load| !load.connection.is_closed())
    }

    /// A connection for one request, dialed if there is none yet.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn lane(
        &self,
        routes: &Routes,
        wait: bool,
        limit: Duration,
    ) -> Result<Lane, ConnectError> {
        let load_max = lane_load(routes.hail.plane);
        let lanes = if wait { &self.waits } else { &self.calls };
        if let Some(lane) = lanes.find(load_max) {
            return Ok(lane);
        }
        let turn = tokio::time::timeout(limit, lanes.dialing.lock()).await;
        let Ok(_dialing) = turn else {
            return Err(self.no_time(limit));
        };
        // Whoever was first may have opened one.
        if let Some(lane) = lanes.find(load_max) {
            return Ok(lane);
        }
        let hail = &routes.hail;
        let connection = NodeConnection::open(&routes.net, &self.address, hail, limit).await?;
        routes.check(&connection)?;
        let load = Arc::new(Load { connection, in_flight: AtomicUsize::new(0) });
        let lane = Lane::new(&load);
        lanes.open.lock().push(load);
        Ok(lane)
    }

    fn no_time(&self, limit: Duration) -> ConnectError {
        ConnectError {
            address: self.address.clone(),
            class: Class::Timeout,
            detail: format!("no connection within {}", whole_ms(limit)),
            node: None,
            elapsed: limit,
        }
    }

    /// Begins no new request on that connection; it closes when its last one has ended.
    pub(super) fn retire(&self, lane: &Lane) {
        for lanes in [&self.calls, &self.waits] {
            lanes.open.lock().retain(|load| !Arc::ptr_eq(load, &lane.load));
        }
    }
}
