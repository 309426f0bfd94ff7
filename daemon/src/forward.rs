//! Hands requests on to the node that can serve them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, HOPS_MAX, Head, LockReply,
    LockRequest, QueueReply, QueueRequest,
};
use dsync::net::Net;
use dsync::preamble::Plane;
use dsync::{CallError, NodeConnection};
use dsync_core::config::NodeConfig;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::directory::{Hailer, Nodes};
use crate::raft::RaftNode;

/// Longest time for one connection attempt.
const DIAL: Duration = Duration::from_secs(1);

/// A request that a node may hand on.
pub trait Relayed: Send {
    /// What it is answered with.
    type Reply: Send;

    /// Sends it.
    fn send(
        self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> impl Future<Output = Result<Answer<Self::Reply>, CallError>> + Send;
}

impl Relayed for LockRequest {
    type Reply = LockReply;

    async fn send(
        self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<LockReply>, CallError> {
        to.lock(head, self, limit).await
    }
}

impl Relayed for AdminRequest {
    type Reply = AdminReply;

    async fn send(
        self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<AdminReply>, CallError> {
        to.admin(head, self, limit).await
    }
}

impl Relayed for QueueRequest {
    type Reply = QueueReply;

    async fn send(
        self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<QueueReply>, CallError> {
        to.queue(head, self, limit).await
    }
}

impl Relayed for CacheRequest {
    type Reply = CacheReply;

    async fn send(
        self,
        to: &NodeConnection,
        head: Head,
        limit: Duration,
    ) -> Result<Answer<CacheReply>, CallError> {
        to.cache(head, self, limit).await
    }
}

/// Connections to other nodes, one each, shared by all requests that are handed on.
#[derive(Debug)]
pub struct Forwarder {
    net: Net,
    hailer: Hailer,
    node: String,
    address: String,
    nodes: Arc<Nodes>,
    connections: Mutex<HashMap<String, NodeConnection>>,
}

impl Forwarder {
    /// Hands on in the name of the node of that configuration.
    pub fn new(net: Net, hailer: Hailer, config: &NodeConfig, nodes: Arc<Nodes>) -> Self {
        let (node, address) = (config.node_id.clone(), config.advertise.clone());
        Self { net, hailer, node, address, nodes, connections: Mutex::new(HashMap::new()) }
    }

    /// NODE_ID of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// An answer of this node.
    pub fn answer<T>(&self, result: Result<T, Fault>) -> Answer<T> {
        Answer { served_by: self.node.clone(), address: self.address.clone(), result }
    }

    /// Where a member is now.
    pub fn address_of(&self, member: &RaftNode) -> String {
        self.nodes.address_of(&member.node).unwrap_or_else(|| member.address.clone())
    }

    /// Hands a request on.
    ///
    /// # Errors
    /// Unavailable with effect `None` when it was not sent, `Unknown` when the answer got lost.
    pub async fn hand_on<R: Relayed>(
        &self,
        address: &str,
        head: &Head,
        request: R,
        until: Instant,
    ) -> Result<Answer<R::Reply>, Fault> {
        let (client, head, left) = self.prepare(address, head, until).await?;
        self.finish(address, request.send(&client, head, left).await)
    }

    /// Uses the connection to that address for no more requests: it may lead to one that will never
    /// answer.
    pub fn forget(&self, address: &str) {
        self.connections.lock().remove(address);
    }

    async fn prepare(
        &self,
        address: &str,
        head: &Head,
        until: Instant,
    ) -> Result<(NodeConnection, Head, Duration), Fault> {
        if head.hops >= HOPS_MAX {
            return Err(Fault::unavailable(format!(
                "handed on {HOPS_MAX} times already: the nodes do not agree who serves it"
            )));
        }
        let open = self.connections.lock().get(address).filter(|c| !c.is_closed()).cloned();
        let client = if let Some(client) = open {
            client
        } else {
            let within = DIAL.min(until.saturating_duration_since(Instant::now()));
            let hail = self.hailer.hail(Plane::Forward);
            // Rare and large: in a box, it makes no request's future larger.
            let opening = Box::pin(NodeConnection::open(&self.net, address, &hail, within));
            let client = opening.await.map_err(|error| {
                let why = error.detail;
                Fault::unavailable(format!("{} cannot reach {address}: {why}", self.node))
            })?;
            self.connections.lock().insert(address.to_owned(), client.clone());
            client
        };
        let left = until.saturating_duration_since(Instant::now());
        Ok((client, Head { hops: head.hops + 1, ..head.clone() }, left))
    }

    fn finish<T>(
        &self,
        address: &str,
        sent: Result<Answer<T>, CallError>,
    ) -> Result<Answer<T>, Fault> {
        let error = match sent {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let why = format!("{} handed the request on to {address}: {error}", self.node);
        match error {
            CallError::TooLarge(_) | CallError::Unreadable(_) => {
                return Err(Fault::new(Code::InvalidArgument, why));
            }
            // A connection with one lost answer is not used again.
            CallError::NotSent | CallError::Lost(_) | CallError::TimedOut(_) => {
                self.forget(address);
            }
        }
        if error.not_executed() {
            return Err(Fault::unavailable(why));
        }
        Err(Fault { code: Code::Unavailable, ..Fault::unknown(why) })
    }
}
