//! openraft's types as this daemon configures them, and the way to and from our own.
//!
//! openraft's types never reach the disk or the wire: what is stored and sent are the types of
//! [`dsync::peer`], so that an upgrade of openraft cannot change a format.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use dsync::peer;
use dsync_core::node::RaftId;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The type configuration of every Raft group here, whatever its state machine.
    pub TypeConfig:
        D = Proposal,
        R = (),
        NodeId = RaftId,
        Node = RaftNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = super::runtime::Runtime,
);

/// A place in the log.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// An entry of the log.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// What an entry does.
pub type EntryPayload = openraft::alias::EntryPayloadOf<TypeConfig>;
/// Who votes and who learns.
pub type Membership = openraft::Membership<RaftId, RaftNode>;
/// A membership and the entry that brought it.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// A command of the state machine at a cluster time.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Cluster time in milliseconds.
    pub t_ms: u64,
    /// Proposal number at the proposing node, so that it knows its own when it applies it.
    pub nonce: u64,
    /// The command, encoded.
    pub data: Bytes,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}ms nonce={} {} B", self.t_ms, self.nonce, self.data.len())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A member as openraft knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftNode {
    /// NODE_ID.
    pub node: String,
    /// `host:port`.
    pub address: String,
}

impl fmt::Display for RaftNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node, self.address)
    }
}

/// What a peer or a file said that cannot be said to openraft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A vote for nobody.
    #[error("a vote of term {term} names no candidate")]
    VoteForNobody {
        /// Its term.
        term: u64,
    },
    /// A membership with an empty set of voters, or a voter without an address.
    #[error("a membership is not valid: {0}")]
    Membership(String),
}

impl From<Unusable> for std::io::Error {
    fn from(error: Unusable) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Our form of a place in the log.
pub fn log_id_to_peer(id: &LogId) -> peer::LogId {
    peer::LogId { term: id.committed_leader_id().term, index: id.index() }
}

/// openraft's form of a place in the log.
pub fn log_id_from_peer(id: peer::LogId) -> LogId {
    LogId::new_term_index(id.term, id.index)
}

/// Our form of a vote.
pub fn vote_to_peer(vote: &Vote) -> peer::Vote {
    let leader = vote.leader_id();
    peer::Vote { term: leader.term, node: Some(leader.voted_for), committed: vote.is_committed() }
}

/// openraft's form of a vote.
///
/// # Errors
/// [`Unusable::VoteForNobody`]: openraft's votes always name a candidate.
pub fn vote_from_peer(vote: &peer::Vote) -> Result<Vote, Unusable> {
    let node = vote.node.ok_or(Unusable::VoteForNobody { term: vote.term })?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, node)
    } else {
        Vote::new(vote.term, node)
    })
}

/// Our form of a member.
pub fn node_to_peer(node: &RaftNode) -> peer::Member {
    peer::Member { node: node.node.clone(), address: node.address.clone() }
}

/// openraft's form of a member.
pub fn node_from_peer(member: &peer::Member) -> RaftNode {
    RaftNode { node: member.node.clone(), address: member.address.clone() }
}

/// Our form of a membership.
pub fn membership_to_peer(membership: &Membership) -> peer::Membership {
    peer::Membership {
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(id, node)| (*id, node_to_peer(node))).collect(),
    }
}

/// openraft's form of a membership.
///
/// # Errors
/// [`Unusable::Membership`]: a set of voters is empty, or a voter is not among the members.
pub fn membership_from_peer(membership: &peer::Membership) -> Result<Membership, Unusable> {
    let nodes: BTreeMap<RaftId, RaftNode> =
        membership.nodes.iter().map(|(id, member)| (*id, node_from_peer(member))).collect();
    Membership::new(membership.configs.clone(), nodes)
        .map_err(|error| Unusable::Membership(error.to_string()))
}

/// Our form of an entry; the command's bytes are shared, not copied.
pub fn entry_to_peer(entry: &Entry) -> peer::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => peer::Payload::Blank,
        EntryPayload::Normal(Proposal { t_ms, nonce, data }) => {
            peer::Payload::Normal { t_ms: *t_ms, nonce: *nonce, data: data.clone() }
        }
        EntryPayload::Membership(m) => peer::Payload::Membership(membership_to_peer(m)),
    };
    peer::Entry { id: log_id_to_peer(&entry.log_id), payload }
}

/// openraft's form of an entry.
///
/// # Errors
/// [`Unusable::Membership`]: its membership is not valid.
pub fn entry_from_peer(entry: peer::Entry) -> Result<Entry, Unusable> {
    let payload = match entry.payload {
        peer::Payload::Blank => EntryPayload::Blank,
        peer::Payload::Normal { t_ms, nonce, data } => {
            EntryPayload::Normal(Proposal { t_ms, nonce, data })
        }
        peer::Payload::Membership(m) => EntryPayload::Membership(membership_from_peer(&m)?),
    };
    Ok(Entry { log_id: log_id_from_peer(entry.id), payload })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn membership() -> peer::Membership {
        let member = |n: u64| peer::Member { node: format!("n{n}"), address: format!("h{n}:1") };
        peer::Membership {
            configs: vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            nodes: (1..=4).map(|n| (n, member(n))).collect(),
        }
    }

    #[test]
    fn entries_survive_the_way_to_openraft_and_back() {
        let payloads = [
            peer::Payload::Blank,
            peer::Payload::Normal { t_ms: 7, nonce: 8, data: Bytes::from_static(b"abc") },
            peer::Payload::Membership(membership()),
            peer::Payload::Membership(peer::Membership::default()),
        ];
        for (index, payload) in (5..).zip(payloads) {
            let entry = peer::Entry { id: peer::LogId { term: 3, index }, payload };
            let there = entry_from_peer(entry.clone()).unwrap();
            assert_eq!(there.log_id, LogId::new_term_index(3, index));
            assert_eq!(entry_to_peer(&there), entry);
        }
    }

    #[test]
    fn votes_survive_the_way_to_openraft_and_back() {
        for committed in [false, true] {
            let vote = peer::Vote { term: 9, node: Some(4), committed };
            assert_eq!(vote_to_peer(&vote_from_peer(&vote).unwrap()), vote);
        }
        let nobody = peer::Vote { term: 9, node: None, committed: false };
        assert_eq!(vote_from_peer(&nobody), Err(Unusable::VoteForNobody { term: 9 }));
    }

    #[test]
    fn a_voter_without_an_address_is_refused() {
        let mut bad = membership();
        bad.nodes.remove(&3);
        let error = membership_from_peer(&bad).unwrap_err();
        assert!(matches!(error, Unusable::Membership(_)), "{error}");
        let empty = peer::Membership { configs: vec![BTreeSet::new()], ..membership() };
        assert!(membership_from_peer(&empty).is_err());
    }
}
