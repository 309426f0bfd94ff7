//! The client: one handle over all endpoints, cheap to clone.

use std::time::Duration;

use dsync_core::{Code, Fault};

use crate::api::{AdminReply, AdminRequest, Answer, LockReply, LockRequest};
use crate::net::Net;

/// How to reach the cluster.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Any nodes of any role, `host:port` each.
    pub endpoints: Vec<String>,
    /// Longest time for one connection attempt and its greeting.
    pub connect_timeout: Duration,
    /// What the client calls itself in the nodes' logs.
    pub name: String,
}

/// Options of one call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// The whole time given, retries included.
    pub timeout: Duration,
    /// Names the request; 0: a random one. A repetition must carry the same.
    pub request_id: u128,
    /// The node that shall answer (NODE_ID or `host:port`).
    pub target: Option<String>,
}

/// A handle on the cluster.
#[derive(Debug, Clone)]
pub struct Client {
    config: ClientConfig,
    net: Net,
}

impl Client {
    /// Makes a client; nothing is dialed before the first call.
    pub fn new(config: ClientConfig, net: Net) -> Self {
        Self { config, net }
    }

    /// Calls the lock service.
    pub async fn lock(
        &self,
        request: LockRequest,
        options: CallOptions,
    ) -> Result<Answer<LockReply>, Fault> {
        let _ = (request, options, &self.config, &self.net);
        Err(Fault::new(Code::Unavailable, "not built yet"))
    }

    /// Asks about nodes.
    pub async fn admin(
        &self,
        request: AdminRequest,
        options: CallOptions,
    ) -> Result<Answer<AdminReply>, Fault> {
        let _ = (request, options);
        Err(Fault::new(Code::Unavailable, "not built yet"))
    }
}
