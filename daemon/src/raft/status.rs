//! How Raft stands, as one node sees it.

use std::time::Duration;

use dsync::api::{Probe, RaftStatus, Replication};
use dsync_core::node::{Hello, RaftId};
use dsync_core::{Code, Fault};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant as _, ServerState};
use tokio::time::Instant;

use super::engine::{Engine, Metrics};
use super::machine::Machine;
use super::types::LogId;

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn flushed_index<M: Machine>(engine: &Engine<M>) -> u64 {
    index(engine.log().status().flushed.as_ref())
}

fn index(id: Option<&LogId>) -> u64 {
    id.map_or(0, LogId::index)
}

/// Fills in what the engine knows; `me` says the rest.
pub fn status<M: Machine>(engine: &Engine<M>, me: &Hello, waiting_for: &str) -> RaftStatus {
    let (applied, state_hash) = engine.state_hash();
    let m = engine.metrics();
    let membership = m.membership_config.membership();
    let transport = engine.transport();
    let member = |id: RaftId| {
        let node = membership.get_node(&id);
        (
            node.map(|n| n.node.clone()).unwrap_or_default(),
            node.map(|n| n.address.clone()).unwrap_or_default(),
            id,
        )
    };
    let flush = engine.log().status().sync;
    let vote = m.vote;
    RaftStatus {
        node: me.node.to_string(),
        address: me.address.clone(),
        id: me.raft_id,
        cluster: transport.cluster(),
        state: state_name(&m, me.initialized).to_owned(),
        term: m.current_term,
        vote: (m.current_term > 0).then(|| (vote.leader_id().voted_for, vote.is_committed())),
        leader: m.current_leader.map(|id| transport.name_of(id)),
        last_log_index: m.last_log_index.unwrap_or(0),
        flushed: flushed_index(engine),
        committed: index(m.local_committed.as_ref()),
        applied,
        snapshot: index(m.snapshot.as_ref()),
        purged: index(m.purged.as_ref()),
        voters: membership.voter_ids().map(member).collect(),
        learners: membership.learner_ids().map(member).collect(),
        joint: membership.get_joint_config().len() > 1,
        quorum_ack_age_ms: engine.quorum_ack_age().map(millis),
        leader_contact_age_ms: (m.state != ServerState::Leader)
            .then(|| transport.leader_heard().map(|(_, at)| millis(at.elapsed())))
            .flatten(),
        replication: replication(engine, &m),
        fsync_p50_us: micros(flush.p50),
        fsync_p99_us: micros(flush.p99),
        elections_last_minute: transport.elections().last_minute(),
        last_election: transport.elections().last(),
        fingerprint: me.fingerprint,
        state_hash,
        election_timeout_ms: (engine.timers().election_min_ms, engine.timers().election_max_ms),
        problems: problems(engine, waiting_for),
    }
}

/// The name of the state in tables, JSON and metrics.
fn state_name(m: &Metrics, initialized: bool) -> &'static str {
    if m.running_state.is_err() {
        return "stopped";
    }
    match m.state {
        ServerState::Leader => "leader",
        ServerState::Candidate => "candidate",
        ServerState::Follower => "follower",
        ServerState::Learner | ServerState::Shutdown if !initialized => "forming",
        ServerState::Learner | ServerState::Shutdown => "learner",
    }
}

fn replication<M: Machine>(engine: &Engine<M>, m: &Metrics) -> Vec<Replication> {
    let Some(matched) = &m.replication else { return Vec::new() };
    let last = m.last_log_index.unwrap_or(0);
    let me = engine.transport().raft_id();
    let peers = matched.iter().filter(|(id, _)| **id != me);
    peers
        .map(|(id, matched)| {
            let matched = matched.as_ref().map(LogId::index);
            let heard = m.heartbeat.as_ref().and_then(|h| h.get(id)).and_then(|at| at.as_ref());
            Replication {
                id: *id,
                node: engine.transport().name_of(*id),
                matched,
                lag: last.saturating_sub(matched.unwrap_or(0)),
                heartbeat_age_ms: heard.map(|at| millis(at.elapsed())),
            }
        })
        .collect()
}

/// What is wrong, in words.
pub fn problems<M: Machine>(engine: &Engine<M>, waiting_for: &str) -> Vec<String> {
    let m = &engine.metrics();
    let mut found = Vec::new();
    if let Err(fatal) = &m.running_state {
        found.push(format!("raft has stopped: {}", engine.why(fatal)));
    }
    if !waiting_for.is_empty() {
        found.push(waiting_for.to_owned());
    }
    let patience = Duration::from_millis(2 * engine.timers().election_max_ms);
    if m.state == ServerState::Leader {
        if let Some(age) = engine.quorum_ack_age()
            && age > patience
        {
            found.push(format!(
                "leads, but its last quorum acknowledgement is {} ms old",
                millis(age)
            ));
        }
    } else if waiting_for.is_empty() && m.current_leader.is_none() {
        found.push("knows no leader".to_owned());
    }
    let heard = engine.transport().leader_heard();
    if let (ServerState::Follower, Some((leader, at))) = (m.state, heard)
        && at.elapsed() > patience
    {
        let name = engine.transport().name_of(leader);
        found.push(format!("heard nothing of {name} for {} ms", millis(at.elapsed())));
    }
    found
}

/// Proposes a no-op through [`Engine::propose`] and times its stages.
///
/// # Errors
/// `Unavailable` when this node does not lead or no quorum answers in time.
pub async fn probe<M: Machine>(
    engine: &Engine<M>,
    noop: &M::Command,
    within: Duration,
) -> Result<Probe, Fault> {
    let begun = Instant::now();
    let since = || micros(begun.elapsed());
    let (term, _) = engine
        .leader_time()
        .ok_or_else(|| Fault::unavailable("this node does not lead: ask the leader"))?;
    let before = engine.metrics().last_log_index.unwrap_or(0);
    let index = before + 1;
    let mut flushed_us = None;
    let mut committed_us = None;
    let mut acked_us: Vec<(String, u64)> = Vec::new();
    let proposed = engine.propose(noop);
    tokio::pin!(proposed);
    let mut changes = engine.raft().metrics();
    let deadline = begun + within;
    let applied_us = loop {
        tokio::select! {
            biased;
            done = &mut proposed => {
                done.map_err(|e| Fault { code: Code::Unavailable, ..Fault::unknown(e.to_string()) })?;
                break since();
            }
            _ = changes.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        let m = engine.metrics();
        if flushed_index(engine) >= index {
            flushed_us.get_or_insert_with(since);
        }
        note_acks(engine, &m, index, since(), &mut acked_us);
        if m.cluster_committed.as_ref().is_some_and(|id| id.index() >= index) {
            committed_us.get_or_insert_with(since);
        }
        if Instant::now() >= deadline {
            return Err(probe_timeout(index, flushed_us, &acked_us, committed_us));
        }
    };
    note_acks(engine, &engine.metrics(), index, applied_us, &mut acked_us);
    Ok(Probe {
        index,
        term,
        flushed_us: flushed_us.unwrap_or(applied_us),
        acked_us,
        committed_us: committed_us.unwrap_or(applied_us),
        applied_us,
    })
}

fn note_acks<M: Machine>(
    engine: &Engine<M>,
    m: &Metrics,
    index: u64,
    now_us: u64,
    acked: &mut Vec<(String, u64)>,
) {
    for peer in replication(engine, m) {
        let has_it = peer.matched.is_some_and(|matched| matched >= index);
        if has_it && !acked.iter().any(|(node, _)| *node == peer.node) {
            acked.push((peer.node, now_us));
        }
    }
}

/// Says which stage a probe did not reach.
fn probe_timeout(
    index: u64,
    flushed: Option<u64>,
    acked: &[(String, u64)],
    committed: Option<u64>,
) -> Fault {
    let stage = match (flushed, committed) {
        (None, _) => "not yet on the leader's own disk".to_owned(),
        (_, None) => format!("on the leader's disk, acknowledged by {} followers", acked.len()),
        (_, Some(_)) => "committed, not applied".to_owned(),
    };
    Fault::unknown(format!("the probe at index {index} did not finish: {stage}"))
}
