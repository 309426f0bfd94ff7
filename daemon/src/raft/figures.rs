//! The engine's figures for metrics, in words of our own.

use openraft::ServerState;

use super::engine::Engine;
use super::machine::Machine;
use super::types::LogId;
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

impl<M: Machine> Engine<M> {
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
