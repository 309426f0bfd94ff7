//! The Raft side of a node, whatever its machine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dsync::api::{AdminReply, Probe, RaftStatus};
use dsync::peer::{Destination, RaftCall, RaftReply};
use dsync_core::Fault;
use dsync_core::node::{ClusterId, Hello, RaftId, Role};
use dsync_core::raft::formation::PeerAnswer;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::backup::{Transfers, Upload};
use super::engine::Engine;
use super::figures::Figures;
use super::identity::Identity;
use super::machine::Machine;
use super::membership::Members;
use super::monitor::Leadership;
use super::service::RaftService;
use super::status;
use super::types::RaftNode;

/// What a node does with its Raft group, without knowing what is replicated.
#[async_trait]
pub trait Group: fmt::Debug + Send + Sync {
    /// True while this node leads.
    fn leads(&self) -> bool;
    /// The leader as this node knows it, itself included.
    fn leader(&self) -> Option<(RaftId, RaftNode)>;
    /// True while this node leads with a quorum, or hears a leader.
    fn has_leader(&self) -> bool;
    /// What a node that does not serve is called.
    fn idle_state(&self) -> &'static str {
        "no-leader"
    }
    /// Follows who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;
    /// The cluster it belongs to.
    fn cluster(&self) -> watch::Receiver<Option<ClusterId>>;
    /// Names of voters and learners.
    fn names(&self) -> Vec<String>;
    /// Voters by raft id.
    fn voters(&self) -> BTreeMap<RaftId, RaftNode>;
    /// True once the log holds a membership.
    async fn initialized(&self) -> bool;
    /// What keeps this node from being a member; empty when nothing does.
    fn waiting_for(&self) -> String;
    /// One step after a round of greetings.
    async fn step(&self, me: &Hello, peers: &[PeerAnswer]);
    /// How it stands.
    ///
    /// # Errors
    /// `WrongRole`: it has no Raft.
    fn status(&self, me: &Hello) -> Result<RaftStatus, Fault>;
    /// What is wrong, in words.
    fn problems(&self) -> Vec<String>;
    /// What metrics show.
    fn figures(&self, initialized: bool) -> Figures;
    /// Proposes an entry that does nothing and times its stages.
    async fn probe(&self, within: Duration) -> Result<Probe, Fault>;
    /// Hands leadership to that voter.
    async fn transfer(&self, node: &str, within: Duration) -> Result<String, Fault>;
    /// Replaces the voter of that name by the node that answers under it now.
    async fn replace(&self, node: &str, me: &Hello, peers: &[PeerAnswer]) -> Result<String, Fault>;
    /// A piece of a backup.
    async fn read_backup(&self, id: u64, at: u64, within: Duration) -> Result<AdminReply, Fault>;
    /// Takes a piece of a backup in.
    async fn write_backup(&self, piece: Upload, within: Duration) -> Result<String, Fault>;
    /// A call of a peer.
    async fn call(&self, to: Destination, call: RaftCall) -> Result<RaftReply, Fault>;
    /// Hands leadership over, if this node has it.
    async fn hand_over(&self, within: Duration);
    /// Stops the engine.
    async fn shutdown(&self);
}

/// The group of one machine.
pub struct GroupOf<M: Machine> {
    engine: Engine<M>,
    members: Members<M>,
    service: RaftService<M>,
    backups: Transfers,
    leadership: watch::Receiver<Leadership>,
    role: Role,
    /// The entry that does nothing.
    noop: M::Command,
}

impl<M: Machine> GroupOf<M> {
    /// `seed` makes the id of a cluster that this node forms; `noop` is the entry of a probe.
    pub fn new(
        engine: Engine<M>,
        identity: &Arc<Mutex<Identity>>,
        (leadership, role): (watch::Receiver<Leadership>, Role),
        seed: u64,
        noop: M::Command,
    ) -> Self {
        Self {
            members: Members::new(engine.clone(), Arc::clone(identity), seed),
            service: RaftService::new(engine.clone(), Arc::clone(identity)),
            engine,
            backups: Transfers::default(),
            leadership,
            role,
            noop,
        }
    }
}

impl<M: Machine> fmt::Debug for GroupOf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupOf").field("engine", &self.engine).finish_non_exhaustive()
    }
}

#[async_trait]
impl<M: Machine> Group for GroupOf<M> {
    fn leads(&self) -> bool {
        self.engine.leader_time().is_some()
    }

    fn leader(&self) -> Option<(RaftId, RaftNode)> {
        self.engine.leader()
    }

    fn has_leader(&self) -> bool {
        let known = self.leadership.borrow().clone();
        if known.mine {
            return self.engine.quorum_lost_for().is_none();
        }
        known.leader.is_some() && self.engine.hears_leader()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.engine.transport().watch_cluster()
    }

    fn names(&self) -> Vec<String> {
        self.members.names().collect()
    }

    fn voters(&self) -> BTreeMap<RaftId, RaftNode> {
        self.members.voters()
    }

    async fn initialized(&self) -> bool {
        self.members.initialized().await
    }

    fn waiting_for(&self) -> String {
        self.members.waiting_for()
    }

    async fn step(&self, me: &Hello, peers: &[PeerAnswer]) {
        self.members.step(me, peers).await;
    }

    fn status(&self, me: &Hello) -> Result<RaftStatus, Fault> {
        Ok(status::status(&self.engine, me, &self.members.waiting_for()))
    }

    fn problems(&self) -> Vec<String> {
        status::problems(&self.engine, &self.members.waiting_for())
    }

    fn figures(&self, initialized: bool) -> Figures {
        self.engine.figures(initialized)
    }

    async fn probe(&self, within: Duration) -> Result<Probe, Fault> {
        status::probe(&self.engine, &self.noop, within).await
    }

    async fn transfer(&self, node: &str, within: Duration) -> Result<String, Fault> {
        self.members.transfer(node, within).await
    }

    async fn replace(&self, node: &str, me: &Hello, peers: &[PeerAnswer]) -> Result<String, Fault> {
        self.members.replace_named(node, me, peers).await
    }

    async fn read_backup(&self, id: u64, at: u64, within: Duration) -> Result<AdminReply, Fault> {
        self.backups.read(&self.engine, self.role, id, at, within).await
    }

    async fn write_backup(&self, piece: Upload, within: Duration) -> Result<String, Fault> {
        self.backups.write(&self.engine, self.role, piece, within).await
    }

    async fn call(&self, to: Destination, call: RaftCall) -> Result<RaftReply, Fault> {
        self.service.call(to, call).await
    }

    async fn hand_over(&self, within: Duration) {
        if self.leadership.borrow().mine {
            self.members.hand_over(within).await;
        }
    }

    async fn shutdown(&self) {
        self.engine.shutdown().await;
    }
}
