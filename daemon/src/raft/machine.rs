//! The bridge between openraft and a replicated state machine.
//!
//! A machine lives in memory behind a mutex: applied to here, read by its role. What is durable is
//! the log and the snapshots; after a start the machine is the newest snapshot plus the log.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dsync_core::lock::At;
use futures::{Stream, TryStreamExt};
use openraft::OptionalSend;
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{oneshot, watch};

use super::snapshot::{Snapshot, SnapshotStore};
use super::types::{Entry, LogId, Proposal, SnapshotMeta, StoredMembership, TypeConfig};

/// A deterministic state machine that the Raft engine replicates.
///
/// Two machines that applied the same entries are equal, and so are their snapshots byte by byte.
pub trait Machine: Send + 'static {
    /// What one log entry asks for.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What applying it answered, at the node that proposed it.
    type Response: Send + 'static;

    /// Applies one entry. Never reads a clock: the time is `at.t_ms`.
    fn apply(&mut self, at: At, command: Self::Command) -> Self::Response;
    /// The whole state, canonically encoded.
    ///
    /// # Errors
    /// Only when the state cannot be encoded, which is a fault of the program.
    fn snapshot(&self) -> io::Result<Vec<u8>>;
    /// Replaces the state by that of a snapshot, which covers the log up to `index`.
    ///
    /// # Errors
    /// The bytes are not a snapshot of this machine or of a version that it knows.
    fn restore(&mut self, index: u64, bytes: &[u8]) -> io::Result<()>;
    /// Replaces the state by that of a backup, which may be older than what clients have seen:
    /// numbers that must never be reused go on from well above it. The entry at `index` does it.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    fn restore_backup(&mut self, index: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cluster time of the last entry applied.
    fn now_ms(&self) -> u64;
}

/// What is known about the entries applied so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The last entry.
    pub last: Option<LogId>,
    /// The membership in force.
    pub membership: StoredMembership,
}

/// What one log entry holds. Append only: the variant's number is on disk.
#[derive(Serialize, serde::Deserialize)]
pub(super) enum Stored<C> {
    /// A command of the machine.
    Command(C),
    /// A piece of a backup; the last one replaces the state.
    Restore(Piece),
}

/// A piece of a backup on its way through the log.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct Piece {
    /// Names the restore.
    pub id: u64,
    /// Where the piece belongs; 0 begins anew.
    pub offset: u64,
    /// The piece.
    pub data: bytes::Bytes,
    /// xxh3 of the whole, with the last piece.
    pub done: Option<u64>,
}

/// The pieces of a backup so far: replicated state like the machine itself.
#[derive(Debug, Default, Serialize, serde::Deserialize)]
struct Restoring {
    id: u64,
    #[serde(with = "serde_bytes_vec")]
    data: Vec<u8>,
}

/// A byte vector as one run of bytes, not as a sequence of numbers.
mod serde_bytes_vec {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(data: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(data)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        bytes::Bytes::deserialize(from).map(Vec::from)
    }
}

/// What applying an entry answered.
pub(super) enum Response<R> {
    Command(R),
    Restore(Result<(), String>),
}

/// The machine with the backup that is being restored into it.
pub(super) struct Replica<M> {
    pub(super) machine: M,
    restoring: Restoring,
}

impl<M: Machine> Replica<M> {
    fn apply(&mut self, at: At, stored: Stored<M::Command>) -> Response<M::Response> {
        match stored {
            Stored::Command(command) => Response::Command(self.machine.apply(at, command)),
            Stored::Restore(piece) => Response::Restore(self.take(at.index, &piece)),
        }
    }

    fn take(&mut self, index: u64, piece: &Piece) -> Result<(), String> {
        if piece.offset == 0 {
            self.restoring = Restoring { id: piece.id, data: Vec::new() };
        }
        let have = u64::try_from(self.restoring.data.len()).unwrap_or(u64::MAX);
        if (self.restoring.id, have) != (piece.id, piece.offset) {
            return Err(format!("another restore began: {have} bytes of {} are here", piece.id));
        }
        self.restoring.data.extend_from_slice(&piece.data);
        let Some(checksum) = piece.done else { return Ok(()) };
        let data = std::mem::take(&mut self.restoring).data;
        if xxhash_rust::xxh3::xxh3_64(&data) != checksum {
            return Err("the backup was damaged on its way".to_owned());
        }
        self.machine.restore_backup(index, &data).map_err(|error| error.to_string())
    }

    pub(super) fn snapshot(&self) -> io::Result<Vec<u8>> {
        let mut bytes = postcard::to_stdvec(&self.restoring).map_err(io::Error::other)?;
        bytes.extend(self.machine.snapshot()?);
        Ok(bytes)
    }

    fn restore(&mut self, last: Option<&LogId>, bytes: &[u8]) -> io::Result<()> {
        let (restoring, rest) = postcard::take_from_bytes(bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        self.machine.restore(last.map_or(0, LogId::index), rest)?;
        self.restoring = restoring;
        Ok(())
    }
}

type Term = u64;
type Answer<R> = oneshot::Sender<Response<R>>;

/// Proposals of this node that wait for their entry to be applied.
///
/// An entry answers a proposal when both the term and the number are the same: only one node
/// proposes in a term, and it never uses a number twice.
pub(super) struct Pending<R> {
    waiting: Mutex<HashMap<u64, (Term, Answer<R>)>>,
}

impl<R> Pending<R> {
    fn new() -> Self {
        Self { waiting: Mutex::new(HashMap::new()) }
    }

    pub(super) fn insert(&self, nonce: u64, term: u64) -> oneshot::Receiver<Response<R>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().insert(nonce, (term, sender));
        receiver
    }

    pub(super) fn remove(&self, nonce: u64) {
        self.waiting.lock().remove(&nonce);
    }

    fn take(&self, nonce: u64, term: u64) -> Option<Answer<R>> {
        let mut waiting = self.waiting.lock();
        match waiting.get(&nonce) {
            Some((proposed_in, _)) if *proposed_in == term => {
                waiting.remove(&nonce).map(|(_, sender)| sender)
            }
            _ => None,
        }
    }
}

/// What the engine and openraft's state-machine worker share.
pub(super) struct Shared<M: Machine> {
    pub(super) machine: Mutex<Replica<M>>,
    pub(super) pending: Pending<M::Response>,
    /// The largest cluster time seen, in applied entries or a leader's appends.
    pub(super) seen_ms: AtomicU64,
    pub(super) applied: watch::Sender<AppliedState>,
    pub(super) snapshots: SnapshotStore,
    /// Why this machine cannot go on, in words for an operator.
    pub(super) failed: OnceLock<String>,
    /// Blocking work is done in place, as a simulation needs it.
    in_place: bool,
}

impl<M: Machine> Shared<M> {
    /// Starts from the newest snapshot, if there is one.
    pub(super) fn open(
        machine: M,
        snapshots: SnapshotStore,
        in_place: bool,
    ) -> io::Result<Arc<Self>> {
        let mut applied = AppliedState::default();
        let mut machine = Replica { machine, restoring: Restoring::default() };
        if let Some(snapshot) = snapshots.current()? {
            machine.restore(snapshot.meta.last_log_id.as_ref(), &snapshot.data)?;
            applied = AppliedState {
                last: snapshot.meta.last_log_id,
                membership: snapshot.meta.last_membership,
            };
        }
        Ok(Arc::new(Self {
            seen_ms: AtomicU64::new(machine.machine.now_ms()),
            machine: Mutex::new(machine),
            pending: Pending::new(),
            applied: watch::Sender::new(applied),
            snapshots,
            failed: OnceLock::new(),
            in_place,
        }))
    }

    pub(super) fn saw_time(&self, t_ms: u64) {
        self.seen_ms.fetch_max(t_ms, Ordering::Relaxed);
    }

    fn apply_one(&self, entry: Entry) -> io::Result<()> {
        let id = entry.log_id;
        // Held until the position is written too, so that a snapshot never sees one without the
        // other.
        let mut machine = self.machine.lock();
        let mut membership = None;
        match entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(members) => {
                membership = Some(StoredMembership::new(Some(id), members));
            }
            EntryPayload::Normal(Proposal { t_ms, nonce, data }) => {
                let command = postcard::from_bytes(&data).map_err(|error| {
                    // To leave it out would give this node a state of its own.
                    io::Error::new(io::ErrorKind::InvalidData, unreadable(id.index(), &error))
                })?;
                let term = id.committed_leader_id().term;
                let response = machine.apply(At { index: id.index(), term, t_ms }, command);
                self.saw_time(machine.machine.now_ms());
                if let Some(waiting) = self.pending.take(nonce, term) {
                    // The proposer may have gone away; the entry counts all the same.
                    drop(waiting.send(response));
                }
            }
        }
        self.applied.send_modify(|state| {
            state.last = Some(id);
            if let Some(membership) = membership {
                state.membership = membership;
            }
        });
        Ok(())
    }
}

fn unreadable(index: u64, error: &postcard::Error) -> String {
    format!(
        "log entry {index} cannot be read by this version of dsd ({error}): a later one wrote it. \
         Start that version on this node. If no later one was ever started, move this node's data \
         directory away and start it again: it copies the state from the others"
    )
}

impl<M: Machine> Shared<M> {
    /// Remembers why the machine stops: openraft tells it in words of its own.
    fn note<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| {
            self.failed.get_or_init(|| error.to_string());
        })
    }

    fn take_snapshot(&self) -> io::Result<Snapshot> {
        let snapshot = {
            let machine = self.machine.lock();
            let applied = self.applied.borrow().clone();
            let meta =
                SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership };
            Snapshot { meta, data: machine.snapshot()? }
        };
        self.snapshots.save(&snapshot)?;
        Ok(snapshot)
    }

    fn install(&self, snapshot: Snapshot) -> io::Result<()> {
        self.snapshots.save(&snapshot)?;
        let mut machine = self.machine.lock();
        machine.restore(snapshot.meta.last_log_id.as_ref(), &snapshot.data)?;
        self.saw_time(machine.machine.now_ms());
        self.applied.send_replace(AppliedState {
            last: snapshot.meta.last_log_id,
            membership: snapshot.meta.last_membership,
        });
        Ok(())
    }
}

impl<M: Machine> StateMachine<M> {
    /// Runs work that encodes or syncs megabytes where it stalls nobody; in a simulation in place,
    /// so that a run can be repeated exactly.
    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared<M>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.0.in_place {
            return work(&self.0);
        }
        let shared = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&shared)).await.map_err(io::Error::other)?
    }
}

/// openraft's handle on the state machine.
pub(super) struct StateMachine<M: Machine>(pub(super) Arc<Shared<M>>);

impl<M: Machine> Clone for StateMachine<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Machine> RaftSnapshotBuilder<TypeConfig> for StateMachine<M> {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>> {
        let snapshot = self.aside(Shared::take_snapshot).await?;
        Ok(openraft::alias::SnapshotOf::<TypeConfig, Vec<u8>> {
            meta: snapshot.meta,
            snapshot: snapshot.data,
        })
    }
}

impl<M: Machine> RaftStateMachine<TypeConfig> for StateMachine<M> {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.applied.borrow().clone();
        Ok((state.last, state.membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.0.note(self.0.apply_one(entry))?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: Vec<u8>) -> io::Result<()> {
        let snapshot = Snapshot { meta: meta.clone(), data };
        self.0.note(self.aside(|shared| shared.install(snapshot)).await)
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>>> {
        // A whole file is read and its checksum computed.
        let current = self.aside(|shared| Ok(shared.snapshots.current()?)).await?;
        Ok(current.map(|s| openraft::alias::SnapshotOf::<TypeConfig, Vec<u8>> {
            meta: s.meta,
            snapshot: s.data,
        }))
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
