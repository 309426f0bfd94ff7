//! The memory in the nodes' own Raft log: acknowledged is on the disks of a majority.

use std::sync::Arc;

use dsync::api::Answer;
use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::Fault;
use dsync_core::cache::command::{Ask, Command, Found, Query, Sign, Told};
use dsync_core::cache::snapshot::RAFT_RUN;
use dsync_core::cache::view::Seen;
use dsync_core::node::Role;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::beats::Beats;
use super::state::MemoryState;
use crate::raft::Engine;
use crate::roles::cache::Peers;
use crate::roles::leader::{LeaderCall, ToLeader, no_leader, read_fault};
use crate::roles::proposer::Proposer;
use crate::telemetry::Metrics;

/// The memory that the nodes keep themselves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RaftMemory {
    to_leader: ToLeader<MemoryState>,
    proposer: Proposer<MemoryState>,
    peers: Peers,
    beats: Arc<Mutex<Beats>>,
}

impl RaftMemory {
    /// Starts it on a running engine. `limit`: the bytes that all keys may take while this node
    /// leads; 0: no limit.
    pub fn start(
        to_leader: ToLeader<MemoryState>,
        peers: Peers,
        limit: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        let engine = to_leader.engine().clone();
        let proposer = Proposer::start(engine, to_leader.leadership(), limit, metrics);
        Self { to_leader, proposer, peers, beats: Arc::default() }
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine<MemoryState> {
        self.to_leader.engine()
    }

    /// Asks the leader, wherever it is: [`Memory::ask`](super::Memory::ask).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn ask(&self, ask: &Ask, until: Instant) -> Result<Told, Fault> {
        self.to_leader.call(&MemoryCall { memory: self, ask }, until).await.result
    }

    /// Answers a question that another node sent to the leader: [`Memory::serve`](super::Memory::serve).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn serve(&self, ask: Ask, until: Instant) -> Result<Told, Fault> {
        if self.engine().leader_time().is_none() {
            return Err(no_leader(Role::Cache));
        }
        self.here(&ask, until).await
    }

    async fn here(&self, ask: &Ask, until: Instant) -> Result<Told, Fault> {
        match ask {
            Ask::Do(command) => self.carry_out(command, until).await,
            Ask::Look(query) => self.look(query, until).await.map(Told::Found),
            Ask::Live(sign) => self.live(sign, until).await.map(Told::Seen),
        }
    }

    async fn carry_out(&self, command: &Command, until: Instant) -> Result<Told, Fault> {
        let proposed = self.proposer.submit(command.clone());
        match tokio::time::timeout_at(until, proposed).await {
            Ok(done) => Ok(Told::Done(done?)),
            Err(_) => Err(Fault::unknown("the quorum did not answer in time")),
        }
    }

    async fn look(&self, query: &Query, until: Instant) -> Result<Found, Fault> {
        let within = until.saturating_duration_since(Instant::now());
        let now = self.engine().leader_time().map_or(0, |(_, t)| t);
        let look = |state: &MemoryState| state.machine.look(now, query);
        self.engine().read(within, look).await.map_err(read_fault)
    }

    async fn live(&self, sign: &Sign, until: Instant) -> Result<Seen, Fault> {
        let before = self.beats.lock().note(sign, Instant::now());
        let within = until.saturating_duration_since(Instant::now());
        let look = |state: &MemoryState| (state.machine.view().clone(), state.machine.serving());
        let (view, serving) = self.engine().read(within, look).await.map_err(read_fault)?;
        let mut beats = self.beats.lock().all(&view, Instant::now());
        if let Some(before) = before {
            beats.retain(|beat| beat.member.node != before.member.node);
            beats.push(before);
            beats.sort();
        }
        Ok(Seen { view, serving, run: RAFT_RUN.to_owned(), beats })
    }
}

/// A question on its way.
struct MemoryCall<'a> {
    memory: &'a RaftMemory,
    ask: &'a Ask,
}

impl LeaderCall for MemoryCall<'_> {
    type Reply = Told;

    fn is_long_poll(&self) -> bool {
        false
    }

    async fn here(&self, until: Instant) -> Result<Told, Fault> {
        self.memory.here(self.ask, until).await
    }

    async fn there(&self, address: &str, until: Instant) -> Result<Answer<Told>, Fault> {
        let call = CacheCall::Memory(self.ask.clone());
        match self.memory.peers.call(address, 0, call, until).await? {
            CacheAnswer::Memory(told) => Ok(self.memory.to_leader.forwarder().answer(Ok(told))),
            CacheAnswer::View(_)
            | CacheAnswer::Opened(..)
            | CacheAnswer::Wait(_)
            | CacheAnswer::Renewed
            | CacheAnswer::Over
            | CacheAnswer::NotNow(_)
            | CacheAnswer::Granted { .. }
            | CacheAnswer::Executed { .. }
            | CacheAnswer::Full(..)
            | CacheAnswer::Unknown
            | CacheAnswer::Acknowledged { .. }
            | CacheAnswer::Directory(..) => {
                Err(Fault::unknown(format!("{address} answered something else than asked")))
            }
        }
    }
}
