//! The receiving side of Raft: checks whom a call is meant for, then hands it to openraft.

use std::sync::Arc;

use dsync::peer::{Destination, Membership, RaftCall, RaftReply};
use dsync_core::{Code, Fault};
use openraft::alias::SnapshotOf;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
};
use parking_lot::Mutex;

use super::engine::Engine;
use super::identity::Identity;
use super::machine::Machine;
use super::numbers;
use super::types::{
    SnapshotMeta, StoredMembership, TypeConfig, entry_from_peer, log_id_from_peer, log_id_to_peer,
    membership_from_peer, vote_from_peer, vote_to_peer,
};

/// Largest snapshot taken in: what does not fit in memory twice cannot be restored anyway.
const SNAPSHOT_MAX: u64 = 4 << 30;

/// A snapshot on its way in.
#[derive(Debug, Default)]
struct Incoming {
    from: u64,
    id: u64,
    data: Vec<u8>,
}

/// One piece of a snapshot with what it says of the whole.
struct Piece {
    vote: dsync::peer::Vote,
    id: u64,
    last: Option<dsync::peer::LogId>,
    membership_at: Option<dsync::peer::LogId>,
    membership: Membership,
    offset: u64,
    data: bytes::Bytes,
    done: bool,
}

/// The receiving side of one node.
pub struct RaftService<M: Machine> {
    engine: Engine<M>,
    identity: Arc<Mutex<Identity>>,
    incoming: Mutex<Incoming>,
}

impl<M: Machine> std::fmt::Debug for RaftService<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftService").field("engine", &self.engine).finish_non_exhaustive()
    }
}

fn internal(error: impl std::fmt::Display) -> Fault {
    Fault::unavailable(format!("raft: {error}"))
}

fn unusable(error: impl std::fmt::Display) -> Fault {
    Fault::new(Code::InvalidArgument, format!("raft call cannot be used: {error}"))
}

impl<M: Machine> RaftService<M> {
    /// The receiving side for this engine.
    pub fn new(engine: Engine<M>, identity: Arc<Mutex<Identity>>) -> Self {
        Self { engine, identity, incoming: Mutex::new(Incoming::default()) }
    }

    /// Answers one call.
    ///
    /// # Errors
    /// A misaddressed call (another cluster, another node or its former self) is refused; so is
    /// one that cannot be read, or has numbers that would end this node.
    pub async fn call(&self, to: Destination, call: RaftCall) -> Result<RaftReply, Fault> {
        self.admit(to)?;
        numbers::check(&call, || self.engine.own_numbers()).map_err(unusable)?;
        match call {
            RaftCall::Append { vote, prev, commit, entries, t_ms } => {
                let entries: Result<Vec<_>, _> = entries.into_iter().map(entry_from_peer).collect();
                let request = AppendEntriesRequest {
                    vote: vote_from_peer(&vote).map_err(unusable)?,
                    prev_log_id: prev.map(log_id_from_peer),
                    entries: entries.map_err(unusable)?,
                    leader_commit: commit.map(log_id_from_peer),
                };
                self.append(to.from, t_ms, request).await
            }
            RaftCall::Vote { vote, last, pre, transfer } => {
                let mut request = VoteRequest::<TypeConfig>::new(
                    vote_from_peer(&vote).map_err(unusable)?,
                    last.map(log_id_from_peer),
                );
                request.leadership_transfer = transfer;
                let raft = self.engine.raft();
                let voted =
                    if pre { raft.pre_vote(request).await } else { raft.vote(request).await }
                        .map_err(internal)?;
                Ok(RaftReply::Voted {
                    vote: vote_to_peer(&voted.vote),
                    granted: voted.vote_granted,
                    last: voted.last_log_id.as_ref().map(log_id_to_peer),
                })
            }
            RaftCall::Snapshot {
                vote,
                id,
                last,
                membership_at,
                membership,
                offset,
                data,
                done,
            } => {
                let piece = Piece { vote, id, last, membership_at, membership, offset, data, done };
                self.receive(to.from, piece).await
            }
            RaftCall::Transfer { from, to, last } => {
                let request = TransferLeaderRequest::new(
                    vote_from_peer(&from).map_err(unusable)?,
                    to,
                    last.map(log_id_from_peer),
                );
                self.engine
                    .raft()
                    .handle_transfer_leader(request)
                    .await
                    .map_err(internal)?
                    .map_err(internal)?;
                Ok(RaftReply::Transferring)
            }
        }
    }

    /// Refuses what is meant for someone else; takes the cluster's identity on first contact.
    fn admit(&self, to: Destination) -> Result<(), Fault> {
        let transport = self.engine.transport();
        let me = transport.raft_id();
        if to.to != me {
            return Err(Fault::new(
                Code::WrongCluster,
                format!("raft call for {:016x}, this node is {me:016x}", to.to),
            ));
        }
        match transport.cluster() {
            Some(mine) if mine == to.cluster => Ok(()),
            Some(mine) => Err(Fault::new(
                Code::WrongCluster,
                format!("raft call of cluster {}, this node belongs to {mine}", to.cluster),
            )),
            None => {
                let mut identity = self.identity.lock();
                identity.join(to.cluster).map_err(internal)?;
                transport.set_cluster(to.cluster);
                tracing::info!(cluster = %to.cluster, "joined the cluster");
                Ok(())
            }
        }
    }

    async fn append(
        &self,
        from: u64,
        t_ms: u64,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<RaftReply, Fault> {
        let reply = self.engine.raft().append_entries(request).await.map_err(internal)?;
        if !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
            self.engine.transport().heard_leader(from, t_ms);
        }
        Ok(match reply {
            AppendEntriesResponse::Success => RaftReply::Appended,
            AppendEntriesResponse::PartialSuccess(id) => {
                RaftReply::AppendedUpTo(id.as_ref().map(log_id_to_peer))
            }
            AppendEntriesResponse::Conflict => RaftReply::Conflict,
            AppendEntriesResponse::HigherVote(vote) => RaftReply::HigherVote(vote_to_peer(&vote)),
        })
    }

    /// Refuses a snapshot that contradicts what is committed here: openraft ends the node over one.
    fn fits(&self, last: Option<dsync::peer::LogId>) -> Result<(), Fault> {
        let committed = self.engine.metrics().local_committed.as_ref().map(log_id_to_peer);
        match (last, committed) {
            (Some(last), Some(committed)) if last > committed && last.index <= committed.index => {
                Err(unusable(format!(
                    "a snapshot up to {} of term {}, here {} of term {} is committed",
                    last.index, last.term, committed.index, committed.term
                )))
            }
            _ => Ok(()),
        }
    }

    /// Adds a piece; the last one installs the whole.
    async fn receive(&self, from: u64, piece: Piece) -> Result<RaftReply, Fault> {
        let vote = vote_from_peer(&piece.vote).map_err(unusable)?;
        let data = {
            let mut incoming = self.incoming.lock();
            if piece.offset == 0 {
                *incoming = Incoming { from, id: piece.id, data: Vec::new() };
            }
            let expected = u64::try_from(incoming.data.len()).unwrap_or(u64::MAX);
            if (incoming.from, incoming.id, expected) != (from, piece.id, piece.offset) {
                return Err(unusable(format!(
                    "snapshot piece at {} of transfer {}, expected {expected} of {}",
                    piece.offset, piece.id, incoming.id
                )));
            }
            if expected > SNAPSHOT_MAX {
                return Err(unusable(format!("snapshot larger than {SNAPSHOT_MAX} bytes")));
            }
            incoming.data.extend_from_slice(&piece.data);
            if !piece.done {
                return Ok(RaftReply::Received(vote_to_peer(&vote)));
            }
            std::mem::take(&mut incoming.data)
        };
        self.fits(piece.last)?;
        self.engine.transport().heard_leader(from, 0);
        let membership = membership_from_peer(&piece.membership).map_err(unusable)?;
        let meta = SnapshotMeta {
            last_log_id: piece.last.map(log_id_from_peer),
            last_membership: StoredMembership::new(
                piece.membership_at.map(log_id_from_peer),
                membership,
            ),
        };
        let snapshot = SnapshotOf::<TypeConfig, Vec<u8>> { meta, snapshot: data };
        let reply =
            self.engine.raft().install_full_snapshot(vote, snapshot).await.map_err(internal)?;
        Ok(RaftReply::Received(vote_to_peer(&reply.vote)))
    }
}
