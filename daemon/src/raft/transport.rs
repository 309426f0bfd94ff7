//! What all connections to peers share: identity, addresses, the cluster's time and what went
//! wrong lately.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync::PeerConnection;
use dsync::net::Net;
use dsync::peer::Destination;
use dsync::preamble::Plane;
use dsync_core::config::Timers;
use dsync_core::node::{ClusterId, RaftId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;

use super::election::Elections;
use super::types::RaftNode;
use crate::directory::{Hailer, Nodes};
use crate::telemetry::{ElectionReason, Metrics};

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;
type OnTime = Box<dyn Fn(u64) + Send + Sync>;

/// How a peer answered lately.
#[derive(Debug, Clone)]
pub struct Contact {
    /// When it last answered.
    pub last_success: Option<Instant>,
    /// What went wrong last, and when.
    pub last_failure: Option<(Instant, String)>,
}

impl Contact {
    /// It failed to answer after it last did.
    pub fn failed_last(&self) -> bool {
        match (self.last_success, &self.last_failure) {
            (Some(good), Some((bad, _))) => *bad >= good,
            (None, failure) => failure.is_some(),
            (Some(_), None) => false,
        }
    }
}

/// The way to the peers, shared by all connections.
pub struct Transport {
    net: Net,
    hailer: Hailer,
    raft_id: RaftId,
    timers: Timers,
    nodes: Arc<Nodes>,
    cluster: watch::Sender<Option<ClusterId>>,
    clock: RwLock<Option<Clock>>,
    on_time: RwLock<Option<OnTime>>,
    names: RwLock<BTreeMap<RaftId, String>>,
    contacts: Mutex<BTreeMap<RaftId, Contact>>,
    leader_heard: Mutex<Option<(RaftId, Instant)>>,
    led: Mutex<Option<Instant>>,
    elections: Elections,
    transfers: AtomicU64,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("raft_id", &self.raft_id).finish_non_exhaustive()
    }
}

impl Transport {
    /// Makes the way to the peers of one node.
    pub fn new(
        net: Net,
        hailer: Hailer,
        raft_id: RaftId,
        timers: Timers,
        nodes: Arc<Nodes>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let elections = Elections::new(hailer.node(), metrics);
        Arc::new(Self {
            net,
            hailer,
            raft_id,
            timers,
            nodes,
            cluster: watch::Sender::new(None),
            clock: RwLock::new(None),
            on_time: RwLock::new(None),
            names: RwLock::new(BTreeMap::new()),
            contacts: Mutex::new(BTreeMap::new()),
            leader_heard: Mutex::new(None),
            led: Mutex::new(None),
            elections,
            transfers: AtomicU64::new(1),
        })
    }

    /// This node's raft id.
    pub fn raft_id(&self) -> RaftId {
        self.raft_id
    }

    /// The timers in force.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// The elections that this node took part in.
    pub fn elections(&self) -> &Elections {
        &self.elections
    }

    /// The cluster this node belongs to, once it does.
    pub fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.borrow()
    }

    /// Sets the cluster; it is on disk already.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.cluster.send_replace(Some(cluster));
    }

    /// Follows the cluster that this node belongs to.
    pub fn watch_cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.subscribe()
    }

    /// Sets where the leader's cluster time comes from.
    pub(super) fn set_clock(&self, clock: Clock) {
        *self.clock.write() = Some(clock);
    }

    /// Sets who is told of a leader's cluster time.
    pub(super) fn on_time(&self, told: OnTime) {
        *self.on_time.write() = Some(told);
    }

    /// The leader's cluster time; 0 while this node does not lead.
    pub(super) fn clock(&self) -> u64 {
        self.clock.read().as_ref().map_or(0, |clock| clock())
    }

    /// An append of the leader arrived.
    pub fn heard_leader(&self, leader: RaftId, t_ms: u64) {
        *self.leader_heard.lock() = Some((leader, Instant::now()));
        if let Some(told) = self.on_time.read().as_ref() {
            told(t_ms);
        }
    }

    /// The leader last heard, and when.
    pub fn leader_heard(&self) -> Option<(RaftId, Instant)> {
        *self.leader_heard.lock()
    }

    /// This node leads now.
    pub(super) fn leads(&self) {
        *self.led.lock() = Some(Instant::now());
    }

    /// Why an election is due, in words.
    pub(super) fn why_elect(&self) -> (ElectionReason, String) {
        let (led, heard) = (*self.led.lock(), self.leader_heard());
        if let Some(led) = led.filter(|led| heard.is_none_or(|(_, at)| at < *led)) {
            let ago = led.elapsed().as_millis();
            let why = format!("this node led until {ago} ms ago and has heard no other leader");
            return (ElectionReason::QuorumLost, why);
        }
        match heard {
            // An election before the leader's time is up is one that it asked for.
            Some((leader, at)) if at.elapsed() < self.election_min() => {
                let name = self.name_of(leader);
                (ElectionReason::Transfer, format!("leader {name} hands leadership over"))
            }
            Some((leader, at)) => {
                let (name, silent) = (self.name_of(leader), at.elapsed().as_millis());
                let why = format!("nothing was heard of leader {name} for {silent} ms");
                (ElectionReason::LeaderSilent, why)
            }
            None => {
                let why = "no leader was heard since this node started".to_owned();
                (ElectionReason::Started, why)
            }
        }
    }

    fn election_min(&self) -> Duration {
        Duration::from_millis(self.timers.election_min_ms)
    }

    /// Names the members, for logs.
    pub(super) fn set_names(&self, names: BTreeMap<RaftId, String>) {
        *self.names.write() = names;
    }

    /// NODE_ID of a member, or its raft id where the name is not known.
    pub fn name_of(&self, id: RaftId) -> String {
        self.names.read().get(&id).cloned().unwrap_or_else(|| format!("{id:016x}"))
    }

    /// How the peer answered lately.
    pub fn contact(&self, peer: RaftId) -> Option<Contact> {
        self.contacts.lock().get(&peer).cloned()
    }

    pub(super) fn next_transfer(&self) -> u64 {
        self.transfers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn destination(&self, to: RaftId) -> Result<Destination, String> {
        let cluster = self.cluster().ok_or("this node belongs to no cluster yet")?;
        Ok(Destination { cluster, to, from: self.raft_id })
    }

    /// Dials a member where the directory has it now; where that fails, where the log has it: the
    /// directory may remember a place that the node has left.
    pub(super) async fn dial(
        &self,
        member: &RaftNode,
        bulk: bool,
        within: Duration,
    ) -> Result<PeerConnection, String> {
        let plane = if bulk { Plane::Bulk } else { Plane::Peer };
        let hail = self.hailer.hail(plane);
        let known = self.nodes.address_of(&member.node).filter(|a| *a != member.address);
        if let Some(address) = known
            && let Ok(open) = PeerConnection::open(&self.net, &address, &hail, within).await
            && open.greeting().id == member.node
        {
            return Ok(open);
        }
        // Whoever shows the error names the node and its address.
        let open = PeerConnection::open(&self.net, &member.address, &hail, within).await;
        open.map_err(|error| error.detail)
    }

    pub(super) fn note_success(&self, peer: RaftId) {
        let mut contacts = self.contacts.lock();
        let contact =
            contacts.entry(peer).or_insert(Contact { last_success: None, last_failure: None });
        contact.last_success = Some(Instant::now());
    }

    /// Remembers a failure, and logs it once per outage.
    pub(super) fn note_failure(&self, peer: RaftId, node: &RaftNode, why: &str) {
        let mut contacts = self.contacts.lock();
        let contact =
            contacts.entry(peer).or_insert(Contact { last_success: None, last_failure: None });
        let first = match (&contact.last_success, &contact.last_failure) {
            (Some(good), Some((bad, _))) => good > bad,
            (_, last) => last.is_none(),
        };
        if first {
            tracing::warn!(node = self.hailer.node(), peer = %node.node, address = %node.address, reason = why, "peer does not answer");
        }
        contact.last_failure = Some((Instant::now(), why.to_owned()));
    }
}
