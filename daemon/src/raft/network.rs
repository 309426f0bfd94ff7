//! Raft's way to its peers: one lazily opened connection per peer and class.
//!
//! Any transport error or deadline drops the connection and is told to openraft as `Unreachable`,
//! which backs off; a dead connection that stays in a pool once kept a restarted follower out for
//! ever.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dsync::PeerConnection;
use dsync::peer::{self, Destination, RaftCall, RaftReply};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::numbers;
use super::transport::Transport;
use super::types::{
    RaftNode, TypeConfig, Vote, entry_to_peer, log_id_from_peer, log_id_to_peer,
    membership_to_peer, vote_from_peer, vote_to_peer,
};

/// Bytes of one piece of a snapshot.
const SNAPSHOT_PIECE: usize = 512 * 1024;

/// An append waits for the follower's disk; openraft's own limit is a part of the heartbeat
/// interval.
const APPEND_TIMEOUT: Duration = Duration::from_secs(2);
/// Appends on their way to one follower.
const PIPELINE: usize = 4;

/// Replies to appends, in the order of the appends.
type Appends<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

/// What a connection is for: a snapshot never delays a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Heartbeat,
    Append,
    Snapshot,
}

/// Makes the clients that openraft asks for.
#[derive(Debug)]
pub(super) struct PeerNetworkFactory(Arc<Transport>);

impl PeerNetworkFactory {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        Self(transport)
    }

    fn client(&self, target: u64, node: &RaftNode, class: Class) -> PeerNetwork {
        PeerNetwork {
            transport: Arc::clone(&self.0),
            target,
            node: node.clone(),
            class,
            connection: None,
            broken: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworkFactory {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &RaftNode) -> PeerNetwork {
        self.client(target, node, Class::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &RaftNode) -> PeerNetwork {
        self.client(target, node, Class::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &RaftNode) -> PeerNetwork {
        self.client(target, node, Class::Snapshot)
    }
}

/// One peer, one class.
pub(super) struct PeerNetwork {
    transport: Arc<Transport>,
    target: u64,
    node: RaftNode,
    class: Class,
    connection: Option<PeerConnection>,
    /// An append on the connection failed: the next one opens another.
    broken: Arc<AtomicBool>,
}

fn unreachable(why: String) -> Unreachable<TypeConfig> {
    Unreachable::new(&io::Error::other(why))
}

fn unexpected(reply: &RaftReply) -> RPCError<TypeConfig> {
    RPCError::Unreachable(unreachable(format!("an answer to another question: {reply:?}")))
}

impl PeerNetwork {
    /// Calls the peer; whatever goes wrong, the connection is given up.
    async fn call(
        &mut self,
        call: RaftCall,
        within: Duration,
    ) -> Result<RaftReply, Unreachable<TypeConfig>> {
        self.try_call(call, within).await.map_err(|why| {
            self.connection = None;
            self.transport.note_failure(self.target, &self.node, &why);
            unreachable(why)
        })
    }

    async fn try_call(&mut self, call: RaftCall, within: Duration) -> Result<RaftReply, String> {
        let client = self.connect(within).await?;
        let to = self.transport.destination(self.target)?;
        let reply = client
            .raft(to, call, within)
            .await
            .map_err(|error| error.to_string())?
            .map_err(|fault| fault.to_string())?;
        self.transport.note_success(self.target);
        Ok(reply)
    }

    async fn connect(&mut self, within: Duration) -> Result<PeerConnection, String> {
        if let Some(open) = self.connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let bulk = self.class != Class::Heartbeat;
        let connection = self.transport.dial(&self.node, bulk, within).await?;
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn ask_for_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        pre: bool,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let call = RaftCall::Vote {
            vote: vote_to_peer(&rpc.vote),
            last: rpc.last_log_id.as_ref().map(log_id_to_peer),
            pre,
            transfer: rpc.leadership_transfer,
        };
        let term = rpc.vote.leader_id().term;
        let within = Duration::from_millis(self.transport.timers().election_min_ms);
        self.transport.elections().began(term, pre, || self.transport.why_elect());
        let answer = self.call(call, within).await;
        let told = answer.as_ref().map_err(ToString::to_string);
        self.transport.elections().answered(term, pre, &self.node.node, told);
        let answer = answer?;
        let RaftReply::Voted { vote, granted, last } = answer else {
            return Err(unexpected(&answer));
        };
        let vote = answered(&vote, term)?;
        Ok(VoteResponse::new(vote, last.map(log_id_from_peer), granted))
    }

    async fn send_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, Vec<u8>>,
    ) -> Result<SnapshotResponse<TypeConfig>, Unreachable<TypeConfig>> {
        let data = Bytes::from(snapshot.snapshot);
        let meta = snapshot.meta;
        let id = self.transport.next_transfer();
        let mut offset = 0;
        loop {
            let end = data.len().min(offset + SNAPSHOT_PIECE);
            let done = end == data.len();
            let call = RaftCall::Snapshot {
                vote: vote_to_peer(&vote),
                id,
                last: meta.last_log_id.as_ref().map(log_id_to_peer),
                membership_at: meta.last_membership.log_id().as_ref().map(log_id_to_peer),
                membership: membership_to_peer(meta.last_membership.membership()),
                offset: u64::try_from(offset).unwrap_or(u64::MAX),
                data: data.slice(offset..end),
                done,
            };
            // The last piece is answered after the state is on disk and restored.
            let within = Duration::from_secs(if done { 30 } else { 5 });
            let reply = self.call(call, within).await?;
            let RaftReply::Received(theirs) = reply else {
                return Err(unreachable(format!("an answer to another question: {reply:?}")));
            };
            let theirs = answered(&theirs, vote.leader_id().term)?;
            if done || theirs > vote {
                return Ok(SnapshotResponse::new(theirs));
            }
            offset = end;
        }
    }
}

fn append_call(rpc: &AppendEntriesRequest<TypeConfig>, t_ms: u64) -> RaftCall {
    RaftCall::Append {
        vote: vote_to_peer(&rpc.vote),
        prev: rpc.prev_log_id.as_ref().map(log_id_to_peer),
        commit: rpc.leader_commit.as_ref().map(log_id_to_peer),
        entries: rpc.entries.iter().map(entry_to_peer).collect(),
        t_ms,
    }
}

/// The vote in an answer to a node that is in term `own`.
fn answered(vote: &peer::Vote, own: u64) -> Result<Vote, Unreachable<TypeConfig>> {
    numbers::check_answered(vote, own).map_err(|error| unreachable(error.to_string()))?;
    vote_from_peer(vote).map_err(|error| unreachable(error.to_string()))
}

/// The answer to an append of the leader of term `own`.
fn appended(
    reply: &RaftReply,
    own: u64,
) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
    match reply {
        RaftReply::Appended => Ok(AppendEntriesResponse::Success),
        RaftReply::AppendedUpTo(id) => {
            Ok(AppendEntriesResponse::PartialSuccess(id.map(log_id_from_peer)))
        }
        RaftReply::Conflict => Ok(AppendEntriesResponse::Conflict),
        RaftReply::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(answered(vote, own)?)),
        RaftReply::Voted { .. } | RaftReply::Received(_) | RaftReply::Transferring => {
            Err(unexpected(reply))
        }
    }
}

/// One connection on which appends follow each other without waiting.
#[derive(Clone)]
struct Line {
    transport: Arc<Transport>,
    connection: PeerConnection,
    to: Destination,
    node: RaftNode,
    broken: Arc<AtomicBool>,
}

impl Line {
    async fn open(peer: &mut PeerNetwork) -> Result<Self, RPCError<TypeConfig>> {
        if peer.broken.load(Ordering::Relaxed) {
            peer.connection = None;
        }
        let connection = peer.connect(APPEND_TIMEOUT).await.map_err(|why| {
            peer.transport.note_failure(peer.target, &peer.node, &why);
            unreachable(why)
        })?;
        let to = peer.transport.destination(peer.target).map_err(unreachable)?;
        peer.broken = Arc::new(AtomicBool::new(false));
        Ok(Self {
            transport: Arc::clone(&peer.transport),
            connection,
            to,
            node: peer.node.clone(),
            broken: Arc::clone(&peer.broken),
        })
    }

    async fn append(
        self,
        rpc: AppendEntriesRequest<TypeConfig>,
    ) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
        let prev = rpc.prev_log_id;
        let last = rpc.entries.last().map(|entry| entry.log_id).or(prev);
        let term = rpc.vote.leader_id().term;
        let call = append_call(&rpc, self.transport.clock());
        let answer = match self.connection.raft(self.to, call, APPEND_TIMEOUT).await {
            Ok(Ok(reply)) => appended(&reply, term),
            Ok(Err(fault)) => Err(unreachable(fault.to_string()).into()),
            Err(error) => Err(unreachable(error.to_string()).into()),
        };
        match &answer {
            Ok(_) => self.transport.note_success(self.to.to),
            Err(error) => {
                self.broken.store(true, Ordering::Relaxed);
                self.transport.note_failure(self.to.to, &self.node, &error.to_string());
            }
        }
        match (answer?, prev) {
            // A conflict is about the entry before; without one there is nothing to conflict with.
            (AppendEntriesResponse::Conflict, None) => Err(unexpected(&RaftReply::Conflict)),
            (answer, prev) => Ok(answer.into_stream_result(prev, last)),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let within = match self.class {
            Class::Heartbeat => option.soft_ttl(),
            Class::Append | Class::Snapshot => APPEND_TIMEOUT,
        };
        let call = append_call(&rpc, self.transport.clock());
        appended(&self.call(call, within).await?, rpc.vote.leader_id().term)
    }

    /// Keeps several appends on their way: the next entry does not wait until the follower has
    /// answered the one before. They go over one connection, which keeps their order.
    ///
    /// The first append is waited for before anything is dialed: openraft's back-off holds back
    /// appends, not this call, and without it a peer that refuses would be dialed without a pause.
    fn stream_append<S>(
        &mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'_, Result<Appends<'_>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.class != Class::Append {
            return openraft::network::stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let line = Line::open(self).await?;
            let appends = stream::iter([first]).chain(input);
            let replies = appends.map(move |rpc| line.clone().append(rpc)).buffered(PIPELINE);
            Ok(replies.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(rpc, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, Vec<u8>>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = self.send_snapshot(vote, snapshot) => Ok(sent?),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let call = RaftCall::Transfer {
            from: vote_to_peer(req.from_leader()),
            to: *req.to_node_id(),
            last: req.last_log_id().map(log_id_to_peer),
        };
        let within = Duration::from_millis(self.transport.timers().election_min_ms);
        let reply = self.call(call, within).await?;
        if reply == RaftReply::Transferring { Ok(Ok(())) } else { Err(unexpected(&reply)) }
    }
}
