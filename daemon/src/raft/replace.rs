//! The steps by which a leader replaces a member that lost its data, and by which the next leader
//! finishes what one began that died.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use dsync_core::Fault;
use dsync_core::node::{Hello, RaftId};
use dsync_core::raft::formation;
use openraft::ChangeMembers;
use tokio::time::Instant;

use super::engine::Engine;
use super::machine::Machine;
use super::membership::members_of;
use super::types::RaftNode;

/// Longest time for a new member to catch up with the log.
const CATCH_UP: Duration = Duration::from_secs(120);

/// What is to be done about the membership.
#[derive(Debug)]
pub(super) enum Mending {
    /// A change is half-way: both the old voters and these decide. From now on these alone do.
    Finish(BTreeSet<RaftId>),
    /// Former selves of nodes that vote again are still members.
    Remove(BTreeSet<RaftId>),
    /// That voter's data is gone: its node answers under another raft id.
    Replace(RaftId, Box<Hello>),
}

impl fmt::Display for Mending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finish(_) => write!(f, "finish the change of members"),
            Self::Remove(_) => write!(f, "remove former selves of members"),
            Self::Replace(_, hello) => write!(f, "replace the wiped node {}", hello.node),
        }
    }
}

/// Does it.
pub(super) async fn mend<M: Machine>(engine: &Engine<M>, what: &Mending) -> Result<String, Fault> {
    let ids = |ids: &BTreeSet<RaftId>| {
        let ids: Vec<String> = ids.iter().map(|id| format!("{id:016x}")).collect();
        ids.join(", ")
    };
    match what {
        Mending::Finish(voters) => {
            let goal = ChangeMembers::ReplaceAllVoters(voters.clone());
            change(engine, goal).await.map_err(Fault::unavailable)?;
            Ok(format!("finished the change of members to {}", ids(voters)))
        }
        Mending::Remove(ghosts) => {
            let goal = ChangeMembers::RemoveNodes(ghosts.clone());
            change(engine, goal).await.map_err(Fault::unavailable)?;
            Ok(format!("removed former selves of members: {}", ids(ghosts)))
        }
        Mending::Replace(old, hello) => replace(engine, *old, hello).await,
    }
}

async fn change<M: Machine>(
    engine: &Engine<M>,
    goal: ChangeMembers<RaftId, RaftNode>,
) -> Result<(), String> {
    let changed = engine.raft().change_membership(goal, false).await;
    changed.map(drop).map_err(|error| error.to_string())
}

/// Takes the new self of a voter in, lets it catch up, and then lets it vote instead of the old.
pub(super) async fn replace<M: Machine>(
    engine: &Engine<M>,
    old: RaftId,
    hello: &Hello,
) -> Result<String, Fault> {
    let raft = engine.raft();
    let node = RaftNode { node: hello.node.to_string(), address: hello.address.clone() };
    let (from, to) = (format!("{old:016x}"), format!("{:016x}", hello.raft_id));
    tracing::warn!(node = %hello.node, from, to, "a member lost its data: it joins anew");
    let failed = |error: String| Fault::unavailable(format!("replacing {}: {error}", hello.node));
    let late = || failed(format!("it did not catch up within {} s", CATCH_UP.as_secs()));
    let until = Instant::now() + CATCH_UP;
    tokio::time::timeout_at(until, raft.add_learner(hello.raft_id, node, true))
        .await
        .map_err(|_| late())?
        .map_err(|error| failed(error.to_string()))?;
    // openraft calls a learner caught up that is some thousand entries behind.
    let wanted = engine.metrics().last_log_index.unwrap_or(0);
    while matched(engine, hello.raft_id) < wanted {
        if engine.leader_time().is_none() {
            let why = "this node no longer leads; the next leader goes on with it by itself";
            return Err(failed(why.to_owned()));
        }
        if Instant::now() >= until {
            return Err(late());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let members = members_of(engine);
    let mut voters: BTreeSet<RaftId> = members.voters.keys().copied().collect();
    voters.remove(&old);
    voters.insert(hello.raft_id);
    change(engine, ChangeMembers::ReplaceAllVoters(voters)).await.map_err(failed)?;
    let ghosts = formation::ghosts(&members_of(engine), hello.node.as_str(), hello.raft_id);
    if !ghosts.is_empty() {
        change(engine, ChangeMembers::RemoveNodes(ghosts)).await.map_err(failed)?;
    }
    Ok(format!("{} votes again under a new raft id {to}", hello.node))
}

/// The last index that a member is known to have.
fn matched<M: Machine>(engine: &Engine<M>, id: RaftId) -> u64 {
    let metrics = engine.metrics();
    let of_member = metrics.replication.as_ref().and_then(|r| r.get(&id)).and_then(Option::as_ref);
    of_member.map_or(0, openraft::LogId::index)
}
