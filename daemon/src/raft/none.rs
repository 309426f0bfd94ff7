//! A node without Raft: its store is elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dsync::api::{AdminReply, Probe, RaftStatus};
use dsync::peer::{Destination, RaftCall, RaftReply};
use dsync_core::node::{ClusterId, Hello, RaftId};
use dsync_core::raft::formation::PeerAnswer;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::backup::Upload;
use super::figures::Figures;
use super::group::Group;
use super::monitor::Leadership;
use super::types::RaftNode;
use crate::telemetry::RaftState;

/// What keeps a node from serving, in words; nothing when it serves.
pub type Problems = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// Stands where a node with Raft has its group.
pub struct NoGroup {
    cluster: watch::Receiver<Option<ClusterId>>,
    /// Held so that whoever follows it waits.
    leadership: watch::Sender<Leadership>,
    problems: Problems,
    /// The store in words.
    store: String,
    /// Peers with other stores, in words: they keep this node from nothing.
    others: Mutex<Vec<String>>,
    /// Set while more peers have another store than have this one.
    apart: Arc<AtomicBool>,
}

impl NoGroup {
    /// `cluster` is the number of the store, which is `store` in words.
    pub fn new(
        cluster: watch::Receiver<Option<ClusterId>>,
        problems: Problems,
        store: String,
    ) -> Self {
        let (leadership, others) = (watch::Sender::default(), Mutex::default());
        Self { cluster, leadership, problems, store, others, apart: Arc::default() }
    }

    /// Tells by that flag while more peers have another store than have this one.
    #[must_use]
    pub fn telling(self, apart: Arc<AtomicBool>) -> Self {
        Self { apart, ..self }
    }

    fn refusal() -> Fault {
        Fault::new(Code::WrongRole, "this node keeps its state in Redis: it has no Raft")
            .hint("ask a lock node, or a node with STORE=raft")
    }
}

impl fmt::Debug for NoGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoGroup").finish_non_exhaustive()
    }
}

#[async_trait]
impl Group for NoGroup {
    fn leads(&self) -> bool {
        false
    }

    fn leader(&self) -> Option<(RaftId, RaftNode)> {
        None
    }

    fn has_leader(&self) -> bool {
        (self.problems)().is_empty()
    }

    fn idle_state(&self) -> &'static str {
        "no-store"
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.clone()
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    fn voters(&self) -> BTreeMap<RaftId, RaftNode> {
        BTreeMap::new()
    }

    async fn initialized(&self) -> bool {
        true
    }

    fn waiting_for(&self) -> String {
        (self.problems)().join("; ")
    }

    async fn step(&self, me: &Hello, answers: &[PeerAnswer]) {
        let peers = answers.iter().filter_map(|answer| answer.hello.as_ref().ok());
        let all = peers.clone().filter(|peer| peer.role == me.role && peer.node != me.node).count();
        let found: Vec<String> =
            peers.filter_map(|peer| me.other_store(peer, &self.store)).collect();
        self.apart.store(found.len() > all.saturating_sub(found.len()), Ordering::Relaxed);
        let mut known = self.others.lock();
        for new in found.iter().filter(|one| !known.contains(one)) {
            tracing::error!("{new}");
        }
        *known = found;
    }

    fn status(&self, _: &Hello) -> Result<RaftStatus, Fault> {
        Err(Self::refusal())
    }

    fn problems(&self) -> Vec<String> {
        let mut all = (self.problems)();
        all.extend(self.others.lock().iter().cloned());
        all
    }

    fn figures(&self, _: bool) -> Figures {
        Figures { term: 0, committed: 0, applied: 0, state: RaftState::None }
    }

    async fn probe(&self, _: Duration) -> Result<Probe, Fault> {
        Err(Self::refusal())
    }

    async fn transfer(&self, _: &str, _: Duration) -> Result<String, Fault> {
        Err(Self::refusal())
    }

    async fn replace(&self, _: &str, _: &Hello, _: &[PeerAnswer]) -> Result<String, Fault> {
        Err(Self::refusal())
    }

    async fn read_backup(&self, _: u64, _: u64, _: Duration) -> Result<AdminReply, Fault> {
        Err(Self::refusal())
    }

    async fn write_backup(&self, _: Upload, _: Duration) -> Result<String, Fault> {
        Err(Self::refusal())
    }

    async fn call(&self, _: Destination, _: RaftCall) -> Result<RaftReply, Fault> {
        Err(Self::refusal())
    }

    async fn hand_over(&self, _: Duration) {}

    async fn shutdown(&self) {}
}
