//! Where the next request goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dsync_core::node::{ClusterId, Role};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use super::ClientConfig;
use super::ask::Place;
use super::link::Link;
use crate::connection::NodeConnection;
use crate::dial::{Class, ConnectError};
use crate::net::Net;
use crate::preamble::{Hail, Plane};

/// Time for which an address that could not be reached is not tried again on a node's word.
const AVOID: Duration = Duration::from_secs(30);
/// Time for an endpoint to greet before the next one is dialed beside it.
const HEAD_START: Duration = Duration::from_millis(150);
/// Such addresses remembered.
const AVOID_MAX: usize = 256;

/// All links of a client.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) config: ClientConfig,
    pub(super) net: Net,
    pub(super) hail: Hail,
    endpoints: Vec<Arc<Link>>,
    /// The endpoint that the next request goes to.
    current: AtomicUsize,
    /// The nodes in charge, where their own addresses can be reached.
    direct: RwLock<HashMap<Place, Arc<Link>>>,
    following: AtomicBool,
    avoid: Mutex<HashMap<String, Instant>>,
    /// Cluster per role, 0: not known yet.
    clusters: [AtomicU64; 3],
}

impl Routes {
    pub(super) fn new(config: ClientConfig, net: Net, plane: Plane) -> Self {
        let hail = Hail {
            plane,
            id: config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            auth: None,
        };
        let endpoints: Vec<_> = config.endpoints.iter().map(|a| Link::new(a)).collect();
        // Clients begin at different endpoints, one client always at the same.
        let start =
            config.name.bytes().fold(0_usize, |sum, b| sum.wrapping_mul(31) ^ usize::from(b));
        let current = AtomicUsize::new(start.checked_rem(endpoints.len()).unwrap_or_default());
        Self {
            config,
            net,
            hail,
            endpoints,
            current,
            direct: RwLock::default(),
            following: AtomicBool::new(false),
            avoid: Mutex::default(),
            clusters: Default::default(),
        }
    }

    /// The link for an attempt. The first one goes to the node in charge; `turn` counts the
    /// failures of this call.
    pub(super) fn pick(&self, place: Option<Place>, turn: usize) -> Option<Arc<Link>> {
        if turn == 0
            && let Some(direct) = self.direct_to(place)
        {
            return Some(direct);
        }
        let at = self.current.load(Ordering::Relaxed).checked_rem(self.endpoints.len())?;
        self.endpoints.get(at).cloned()
    }

    fn direct_to(&self, place: Option<Place>) -> Option<Arc<Link>> {
        self.direct.read().get(&place?).cloned()
    }

    /// True when there is another node to ask.
    pub(super) fn has_choice(&self, place: Option<Place>) -> bool {
        self.endpoints.len() > 1 || self.direct_to(place).is_some()
    }

    /// Sees to it that the endpoint in turn is one that greets: dials it, and whenever the last one
    /// dialed says nothing for [`HEAD_START`], the next one beside it. The first that greets is in
    /// turn from then on. At once where a connection is open, or there is no choice.
    ///
    /// # Errors
    /// Why each endpoint cannot be used.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn meet(
        &self,
        place: Option<Place>,
        limit: Duration,
    ) -> Result<(), Vec<ConnectError>> {
        let count = self.endpoints.len();
        let first = self.current.load(Ordering::Relaxed);
        let link = |turn: usize| {
            let at = first.wrapping_add(turn).checked_rem(count)?;
            self.endpoints.get(at)
        };
        if count < 2 || self.direct_to(place).is_some() || link(0).is_some_and(|l| l.is_open()) {
            return Ok(());
        }
        let mut dialing = FuturesUnordered::new();
        let mut errors = Vec::new();
        let mut turn = 0;
        loop {
            if turn < count
                && let Some(link) = link(turn)
            {
                let at = turn;
                dialing.push(async move { (at, link.lane(self, false, limit).await) });
                turn += 1;
            }
            let dialed = if turn < count {
                tokio::time::timeout(HEAD_START, dialing.next()).await
            } else {
                Ok(dialing.next().await)
            };
            match dialed {
                // It has had its start; the next one is dialed.
                Err(_) => {}
                Ok(Some((at, Ok(_)))) => {
                    // Lost: another call has moved on already.
                    self.current
                        .compare_exchange(
                            first,
                            first.wrapping_add(at),
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        )
                        .unwrap_or_default();
                    return Ok(());
                }
                Ok(Some((_, Err(error)))) => errors.push(error),
                Ok(None) => return Err(errors),
            }
        }
    }

    /// That link gave no good answer: the next request, of whatever call, goes elsewhere. Of many
    /// calls that fail together only the first one moves on.
    pub(super) fn disappointed(&self, link: &Arc<Link>) {
        self.direct.write().retain(|_, direct| !Arc::ptr_eq(direct, link));
        let current = self.current.load(Ordering::Relaxed);
        let Some(at) = current.checked_rem(self.endpoints.len()) else { return };
        if self.endpoints.get(at).is_some_and(|e| Arc::ptr_eq(e, link)) {
            let next = current.wrapping_add(1);
            // Lost: another call has moved on already.
            self.current
                .compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed)
                .unwrap_or_default();
        }
    }

    /// A node answered as the one in charge, on whose word its address may be better: finds out
    /// whether it can be reached from here, and goes there from then on. In the background.
    pub(super) fn follow(this: &Arc<Self>, place: Place, node: &str, address: &str) {
        let known = this.direct.read().values().find(|link| link.address() == address).cloned();
        if let Some(link) = known.filter(|link| link.is_open()) {
            this.direct.write().insert(place, link);
            return;
        }
        if this.avoid.lock().get(address).is_some_and(|until| *until > Instant::now())
            || this.following.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let known = this.endpoints.iter().find(|link| link.address() == address);
        let link = known.cloned().unwrap_or_else(|| Link::new(address));
        let (this, node) = (Arc::clone(this), node.to_owned());
        tokio::spawn(async move {
            let limit = this.config.connect_timeout;
            match link.lane(&this, false, limit).await {
                Ok(lane) if lane.connection.greeting().id == node => {
                    tracing::debug!(%node, address = link.address(), "going there directly");
                    this.direct.write().insert(place, link);
                }
                Ok(_) => this.shun(link.address()),
                Err(error) => {
                    tracing::debug!(%node, %error, "staying with the endpoints");
                    this.shun(link.address());
                }
            }
            this.following.store(false, Ordering::Release);
        });
    }

    fn shun(&self, address: &str) {
        let mut avoid = self.avoid.lock();
        let now = Instant::now();
        avoid.retain(|_, until| *until > now);
        if avoid.len() < AVOID_MAX {
            avoid.insert(address.to_owned(), now + AVOID);
        }
    }

    fn cluster_of(&self, role: Role) -> &AtomicU64 {
        let [lock, queue, cache] = &self.clusters;
        match role {
            Role::Lock => lock,
            Role::Queue => queue,
            Role::Cache => cache,
        }
    }

    /// That role's cluster is this one.
    pub(super) fn pin(&self, role: Role, cluster: ClusterId) {
        self.cluster_of(role).store(cluster.0, Ordering::Relaxed);
    }

    /// Refuses a node of another cluster than the first one met.
    pub(super) fn check(&self, connection: &NodeConnection) -> Result<(), ConnectError> {
        let greeting = connection.greeting();
        let Some(ClusterId(theirs)) = greeting.cluster else { return Ok(()) };
        let slot = self.cluster_of(greeting.role);
        let ours = match slot.compare_exchange(0, theirs, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => theirs,
            Err(ours) => ours,
        };
        if ours == theirs {
            return Ok(());
        }
        Err(ConnectError {
            address: connection.address().to_owned(),
            class: Class::WrongCluster,
            detail: format!(
                "dsd {} belongs to cluster {}, this client to {}",
                greeting.id,
                ClusterId(theirs),
                ClusterId(ours)
            ),
            node: Some(greeting.id.clone()),
            elapsed: Duration::ZERO,
        })
    }
}
