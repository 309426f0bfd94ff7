//! One node: its services, whatever its role.

use std::sync::Arc;
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Answer, Head, LockReply, LockRequest, Node, NodeInfo, Setting,
};
use dsync::peer::{Destination, Peer, RaftCall, RaftReply};
use dsync_core::config::NodeConfig;
use dsync_core::node::{Hello, Role};
use dsync_core::raft::formation;
use dsync_core::{Code, Fault};
use tarpc::context::Context;
use tokio::time::Instant;

use crate::directory::Nodes;
use crate::forward::Forwarder;
use crate::greeting::Greeter;
use crate::raft::{Members, RaftService, status};
use crate::roles::lock::{LockRole, LockState};
use crate::snapshots::Transfers;
use crate::telemetry::Warnings;

/// Longest time for a request about a node that was handed on.
const ADMIN_BUDGET: Duration = Duration::from_secs(5);

/// What a process needs to know of itself.
#[derive(Debug)]
pub struct Me {
    /// Configuration.
    pub config: NodeConfig,
    /// Every setting with its source.
    pub settings: Vec<Setting>,
    /// This start's number.
    pub incarnation: u64,
    /// Raft id.
    pub raft_id: u64,
    /// When it started.
    pub started: Instant,
    /// The last warnings logged.
    pub warnings: Warnings,
}

/// A lock node, behind every connection.
#[derive(Debug, Clone)]
pub struct NodeService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    me: Me,
    nodes: Arc<Nodes>,
    greeter: Greeter,
    forwarder: Arc<Forwarder>,
    members: Members<LockState>,
    raft: RaftService<LockState>,
    role: LockRole,
    transfers: Transfers,
    connections: Arc<dyn Fn() -> u32 + Send + Sync>,
}

/// The parts of a node.
pub struct Parts {
    /// What it knows of itself.
    pub me: Me,
    /// Whom it knows.
    pub nodes: Arc<Nodes>,
    /// Whom it greets.
    pub greeter: Greeter,
    /// How it hands requests on.
    pub forwarder: Arc<Forwarder>,
    /// Its membership.
    pub members: Members<LockState>,
    /// Its receiving side of Raft.
    pub raft: RaftService<LockState>,
    /// Its role.
    pub role: LockRole,
    /// Open client connections.
    pub connections: Arc<dyn Fn() -> u32 + Send + Sync>,
}
