//! The engine's figures for metrics, in words of our own.

use std::time::Duration;

use openraft::ServerState;

use super::engine::Engine;
use super::machine::Machine;
use super::types::{LogId, RaftNode};
use crate::telemetry::RaftState;

/// How the engine stands, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Term.
    pub term: u64,
    /// Index committed as this node knows it; 0 while there is none.
    pub committed: u64,
    /// Index applied here; 0 while there is none.
    pub applied: u64,
    /// What this node is.
    pub state: RaftState,
}

/// A member that answered so recently is live.
const LIVE: Duration = Duration::from_secs(3);

impl<M: Machine> Engine<M> {
    /// The members, and whether each has answered lately. Known at the leader.
    pub fn members(&self) -> Vec<(RaftNode, bool)> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let live = |id| {
            let contact = self.transport().contact(id);
            let success = contact.and_then(|contact| contact.last_success);
            success.is_some_and(|at| at.elapsed() < LIVE)
        };
        membership.nodes().map(|(id, node)| (node.clone(), live(*id))).collect()
    }

    /// Index that the newest snapshot covers, and index applied; 0 while there is none.
    pub(super) fn covered(&self) -> (u64, u64) {
        let raft = self.metrics();
        let index = |id: Option<&LogId>| id.map_or(0, LogId::index);
        (index(raft.snapshot.as_ref()), index(raft.last_applied.as_ref()))
    }

    /// How the engine stands now; `initialized` when its log holds a membership.
    pub fn figures(&self, initialized: bool) -> Figures {
        let raft = self.metrics();
        let index = |id: Option<&LogId>| id.map_or(0, LogId::index);
        let stopped = raft.running_state.is_err();
        let state = match (initialized, raft.state) {
            _ if stopped => RaftState::Stopped,
            (false, _) => RaftState::Forming,
            (true, ServerState::Leader) => RaftState::Leader,
            (true, ServerState::Candidate) => RaftState::Candidate,
            (true, ServerState::Follower) => RaftState::Follower,
            (true, ServerState::Learner | ServerState::Shutdown) => RaftState::Learner,
        };
        Figures {
            term: raft.current_term,
            committed: index(raft.local_committed.as_ref()),
            applied: index(raft.last_applied.as_ref()),
            state,
        }
    }
}
