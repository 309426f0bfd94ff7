//! One node: what it answers on every connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, DialReport, Head, LockReply,
    LockRequest, NodeInfo, QueueReply, QueueRequest, Setting,
};
use dsync::net::Net;
use dsync::preamble::Plane as HailPlane;
use dsync_core::config::NodeConfig;
use dsync_core::name::Name;
use dsync_core::node::{DirectoryEntry, Hello, Role};
use dsync_core::raft::formation::{self, PeerAnswer};
use dsync_core::{Code, Effect, Fault};
use tokio::time::Instant;

use crate::directory::{Hailer, Nodes};
use crate::forward::{Forwarder, Relayed};
use crate::greeting::Greeter;
use crate::raft::{Group, backup};
use crate::roles::cache::CacheRole;
use crate::roles::leader::no_leader;
use crate::roles::lock::LockRole;
use crate::roles::queue::QueueRole;
use crate::server::{Call, Counters};
use crate::telemetry::Telemetry;

mod handlers;

/// Nodes of another role that are asked for one request.
const ELSEWHERE_MAX: usize = 5;
/// Longest time for a dial that was asked for.
const DIAL_CHECK: Duration = Duration::from_secs(1);

/// What a process knows of itself.
#[derive(Debug)]
pub struct Me {
    /// Configuration.
    pub config: NodeConfig,
    /// NODE_ID, checked.
    pub name: Name,
    /// Every setting with its source.
    pub settings: Vec<Setting>,
    /// This start's number.
    pub incarnation: u64,
    /// Raft id.
    pub raft_id: u64,
    /// When it started.
    pub started: Instant,
}

/// What a node does.
#[derive(Debug)]
pub enum RunningRole {
    /// Locks.
    Lock(LockRole),
    /// Job queues.
    Queue(QueueRole),
    /// The coherent cache.
    Cache(CacheRole),
}

impl RunningRole {
    /// The lock service, if this node runs it.
    pub fn lock(&self) -> Option<&LockRole> {
        match self {
            Self::Lock(role) => Some(role),
            Self::Queue(_) | Self::Cache(_) => None,
        }
    }
}

/// The parts of a node.
#[derive(Debug)]
pub struct Parts {
    /// What it knows of itself.
    pub me: Me,
    /// Its network.
    pub net: Net,
    /// Whom it knows.
    pub nodes: Arc<Nodes>,
    /// Whom it greets.
    pub greeter: Greeter,
    /// How it hands requests on.
    pub forwarder: Arc<Forwarder>,
    /// Its Raft group.
    pub raft: Arc<dyn Group>,
    /// Its role.
    pub role: RunningRole,
    /// Logs and metrics.
    pub telemetry: Telemetry,
    /// Its connections.
    pub counters: Arc<Counters>,
}

/// A node, behind every connection. Cheap to clone.
#[derive(Debug, Clone)]
pub struct NodeService {
    parts: Arc<Parts>,
}

impl NodeService {
    /// Puts a node together.
    pub fn new(parts: Parts) -> Self {
        Self { parts: Arc::new(parts) }
    }

    /// The parts.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What this node says of itself when two nodes meet.
    pub async fn hello_of_mine(&self) -> Hello {
        let parts = &*self.parts;
        let me = &parts.me;
        let members = me.config.members();
        let voters = parts.raft.voters();
        Hello {
            node: me.name.clone(),
            role: me.config.role,
            address: me.config.advertise.clone(),
            incarnation: me.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            raft_id: me.raft_id,
            fingerprint: formation::fingerprint(&members),
            members,
            initialized: parts.raft.initialized().await,
            cluster: *parts.raft.cluster().borrow(),
            voters: voters.into_iter().map(|(id, node)| (node.node, id)).collect(),
            directory: parts.nodes.list(),
        }
    }

    /// This node as the directory has it.
    pub fn entry_of_mine(&self) -> DirectoryEntry {
        let me = &self.parts.me;
        DirectoryEntry {
            node: me.name.clone(),
            role: me.config.role,
            address: me.config.advertise.clone(),
            incarnation: me.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            heard_ms_ago: 0,
        }
    }

    /// One round: greet everyone, then act on what they said.
    pub async fn greet_round(&self) {
        let (me, answers) = self.greet().await;
        self.parts.nodes.merge([self.entry_of_mine()]);
        self.parts.nodes.keep(self.belonging());
        self.parts.raft.step(&me, &answers).await;
    }

    async fn greet(&self) -> (Hello, Vec<PeerAnswer>) {
        let me = self.hello_of_mine().await;
        let members = self.parts.raft.names().into_iter().collect();
        let answers = self.parts.greeter.round(&me, &members).await;
        (me, answers)
    }

    /// Whom this node never forgets: the members by name, the configured nodes by address.
    fn belonging(&self) -> BTreeSet<String> {
        let config = &self.parts.me.config;
        let members = self.parts.raft.names().into_iter();
        members.chain(config.peers.iter().chain(&config.cluster).cloned()).collect()
    }

    async fn serve_admin(
        &self,
        head: &Head,
        request: AdminRequest,
        until: Instant,
    ) -> Answer<AdminReply> {
        let forwarder = &self.parts.forwarder;
        if let Some(target) = head.target.as_deref().filter(|t| !self.is_me(t)) {
            return match self.address_of_target(target) {
                // Whoever asks about one node wants to know at once that it does not answer.
                Ok(address) => {
                    let mut answer = self.hand_on(&address, head, request, until).await;
                    if let Err(fault) = answer.result.as_mut() {
                        fault.retryable = false;
                    }
                    answer
                }
                Err(fault) => forwarder.answer(Err(fault)),
            };
        }
        if needs_leader(&request) {
            if let Some(address) = self.leader_elsewhere() {
                // Under this node's name the leader would hand it back.
                let head = Head { target: None, ..head.clone() };
                return self.hand_on(&address, &head, request, until).await;
            }
            if !self.parts.raft.has_leader() {
                return forwarder.answer(Err(no_leader(self.parts.me.config.role)));
            }
        }
        forwarder.answer(self.admin_here(request, until).await)
    }

    async fn hand_on(
        &self,
        address: &str,
        head: &Head,
        request: AdminRequest,
        until: Instant,
    ) -> Answer<AdminReply> {
        let forwarder = &self.parts.forwarder;
        let sent = forwarder.hand_on(address, head, request, until).await;
        sent.unwrap_or_else(|fault| forwarder.answer(Err(fault)))
    }

    fn is_me(&self, target: &str) -> bool {
        let config = &self.parts.me.config;
        target == config.node_id || target == config.advertise
    }

    /// Only nodes that this one knows: a request must not make it dial anywhere else.
    fn address_of_target(&self, target: &str) -> Result<String, Fault> {
        if let Some(entry) = self.parts.nodes.find(target) {
            return Ok(entry.address);
        }
        let config = &self.parts.me.config;
        let configured = config.peers.iter().chain(&config.cluster).find(|a| *a == target);
        configured.cloned().ok_or_else(|| {
            let known = self.parts.nodes.list();
            let names: Vec<&str> = known.iter().map(|entry| entry.node.as_str()).collect();
            Fault::new(
                Code::NotFound,
                format!(
                    "{} knows no node {target:?}; it knows {}",
                    config.node_id,
                    names.join(", ")
                ),
            )
        })
    }

    fn leader_elsewhere(&self) -> Option<String> {
        if self.parts.raft.leads() {
            return None;
        }
        let (id, node) = self.parts.raft.leader()?;
        (id != self.parts.me.raft_id).then(|| self.parts.forwarder.address_of(&node))
    }

    async fn admin_here(&self, request: AdminRequest, until: Instant) -> Result<AdminReply, Fault> {
        let parts = &*self.parts;
        let within = until.saturating_duration_since(Instant::now());
        match request {
            AdminRequest::Ping => Ok(AdminReply::Pong),
            AdminRequest::NodeInfo => Ok(AdminReply::Node(Box::new(self.info().await))),
            AdminRequest::Directory => Ok(AdminReply::Directory(parts.nodes.list())),
            AdminRequest::RaftStatus => {
                let me = self.hello_of_mine().await;
                parts.raft.status(&me).map(|status| AdminReply::Raft(Box::new(status)))
            }
            AdminRequest::RaftProbe => parts.raft.probe(within).await.map(AdminReply::Probe),
            AdminRequest::RaftTransfer { to } => {
                parts.raft.transfer(&to, within).await.map(AdminReply::Done)
            }
            AdminRequest::RaftReplace { node } => {
                // What it said last may be from before its data was lost.
                let (me, answers) = self.greet().await;
                parts.raft.replace(&node, &me, &answers).await.map(AdminReply::Done)
            }
            AdminRequest::SnapshotRead { id, offset } => {
                parts.raft.read_backup(id, offset, within).await
            }
            AdminRequest::SnapshotWrite { id, offset, data, done } => {
                let piece = backup::Upload { id, offset, data, done };
                parts.raft.write_backup(piece, within).await.map(AdminReply::Done)
            }
            AdminRequest::DialCheck { address } => {
                let address = self.address_of_target(&address)?;
                Ok(AdminReply::Dial(self.dial_check(&address).await))
            }
        }
    }

    async fn dial_check(&self, address: &str) -> DialReport {
        let hail = Hailer::new(&self.parts.me.config.node_id).hail(HailPlane::Client);
        dsync::dial::check(&self.parts.net, address, &hail, DIAL_CHECK).await
    }

    async fn info(&self) -> NodeInfo {
        let parts = &*self.parts;
        let me = &parts.me;
        let hello = self.hello_of_mine().await;
        let problems = parts.raft.problems();
        let state = match (hello.initialized, parts.raft.has_leader()) {
            (false, _) => "forming",
            (true, false) => parts.raft.idle_state(),
            (true, true) => "serving",
        };
        NodeInfo {
            node: me.config.node_id.clone(),
            role: me.config.role,
            address: me.config.advertise.clone(),
            listen: me.config.listen(),
            version: hello.version,
            cluster: hello.cluster,
            incarnation: me.incarnation,
            uptime_ms: u64::try_from(me.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            state: state.to_owned(),
            problems,
            settings: me.settings.clone(),
            peers: parts.greeter.view(),
            warnings: parts.telemetry.recent.list(),
            connections: u32::try_from(parts.counters.read().clients).unwrap_or(u32::MAX),
            pid: std::process::id(),
        }
    }

    async fn serve_lock(
        &self,
        head: &Head,
        request: LockRequest,
        call: &Call,
    ) -> Answer<LockReply> {
        if head.target.is_some() {
            return self.parts.forwarder.answer(Err(Fault::new(
                Code::InvalidArgument,
                "lock requests go to the leader: they have no target",
            )));
        }
        if let RunningRole::Lock(role) = &self.parts.role {
            return role.call(head, request, call.time_left()).await;
        }
        self.elsewhere(Role::Lock, head, request, call).await
    }

    async fn serve_queue(
        &self,
        head: &Head,
        request: QueueRequest,
        call: &Call,
    ) -> Answer<QueueReply> {
        if head.target.is_some() {
            return self.parts.forwarder.answer(Err(Fault::new(
                Code::InvalidArgument,
                "queue requests go to the node in charge: they have no target",
            )));
        }
        if let RunningRole::Queue(role) = &self.parts.role {
            return role.call(head, request, call.time_left()).await;
        }
        self.elsewhere(Role::Queue, head, request, call).await
    }

    async fn serve_cache(
        &self,
        head: &Head,
        request: CacheRequest,
        call: &Call,
    ) -> Answer<CacheReply> {
        if let Some(target) = head.target.as_deref() {
            if !is_about_one_node(&request) {
                return self.parts.forwarder.answer(Err(Fault::new(
                    Code::InvalidArgument,
                    "any cache node serves any key: such a request has no target",
                )));
            }
            if !self.is_me(target) {
                let sent = match self.address_of_target(target) {
                    Ok(address) => {
                        let forwarder = &self.parts.forwarder;
                        forwarder.hand_on(&address, head, request, call.deadline).await
                    }
                    Err(fault) => Err(fault),
                };
                // Whoever asks about one node wants to know at once that it does not answer.
                return sent.unwrap_or_else(|fault| {
                    self.parts.forwarder.answer(Err(Fault { retryable: false, ..fault }))
                });
            }
        }
        if let RunningRole::Cache(role) = &self.parts.role {
            return role.call(head, request, call.time_left()).await;
        }
        if head.target.is_some() {
            let text = format!("{} is no cache node", self.parts.me.name);
            return self.parts.forwarder.answer(Err(Fault::new(Code::WrongRole, text)));
        }
        self.elsewhere(Role::Cache, head, request, call).await
    }

    /// Has a node of another role serve a request: the first one that can be reached.
    async fn elsewhere<R: Relayed + Clone>(
        &self,
        role: Role,
        head: &Head,
        request: R,
        call: &Call,
    ) -> Answer<R::Reply> {
        let parts = &*self.parts;
        let until = call.deadline;
        let known = parts.nodes.of_role(role);
        let others = &parts.me.config.cluster;
        let mut last = Fault::unavailable(format!(
            "{} has not met a {role} node yet, of {}",
            parts.me.name,
            others.join(", ")
        ));
        if others.is_empty() {
            let (me, mine) = (&parts.me.name, parts.me.config.role);
            let text = format!("{me} is a {mine} node and knows no {role} node");
            last = Fault::new(Code::WrongRole, text)
                .hint(format!("name a {role} node in its CLUSTER_ADDRESSES, or ask one of them"));
        }
        for node in known.iter().take(ELSEWHERE_MAX) {
            let left = until.saturating_duration_since(Instant::now());
            // Who is dead without a word must leave time to ask another one.
            let sent =
                parts.forwarder.hand_on(&node.address, head, request.clone(), until - left / 10);
            match sent.await {
                Ok(answer) => return answer,
                Err(fault) if fault.retryable && fault.effect == Effect::None => last = fault,
                Err(fault) => return parts.forwarder.answer(Err(fault)),
            }
        }
        parts.forwarder.answer(Err(last))
    }
}

fn is_about_one_node(request: &CacheRequest) -> bool {
    matches!(
        request,
        CacheRequest::Stats | CacheRequest::Lost | CacheRequest::View | CacheRequest::Line { .. }
    )
}

fn needs_leader(request: &AdminRequest) -> bool {
    matches!(
        request,
        AdminRequest::RaftProbe
            | AdminRequest::RaftTransfer { .. }
            | AdminRequest::RaftReplace { .. }
            | AdminRequest::SnapshotRead { .. }
            | AdminRequest::SnapshotWrite { .. }
    )
}
