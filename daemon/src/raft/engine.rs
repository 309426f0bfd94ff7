//! The Raft engine: proposes commands, answers linearizable reads, tells how it stands.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync_core::config::Timers;
use dsync_core::node::RaftId;
use dsync_core::raft::LeaderClock;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::impls::ProgressResponder;
use openraft::{Instant as _, Raft, ReadPolicy};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::log::{LogStore, LogWatch};
use super::machine::{AppliedState, Machine, Piece, Response, Shared, StateMachine, Stored};
use super::network::PeerNetworkFactory;
use super::numbers::OwnNumbers;
use super::options::{EngineOptions, raft_config};
use super::snapshot::SnapshotStore;
use super::transport::Transport;
use super::types::{LogId, Proposal, RaftNode, TypeConfig};

/// The metrics that openraft publishes.
pub type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Why a proposal or a read was not carried out here.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotDone {
    /// Another node leads, or none does. What was proposed may still be carried out.
    #[error("not the leader")]
    NotLeader(Option<(u64, RaftNode)>),
    /// No quorum answers.
    #[error("no quorum answers: {0}")]
    NoQuorum(String),
    /// The engine has stopped, by request or by a fault of disk or program.
    #[error("the raft engine has stopped: {0}")]
    Stopped(String),
    /// The command cannot be encoded, or is too large for one entry.
    #[error("{0}")]
    Refused(String),
}

/// How far a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reached {
    /// Index up to which the log is known here to be committed.
    pub committed: u64,
    /// Index of the entry applied last.
    pub applied: u64,
    /// The term of that entry.
    pub term: u64,
}

/// A replicated state machine. Cheap to clone.
///
/// # Consistency
/// What [`propose`](Self::propose) answered is on the disks of a quorum and is never lost. What
/// [`read`](Self::read) sees contains every proposal that was answered before it was called.
pub struct Engine<M: Machine> {
    inner: Arc<Inner<M>>,
}

impl<M: Machine> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<M: Machine> std::fmt::Debug for Engine<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("id", self.inner.raft.node_id()).finish_non_exhaustive()
    }
}

struct Inner<M: Machine> {
    raft: Raft<TypeConfig, StateMachine<M>>,
    shared: Arc<Shared<M>>,
    transport: Arc<Transport>,
    log: LogWatch,
    clock: Mutex<Option<(u64, LeaderClock)>>,
    nonce: AtomicU64,
    started: Instant,
    timers: Timers,
    command_max: usize,
    state_hash: Mutex<(u64, u64)>,
}

impl<M: Machine> Engine<M> {
    /// Starts the engine on what is on disk. It takes part once the cluster is formed.
    ///
    /// # Errors
    /// The log or the newest snapshot cannot be read; the text names the file.
    pub async fn open(
        machine: M,
        log: LogStore,
        snapshots: SnapshotStore,
        transport: Arc<Transport>,
        (timers, options): (Timers, EngineOptions),
    ) -> io::Result<Self> {
        let shared = Shared::open(machine, snapshots, log.is_simulated())?;
        let time = Arc::downgrade(&shared);
        transport.on_time(Box::new(move |t_ms| {
            if let Some(shared) = time.upgrade() {
                shared.saw_time(t_ms);
            }
        }));
        let watch = log.watch();
        let covered = shared.applied.borrow().last;
        shared.snapshots.check_covers(covered, watch.status().purged)?;
        let raft = Raft::new(
            transport.raft_id(),
            raft_config(&timers, options)?,
            PeerNetworkFactory::new(Arc::clone(&transport)),
            log,
            StateMachine(Arc::clone(&shared)),
        )
        .await
        .map_err(io::Error::other)?;
        let inner = Inner {
            raft,
            shared,
            transport,
            log: watch,
            clock: Mutex::new(None),
            nonce: AtomicU64::new(1),
            started: Instant::now(),
            timers,
            command_max: options.command_max,
            state_hash: Mutex::new((0, 0)),
        };
        let engine = Self { inner: Arc::new(inner) };
        let clock = Arc::downgrade(&engine.inner);
        engine.inner.transport.set_clock(Box::new(move || {
            clock.upgrade().map_or(0, |inner| inner.leader_time().map_or(0, |(_, t)| t))
        }));
        Ok(engine)
    }

    /// openraft's handle, for the parts of the engine.
    pub(super) fn raft(&self) -> &Raft<TypeConfig, StateMachine<M>> {
        &self.inner.raft
    }

    /// How the log stands.
    pub fn log(&self) -> &LogWatch {
        &self.inner.log
    }

    /// The way to the peers.
    pub fn transport(&self) -> &Arc<Transport> {
        &self.inner.transport
    }

    /// The timers in force.
    pub fn timers(&self) -> &Timers {
        &self.inner.timers
    }

    /// openraft's metrics as of now.
    pub fn metrics(&self) -> Metrics {
        self.inner.raft.metrics().borrow_watched().clone()
    }

    /// Follows what has been applied here.
    pub fn applied(&self) -> watch::Receiver<AppliedState> {
        self.inner.shared.applied.subscribe()
    }

    /// How far this node has come; costs little, so that a simulation asks after every step.
    pub fn reached(&self) -> Reached {
        let metrics = self.inner.raft.metrics();
        let committed = metrics.borrow_watched().local_committed.as_ref().map(LogId::index);
        let applied = self.inner.shared.applied.borrow();
        let last = applied.last.as_ref();
        Reached {
            committed: committed.unwrap_or(0),
            applied: last.map_or(0, LogId::index),
            term: last.map_or(0, |id| id.committed_leader_id().term),
        }
    }

    /// Looks at the state as applied here, however old.
    pub fn peek<R>(&self, look: impl FnOnce(&mut M) -> R) -> R {
        look(&mut self.inner.shared.machine.lock().machine)
    }

    /// What this node's own numbers are, to judge a peer's by.
    pub(super) fn own_numbers(&self) -> OwnNumbers {
        let metrics = self.inner.raft.metrics();
        let seen = metrics.borrow_watched();
        OwnNumbers {
            term: seen.current_term.max(seen.vote.leader_id().term),
            index: seen.last_log_index.unwrap_or(0),
            t_ms: self.inner.shared.seen_ms.load(Ordering::Relaxed),
        }
    }

    /// The leader as this node knows it, itself included.
    pub fn leader(&self) -> Option<(u64, RaftNode)> {
        let metrics = self.inner.raft.metrics();
        let seen = metrics.borrow_watched();
        let id = seen.current_leader?;
        let node = seen.membership_config.membership().get_node(&id)?.clone();
        Some((id, node))
    }

    /// True when a leader was heard within twice the longest election timeout.
    pub fn hears_leader(&self) -> bool {
        let patience = Duration::from_millis(2 * self.inner.timers.election_max_ms);
        let heard = self.inner.transport.leader_heard();
        heard.is_some_and(|(_, at)| at.elapsed() < patience)
    }

    /// Term and cluster time while this node leads.
    pub fn leader_time(&self) -> Option<(u64, u64)> {
        self.inner.leader_time()
    }

    /// While this node leads: time since a quorum last acknowledged it.
    pub fn quorum_ack_age(&self) -> Option<Duration> {
        self.inner.raft.as_leader().ok()?;
        self.inner.quorum_ack_age()
    }

    /// While this node leads: how old the last acknowledgement of a quorum is, if that is so long
    /// that another leader may have been elected.
    pub fn quorum_lost_for(&self) -> Option<Duration> {
        let age = self.quorum_ack_age()?;
        (age > Duration::from_millis(2 * self.inner.timers.election_max_ms)).then_some(age)
    }

    /// Proposes a command and waits until it is applied here.
    ///
    /// # Errors
    /// [`NotDone::NotLeader`] and [`NotDone::Stopped`] leave open whether the command was carried
    /// out; commands that may be repeated must be recognised by the machine.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the command is carried out.
    pub async fn propose(&self, command: &M::Command) -> Result<M::Response, NotDone> {
        match self.write(&Stored::Command(command)).await? {
            Response::Command(response) => Ok(response),
            Response::Restore(_) => Err(NotDone::Refused("answered as a restore".to_owned())),
        }
    }

    /// Puts a piece of a backup through the log; the last one replaces the state of all nodes.
    ///
    /// # Errors
    /// [`NotDone::Refused`] when the backup is damaged or another restore began meanwhile.
    ///
    /// # Cancel safety
    /// As [`propose`](Self::propose).
    pub async fn restore(&self, piece: Piece) -> Result<(), NotDone> {
        match self.write(&Stored::<&M::Command>::Restore(piece)).await? {
            Response::Restore(done) => done.map_err(NotDone::Refused),
            Response::Command(_) => Err(NotDone::Refused("answered as a command".to_owned())),
        }
    }

    async fn write(&self, stored: &Stored<&M::Command>) -> Result<Response<M::Response>, NotDone> {
        let data = postcard::to_stdvec(stored)
            .map_err(|error| NotDone::Refused(format!("cannot encode the command: {error}")))?;
        let most = self.inner.command_max;
        if data.len() > most {
            return Err(NotDone::Refused(format!(
                "the command is {} bytes, at most {most} fit in a log entry",
                data.len()
            )));
        }
        let (leader, t_ms) = self.inner.lead()?;
        let nonce = self.inner.nonce.fetch_add(1, Ordering::Relaxed);
        let applied = self.inner.shared.pending.insert(nonce, leader);
        let forget = Forget { shared: &self.inner.shared, nonce };
        let (responder, written) = ProgressResponder::complete_only();
        let proposal = Proposal { t_ms, nonce, data: data.into() };
        self.inner
            .raft
            .write(proposal)
            .with_leader(leader)
            .responder(responder)
            .await
            .map_err(|fatal| NotDone::Stopped(self.why(&fatal)))?;
        let result = first_of(applied, written).await;
        drop(forget);
        result
    }

    /// Looks at the state with every proposal applied that was answered before the call.
    ///
    /// # Errors
    /// [`NotDone::NotLeader`] here, [`NotDone::NoQuorum`] when none acknowledges within
    /// `timeout`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read<R>(
        &self,
        timeout: Duration,
        look: impl FnOnce(&M) -> R,
    ) -> Result<R, NotDone> {
        use openraft::errors::LinearizableReadError as E;
        let raft = &self.inner.raft;
        let ready = tokio::time::timeout(timeout, async {
            let reading = raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(
                |error| match error {
                    RaftError::APIError(E::ForwardToLeader(to)) => {
                        NotDone::NotLeader(to.leader_id.zip(to.leader_node))
                    }
                    RaftError::APIError(E::QuorumNotEnough(e)) => NotDone::NoQuorum(e.to_string()),
                    RaftError::Fatal(fatal) => NotDone::Stopped(self.why(&fatal)),
                },
            )?;
            reading.await_ready(raft).await.map_err(|e| NotDone::Stopped(self.why(&e)))
        });
        match ready.await {
            Ok(done) => done?,
            Err(_) => {
                return Err(NotDone::NoQuorum(format!(
                    "no acknowledgement within {} ms",
                    timeout.as_millis()
                )));
            }
        };
        Ok(look(&self.inner.shared.machine.lock().machine))
    }

    /// Index applied last and a hash of the state after it: equal on all nodes at one index.
    /// Encodes the whole state once per index asked for.
    pub fn state_hash(&self) -> (u64, u64) {
        let machine = self.inner.shared.machine.lock();
        let last = self.inner.shared.applied.borrow().last;
        let index = last.as_ref().map_or(0, LogId::index);
        let mut known = self.inner.state_hash.lock();
        if known.0 != index {
            let bytes = machine.snapshot().unwrap_or_default();
            *known = (index, xxhash_rust::xxh3::xxh3_64(&bytes));
        }
        *known
    }

    /// Why the engine has stopped: in the words of its log or its machine if one of them failed.
    pub(super) fn why(&self, fatal: &impl ToString) -> String {
        let log = self.inner.log.failure().map(|failure| failure.to_string());
        let failed = log.or_else(|| self.inner.shared.failed.get().cloned());
        failed.unwrap_or_else(|| fatal.to_string())
    }

    /// Stops the engine; what is answered is on disk already.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(%error, "the raft engine did not stop cleanly");
        }
    }
}

/// Forgets a proposal whose caller has gone away or has its answer.
struct Forget<'a, M: Machine> {
    shared: &'a Shared<M>,
    nonce: u64,
}

impl<M: Machine> Drop for Forget<'_, M> {
    fn drop(&mut self) {
        self.shared.pending.remove(self.nonce);
    }
}

type Written =
    Result<openraft::raft::ClientWriteResponse<TypeConfig>, ClientWriteError<TypeConfig>>;

/// The response once the entry is applied, or why it will not be.
async fn first_of<R>(
    applied: oneshot::Receiver<R>,
    written: impl Future<Output = Result<Written, impl std::error::Error>>,
) -> Result<R, NotDone> {
    let mut applied = std::pin::pin!(applied);
    let written = std::pin::pin!(written);
    tokio::select! {
        biased;
        response = &mut applied => {
            response.map_err(|_| NotDone::Stopped("the proposal was dropped".to_owned()))
        }
        outcome = written => match outcome {
            // Applied: the response was sent before this one.
            Ok(Ok(_)) => applied.await.map_err(|_| NotDone::NotLeader(None)),
            Ok(Err(ClientWriteError::ForwardToLeader(to))) => {
                Err(NotDone::NotLeader(to.leader_id.zip(to.leader_node)))
            }
            Ok(Err(ClientWriteError::ChangeMembershipError(error))) => {
                Err(NotDone::Refused(error.to_string()))
            }
            Ok(Err(
                ClientWriteError::LogEntryDiscarded(_) | ClientWriteError::PreconditionFailed(_),
            ))
            | Err(_) => Err(NotDone::NotLeader(None)),
        },
    }
}

impl<M: Machine> Inner<M> {
    fn local_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Time since a quorum last acknowledged this leader. A leader that is the only voter is its own
    /// quorum, at any time; openraft counts only what others acknowledge.
    fn quorum_ack_age(&self) -> Option<Duration> {
        let metrics = self.raft.metrics();
        let seen = metrics.borrow_watched();
        let me = std::slice::from_ref(self.raft.node_id());
        let alone = |voters: &BTreeSet<RaftId>| voters.iter().eq(me);
        if seen.membership_config.membership().get_joint_config().iter().all(alone) {
            return Some(Duration::ZERO);
        }
        seen.last_quorum_acked.map(|at| at.elapsed())
    }

    /// Term and time if this node leads.
    fn lead(&self) -> Result<(u64, u64), NotDone> {
        self.leader_time().ok_or_else(|| {
            let metrics = self.raft.metrics();
            let seen = metrics.borrow_watched();
            let leader = seen.current_leader.filter(|id| id != self.raft.node_id());
            let node =
                leader.and_then(|id| seen.membership_config.membership().get_node(&id).cloned());
            NotDone::NotLeader(leader.zip(node))
        })
    }

    fn leader_time(&self) -> Option<(u64, u64)> {
        let leader = self.raft.as_leader().ok()?;
        let term = leader.term();
        let local = self.local_ms();
        let acked = self
            .quorum_ack_age()
            .map(|age| local.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        let base = self.shared.seen_ms.load(Ordering::Relaxed);
        let mut clock = self.clock.lock();
        match clock.as_mut() {
            Some((of, clock)) if *of == term => {
                clock.read(local, acked);
                Some((term, clock.catch_up(base)))
            }
            _ => {
                let new = LeaderClock::new(base, local, self.timers.election_max_ms);
                *clock = Some((term, new));
                Some((term, base))
            }
        }
    }
}
