//! Follows openraft's state: who leads, since when, and how elections ended.

use std::collections::BTreeMap;
use std::time::Duration;

use dsync_core::node::RaftId;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::Fatal;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::engine::Engine;
use super::machine::Machine;
use super::types::RaftNode;

/// Longest time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How a stop that was asked for is told.
const ON_REQUEST: &str = "it was asked to stop";

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
            // A leader is known when it is heard, which openraft does not announce.
            let pause = tokio::time::sleep(LOOK_AGAIN);
            let ended = tokio::select! {
                changed = metrics.changed() => changed.is_err(),
                () = pause => false,
            };
            if now.stopped.is_some() || ended {
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
    if metrics.state == ServerState::Leader {
        engine.transport().leads();
    }
    // After a restart openraft names the leader of the vote on disk; it leads when it is heard.
    let heard = engine.transport().leader_heard().map(|(id, _)| id);
    let leader = metrics
        .current_leader
        .filter(|id| *id == metrics.id || Some(*id) == heard)
        .and_then(|id| membership.get_node(&id).map(|node| (id, node.clone())));
    Leadership {
        term: metrics.current_term,
        mine: metrics.state == ServerState::Leader,
        leader,
        stopped: metrics.running_state.err().map(|fatal| {
            if fatal == Fatal::Stopped { ON_REQUEST.to_owned() } else { engine.why(&fatal) }
        }),
    }
}

fn report<M: Machine>(engine: &Engine<M>, was: &Leadership, now: &Leadership) {
    if let Some(why) = &now.stopped {
        if why == ON_REQUEST {
            return;
        }
        tracing::error!(reason = %why, "raft has stopped");
        return;
    }
    match &now.leader {
        Some((_, node)) if (now.term, &now.leader) != (was.term, &was.leader) => {
            engine.transport().elections().ended(&node.node, now.term);
        }
        None if was.leader.is_some() => {
            let (_, why) = engine.transport().why_elect();
            tracing::warn!(term = now.term, reason = %why, "no leader");
        }
        _ => {}
    }
}
