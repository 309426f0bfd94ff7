//! Hands requests on to the node that can serve them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::{AdminReply, AdminRequest, Answer, HOPS_MAX, Head, LockReply, LockRequest, NodeClient};
use dsync::connection::{Connection, Identity};
use dsync::net::Net;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::directory::Nodes;
use crate::raft::RaftNode;

/// Longest time for one connection attempt.
const DIAL: Duration = Duration::from_secs(1);

/// Connections to other nodes, one each, shared by all requests that are handed on.
#[derive(Debug)]
pub struct Forwarder {
    net: Net,
    identity: Identity,
    node: String,
    address: String,
    nodes: Arc<Nodes>,
    connections: Mutex<HashMap<String, NodeClient>>,
}

impl Forwarder {
    /// Hands on in the name of the node `identity`, which others reach at `address`.
    pub fn new(net: Net, identity: Identity, node: String, address: String, nodes: Arc<Nodes>) -> Self {
        Self { net, identity, node, address, nodes, connections: Mutex::new(HashMap::new()) }
    }

    /// An answer of this node.
    pub fn answer<T>(&self, result: Result<T, Fault>) -> Answer<T> {
        Answer { served_by: self.node.clone(), address: self.address.clone(), result }
    }

    /// Where a member is now.
    pub fn address_of(&self, member: &RaftNode) -> String {
        self.nodes.address_of(&member.node).unwrap_or_else(|| member.address.clone())
    }

    /// Hands a lock request on.
    ///
    /// # Errors
    /// Unavailable with effect `None` when it was not sent, `Unknown` when the answer got lost.
    pub async fn lock(
        &self,
        address: &str,
        head: &Head,
        request: LockRequest,
        until: Instant,
    ) -> Result<Answer<LockReply>, Fault> {
        let (client, head, left) = self.prepare(address, head, until).await?;
        let sent = client.lock(dsync::connection::context(left), head, request);
        self.finish(address, tokio::time::timeout_at(until, sent).await)
    }

    /// Hands a request about nodes on.
    ///
    /// # Errors
    /// As [`lock`](Self::lock).
    pub async fn admin(
        &self,
        address: &str,
        head: &Head,
        request: AdminRequest,
        until: Instant,
    ) -> Result<Answer<AdminReply>, Fault> {
        let (client, head, left) = self.prepare(address, head, until).await?;
        let sent = client.admin(dsync::connection::context(left), head, request);
        self.finish(address, tokio::time::timeout_at(until, sent).await)
    }

    async fn prepare(
        &self,
        address: &str,
        head: &Head,
        until: Instant,
    ) -> Result<(NodeClient, Head, Duration), Fault> {
        if head.hops >= HOPS_MAX {
            return Err(Fault::unavailable(format!(
                "handed on {HOPS_MAX} times already: the nodes do not agree who serves it"
            )));
        }
        let open = self.connections.lock().get(address).cloned();
        let client = match open {
            Some(client) => client,
            None => {
                let within = DIAL.min(until.saturating_duration_since(Instant::now()));
                let (client, _) = Connection::node(&self.net, address, &self.identity, within)
                    .await
                    .map_err(|error| {
                        Fault::unavailable(format!("{} cannot reach {address}: {error}", self.node))
                    })?;
                self.connections.lock().insert(address.to_owned(), client.clone());
                client
            }
        };
        let left = until.saturating_duration_since(Instant::now());
        Ok((client, Head { hops: head.hops + 1, ..head.clone() }, left))
    }

    fn finish<T, E: std::fmt::Display>(
        &self,
        address: &str,
        sent: Result<Result<Answer<T>, E>, tokio::time::error::Elapsed>,
    ) -> Result<Answer<T>, Fault> {
        let why = match sent {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        // A connection with one lost answer is not used again.
        self.connections.lock().remove(address);
        Err(Fault {
            code: Code::Unavailable,
            ..Fault::unknown(format!("{} handed the request on to {address}: {why}", self.node))
        })
    }
}
