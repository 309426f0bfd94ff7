//! Follows openraft's state: who leads, since when, and how elections ended.

use std::collections::BTreeMap;

use dsync_core::node::RaftId;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::engine::Engine;
use super::machine::Machine;
use super::types::RaftNode;

/// Who leads, as this node knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Term.
    pub term: u64,
    /// The leader.
    pub leader: Option<(RaftId, RaftNode)>,
    /// It is this node.
    pub mine: bool,
    /// Why the engine has stopped, once it has.
    pub stopped: Option<String>,
}

/// Follows the engine until it stops.
pub fn follow<M: Machine>(engine: Engine<M>) -> watch::Receiver<Leadership> {
    let (sender, receiver) = watch::channel(Leadership::default());
    let following = async move {
        let mut metrics = engine.raft().metrics();
        loop {
            let now = observe(&engine);
            let term = now.term;
            sender.send_if_modified(|known| {
                if *known == now {
                    return false;
                }
                report(&engine, known, &now);
                *known = now.clone();
                true
            });
            if now.stopped.is_some() || metrics.changed().await.is_err() {
                tracing::debug!(term, "the raft engine is followed no longer");
                return;
            }
        }
    };
    tokio::spawn(following.in_current_span());
    receiver
}

fn observe<M: Machine>(engine: &Engine<M>) -> Leadership {
    let metrics = engine.metrics();
    let membership = metrics.membership_config.membership();
    let names: BTreeMap<RaftId, String> =
        membership.nodes().map(|(id, node)| (*id, node.node.clone())).collect();
    engine.transport().set_names(names);
    let leader = metrics
        .current_leader
        .and_then(|id| membership.get_node(&id).map(|node| (id, node.clone())));
    Leadership {
        term: metrics.current_term,
        mine: metrics.state == ServerState::Leader,
        leader,
        stopped: metrics.running_state.err().map(|fatal| fatal.to_string()),
    }
}

fn report<M: Machine>(engine: &Engine<M>, was: &Leadership, now: &Leadership) {
    if let Some(why) = &now.stopped {
        tracing::error!(reason = %why, "raft has stopped");
        return;
    }
    match &now.leader {
        Some((_, node)) if (now.term, &now.leader) != (was.term, &was.leader) => {
            engine.transport().elections().ended(&node.node, now.term);
        }
        None if was.leader.is_some() => {
            let why = engine.transport().why_elect();
            tracing::warn!(term = now.term, reason = %why, "no leader");
        }
        _ => {}
    }
}
