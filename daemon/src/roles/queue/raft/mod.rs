//! Queues in the nodes' own Raft log: acknowledged is on the disks of a majority.

mod state;

use std::sync::Arc;
use std::time::Duration;

use dsync::api::{Answer, Durability, Head, QueueReply, QueueRequest, Ring, RingMember};
use dsync_core::Fault;
use dsync_core::config::Store as StoreKind;
use dsync_core::name::Name;
use dsync_core::queue::{Audit, Command, Outcome, PARTITIONS, Query, Request, Seen, partition_of};
use tokio::time::Instant;

pub use self::state::QueueState;
use super::pops::Store;
use super::serve::Desk;
use crate::raft::Engine;
use crate::roles::leader::{LeaderCall, ToLeader, fault_of, read_fault};
pub use crate::roles::proposer::COMMAND_MAX;
use crate::roles::proposer::Proposer;
use crate::telemetry::Metrics;

/// The queue service of a node whose store is Raft.
#[derive(Debug, Clone)]
pub struct RaftQueues {
    to_leader: ToLeader<QueueState>,
    desk: Desk<Proposer<QueueState>>,
}

impl RaftQueues {
    /// Starts the role on a running engine.
    pub fn start(to_leader: ToLeader<QueueState>, metrics: Arc<Metrics>) -> Self {
        let engine = to_leader.engine();
        let waiting = engine.peek(|state| state.waiting.clone());
        let proposer =
            Proposer::start(engine.clone(), to_leader.leadership(), (), Arc::clone(&metrics));
        Self { to_leader, desk: Desk::new(proposer, waiting, metrics) }
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine<QueueState> {
        self.to_leader.engine()
    }

    pub(super) fn waiters(&self) -> usize {
        self.desk.waiting.count()
    }

    pub(super) async fn call(
        &self,
        head: &Head,
        request: QueueRequest,
        within: Duration,
    ) -> Answer<QueueReply> {
        let until = match super::admit(&request, within) {
            Ok(until) => until,
            Err(fault) => return self.to_leader.forwarder().answer(Err(fault)),
        };
        self.to_leader.call(&QueueCall { queues: self, head, request }, until).await
    }

    async fn here(&self, request: &QueueRequest, until: Instant) -> Result<QueueReply, Fault> {
        match request {
            QueueRequest::Do { queue, command, wait_ms, .. } => {
                let wait = Duration::from_millis(*wait_ms);
                let done = self.desk.carry_out(queue, command, wait, until);
                let outcome = self.while_leading(done).await?;
                Ok(QueueReply::Outcome { outcome, durability: Durability::Quorum })
            }
            QueueRequest::Read(query) => self.read(query, until).await,
            QueueRequest::Ring { queue } => Ok(QueueReply::Ring(self.ring(queue.as_ref()))),
        }
    }

    /// A pop that waits at a node which leads no more would wait in vain.
    async fn while_leading(
        &self,
        done: impl Future<Output = Result<Outcome, Fault>>,
    ) -> Result<Outcome, Fault> {
        let deposed = async {
            let mut leadership = self.to_leader.leadership();
            while self.engine().leader_time().is_some() && leadership.changed().await.is_ok() {}
        };
        tokio::select! {
            biased;
            done = done => done,
            () = deposed => Err(fault_of(crate::raft::NotDone::NotLeader(None))),
        }
    }

    async fn read(&self, query: &Query, until: Instant) -> Result<QueueReply, Fault> {
        let within = until.saturating_duration_since(Instant::now());
        let now = self.engine().leader_time().map_or(0, |(_, t)| t);
        let seen = if let Query::Audit { queue } = query {
            Seen::Audit(self.audit(queue, until).await?)
        } else {
            let look = |state: &QueueState| state.machine.query(now, query);
            self.engine().read(within, look).await.map_err(read_fault)?
        };
        let owner = Some(self.to_leader.forwarder().node().to_owned());
        Ok(QueueReply::Seen { seen, owner, store: StoreKind::Raft.as_str().to_owned() })
    }

    /// In parts, between which commands are carried out.
    async fn audit(&self, queue: &Name, until: Instant) -> Result<Vec<String>, Fault> {
        let mut audit = Audit::new(queue.clone());
        loop {
            let within = until.saturating_duration_since(Instant::now());
            let part = |state: &QueueState| state.machine.audit(&mut audit);
            if let Some(found) = self.engine().read(within, part).await.map_err(read_fault)? {
                return Ok(found);
            }
        }
    }

    /// The leader is in charge of everything.
    fn ring(&self, queue: Option<&Name>) -> Ring {
        let forwarder = self.to_leader.forwarder();
        let me = forwarder.node();
        let members = self.engine().members().into_iter().map(|(node, live)| RingMember {
            address: forwarder.address_of(&node),
            partitions: if node.node == me { PARTITIONS } else { 0 },
            live: live || node.node == me,
            node: node.node,
        });
        Ring {
            store: StoreKind::Raft.as_str().to_owned(),
            members: members.collect(),
            partition: queue.map(partition_of),
            owner: queue.map(|_| me.to_owned()),
        }
    }
}

/// A request on its way.
struct QueueCall<'a> {
    queues: &'a RaftQueues,
    head: &'a Head,
    request: QueueRequest,
}

impl LeaderCall for QueueCall<'_> {
    type Reply = QueueReply;

    fn is_long_poll(&self) -> bool {
        super::is_long_poll(&self.request)
    }

    async fn here(&self, until: Instant) -> Result<QueueReply, Fault> {
        self.queues.here(&self.request, until).await
    }

    async fn there(&self, address: &str, until: Instant) -> Result<Answer<QueueReply>, Fault> {
        let forwarder = self.queues.to_leader.forwarder();
        forwarder.hand_on(address, self.head, self.request.clone(), until).await
    }
}

impl Store for Proposer<QueueState> {
    async fn submit(&self, queue: Name, command: Command) -> Result<Outcome, Fault> {
        Ok(Self::submit(self, Request { queue, command }).await?)
    }

    fn name(&self) -> String {
        "the quorum".to_owned()
    }
}
