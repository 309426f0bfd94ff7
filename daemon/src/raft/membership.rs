//! Forming the cluster and keeping its membership: the acting half of
//! [`dsync_core::raft::formation`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsync_core::node::{ClusterId, Hello, RaftId};
use dsync_core::raft::formation::{self, Decision, PeerAnswer};
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::engine::Engine;
use super::identity::Identity;
use super::machine::Machine;
use super::replace::{Mending, mend, replace};
use super::types::RaftNode;

/// A voter that answered so recently is alive: nobody takes its place.
const ALIVE: Duration = Duration::from_secs(3);
/// Pause after a replacement that did not succeed.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Forms the cluster and replaces wiped members.
#[derive(Debug)]
pub struct Members<M: Machine> {
    engine: Engine<M>,
    identity: Arc<Mutex<Identity>>,
    seed: u64,
    said: Mutex<String>,
    /// Held by whoever changes the membership: one change at a time.
    changing: Arc<tokio::sync::Mutex<()>>,
}

impl<M: Machine> Members<M> {
    /// `seed` makes the id of a cluster that this node forms.
    pub fn new(engine: Engine<M>, identity: Arc<Mutex<Identity>>, seed: u64) -> Self {
        Self { engine, identity, seed, said: Mutex::new(String::new()), changing: Arc::default() }
    }

    /// True once the log holds a membership.
    pub async fn initialized(&self) -> bool {
        self.engine.raft().is_initialized().await.unwrap_or(false)
    }

    /// What keeps this node from being a member, in words; empty when nothing does.
    pub fn waiting_for(&self) -> String {
        self.said.lock().clone()
    }

    /// Logs a state of affairs once per change.
    fn say(&self, text: String) {
        let mut said = self.said.lock();
        if *said != text {
            if !text.is_empty() {
                tracing::info!("{text}");
            }
            *said = text;
        }
    }

    /// One step after a round of greetings.
    pub async fn step(&self, me: &Hello, peers: &[PeerAnswer]) {
        if self.initialized().await {
            self.say(String::new());
            self.mend(me, peers);
            return;
        }
        match formation::decide(me, peers) {
            Decision::Wait(why) => self.say(why),
            Decision::LeaveTo(first) => self.say(format!("{first} forms the cluster")),
            Decision::Join(member) => self.say(join_text(me, peers, &member)),
            Decision::Initialize => self.initialize(me, peers).await,
        }
    }

    async fn initialize(&self, me: &Hello, peers: &[PeerAnswer]) {
        let hellos = peers.iter().filter_map(|p| p.hello.as_ref().ok()).chain([me]);
        let members: BTreeMap<RaftId, RaftNode> = hellos
            .map(|h| (h.raft_id, RaftNode { node: h.node.to_string(), address: h.address.clone() }))
            .collect();
        // A crash may have come between the name and the forming: the name stays.
        let kept = self.identity.lock().cluster();
        let cluster = kept.unwrap_or(ClusterId(self.seed | 1));
        if let Err(error) = self.identity.lock().join(cluster) {
            tracing::error!(%error, "cannot write the cluster's id to DATA_DIR");
            return;
        }
        self.engine.transport().set_cluster(cluster);
        announce(cluster, &members);
        self.say(String::new());
        // NotAllowed means that it is formed already, which is as good.
        if let Err(error) = self.engine.raft().initialize(members).await {
            tracing::info!(%error, "the cluster was formed meanwhile");
        }
    }

    /// On the leader: finishes what another leader began, and replaces a voter whose node comes back
    /// empty by its new self; one at a time and beside the greetings, which must go on.
    fn mend(&self, me: &Hello, peers: &[PeerAnswer]) {
        let leads = self.engine.leader_time().is_some() && self.engine.quorum_lost_for().is_none();
        if !leads {
            return;
        }
        let Ok(turn) = Arc::clone(&self.changing).try_lock_owned() else { return };
        let Some(what) = self.to_mend(me, peers) else { return };
        let engine = self.engine.clone();
        let work = async move {
            match mend(&engine, &what).await {
                Ok(text) => tracing::warn!("{text}"),
                Err(fault) => {
                    tracing::warn!(%fault, "cannot {what} yet");
                    tokio::time::sleep(TRY_AGAIN).await;
                }
            }
            drop(turn);
        };
        tokio::spawn(work.in_current_span());
    }

    fn to_mend(&self, me: &Hello, peers: &[PeerAnswer]) -> Option<Mending> {
        let membership = self.engine.metrics().membership_config;
        // Nobody else finishes it: openraft leaves that to the leader that began.
        if let [_, .., voters] = membership.membership().get_joint_config().as_slice() {
            return Some(Mending::Finish(voters.clone()));
        }
        let members = self.members();
        let answered = peers.iter().filter_map(|p| p.hello.as_ref().ok());
        let ghosts = formation::left_over(&members, answered.chain([me]));
        if !ghosts.is_empty() {
            return Some(Mending::Remove(ghosts));
        }
        let mut wiped = formation::wiped(me.role, &members, peers);
        // One that belongs elsewhere would refuse every call, and stay a learner for ever.
        wiped.retain(|(_, hello)| hello.cluster.is_none() || hello.cluster == me.cluster);
        let dead = wiped.into_iter().find(|(old, _)| !self.is_alive(*old));
        dead.map(|(old, hello)| Mending::Replace(old, Box::new(hello.clone())))
    }

    fn is_alive(&self, id: RaftId) -> bool {
        let contact = self.engine.transport().contact(id);
        contact.and_then(|c| c.last_success).is_some_and(|at| at.elapsed() < ALIVE)
    }

    /// Names of the voters and learners.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let membership = self.engine.metrics().membership_config;
        let names: Vec<_> = membership.membership().nodes().map(|(_, n)| n.node.clone()).collect();
        names.into_iter()
    }

    /// Members by raft id, as the log has them.
    pub fn members(&self) -> formation::Members {
        members_of(&self.engine)
    }

    /// Voters by raft id.
    pub fn voters(&self) -> BTreeMap<RaftId, RaftNode> {
        let membership = self.engine.metrics().membership_config;
        let membership = membership.membership();
        membership
            .voter_ids()
            .filter_map(|id| membership.get_node(&id).map(|node| (id, node.clone())))
            .collect()
    }

    /// The voter of that name.
    fn voter(&self, node: &str) -> Result<RaftId, Fault> {
        let voters = self.voters();
        voters.iter().find(|(_, n)| n.node == node).map(|(id, _)| *id).ok_or_else(|| {
            // Not in the order of raft ids, which mean nothing to people.
            let names: BTreeSet<&str> = voters.values().map(|n| n.node.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            Fault::new(Code::NotFound, format!("{node:?} is not a voter; the voters are {names}"))
        })
    }

    /// Replaces the voter of that name by the node that answers under it now.
    ///
    /// # Errors
    /// `NotFound`: no voter of that name; `Conflict`: it has its data, or that of another cluster;
    /// `Unavailable`: it does not answer, or did not catch up in time.
    ///
    /// # Cancel safety
    /// Once begun it goes on without the caller.
    pub async fn replace_named(
        &self,
        node: &str,
        me: &Hello,
        peers: &[PeerAnswer],
    ) -> Result<String, Fault> {
        let before = self.voter(node)?;
        let hello = peers
            .iter()
            .filter_map(|p| p.hello.as_ref().ok())
            .chain([me])
            .find(|h| h.node.as_str() == node && h.role == me.role)
            .ok_or_else(|| Fault {
                // An operator wants to know at once, and starts it before trying again.
                retryable: false,
                ..Fault::unavailable(format!("{node} does not answer the leader"))
            })?;
        let conflict = |why: String| Err(Fault::new(Code::Conflict, why));
        if hello.raft_id == before {
            return conflict(format!(
                "{node} still has its data (raft id {before:016x}): nothing to replace"
            ));
        }
        if let Some(other) = hello.cluster.filter(|cluster| Some(*cluster) != me.cluster) {
            return conflict(format!(
                "{node} at {} has data of its own, of cluster {other}, and cannot take its former \
                 self's place: stop it, move its DATA_DIR away and start it again, then it joins \
                 by itself",
                hello.address
            ));
        }
        if self.is_alive(before) {
            return Err(Fault::unavailable(format!(
                "{node} answered under its raft id {before:016x} within the last {} s: nobody \
                 takes its place while it is alive",
                ALIVE.as_secs()
            )));
        }
        let turn = Arc::clone(&self.changing).lock_owned().await;
        let old = self.voter(node)?;
        if old == hello.raft_id {
            // The leader did it by itself meanwhile.
            return Ok(format!("{node} votes again under a new raft id {old:016x}"));
        }
        let (engine, hello) = (self.engine.clone(), hello.clone());
        let work = async move {
            let done = replace(&engine, old, &hello).await;
            drop(turn);
            done
        };
        let done = tokio::spawn(work.in_current_span()).await;
        done.map_err(|error| Fault::new(Code::Internal, format!("replacing {node}: {error}")))?
    }

    /// Hands leadership to that voter.
    ///
    /// # Errors
    /// `NotFound`: no voter of that name; `Unavailable`: it did not take over in time.
    pub async fn transfer(&self, node: &str, within: Duration) -> Result<String, Fault> {
        let to = self.voter(node)?;
        let raft = self.engine.raft();
        raft.trigger().transfer_leader(to).await.map_err(|e| Fault::unavailable(e.to_string()))?;
        let until = Instant::now() + within;
        while Instant::now() < until {
            if self.engine.leader().is_some_and(|(id, _)| id == to) {
                return Ok(format!("{node} leads"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Fault::unavailable(format!(
            "{node} did not take over within {} ms",
            within.as_millis()
        )))
    }

    /// Hands leadership to the voter that has most of the log, if another one answers. Waits no
    /// longer once that one fails to answer: all nodes may be stopping together.
    pub async fn hand_over(&self, within: Duration) {
        let Some((to, node)) = self.successor() else { return };
        let told = tokio::select! {
            told = self.transfer(&node, within) => told,
            () = self.falls_silent(to) => Err(Fault::unavailable(format!("{node} has gone"))),
        };
        match told {
            Ok(text) => tracing::info!("leadership handed over: {text}"),
            Err(fault) => tracing::info!(reason = %fault.message, "leadership was not handed over"),
        }
    }

    /// The other voter that has most of the log, of those that answer.
    fn successor(&self) -> Option<(RaftId, String)> {
        let metrics = self.engine.metrics();
        let me = self.engine.transport().raft_id();
        let voters = self.voters();
        let best = metrics.replication.iter().flatten().filter(|(id, at)| {
            **id != me && voters.contains_key(id) && at.is_some() && self.answers(**id)
        });
        let best = best.max_by_key(|(_, at)| at.as_ref().map(openraft::LogId::index));
        let (id, _) = best?;
        Some((*id, voters.get(id)?.node.clone()))
    }

    /// The voter answered lately, and has not failed to since.
    fn answers(&self, id: RaftId) -> bool {
        self.is_alive(id) && !self.failed_last(id)
    }

    fn failed_last(&self, id: RaftId) -> bool {
        let contact = self.engine.transport().contact(id);
        contact.is_some_and(|contact| contact.failed_last())
    }

    /// Returns once a call to that voter failed and none succeeded since.
    async fn falls_silent(&self, id: RaftId) {
        while !self.failed_last(id) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn announce(cluster: ClusterId, members: &BTreeMap<RaftId, RaftNode>) {
    let names: Vec<&str> = members.values().map(|n| n.node.as_str()).collect();
    let members = names.join(", ");
    if names.len() == 1 {
        tracing::warn!(%cluster, members, "PEER_ADDRESSES is empty: a cluster of one is formed, which survives no failure");
    } else {
        tracing::info!(%cluster, members, "all members agree: forming the cluster");
    }
}

pub(super) fn members_of<M: Machine>(engine: &Engine<M>) -> formation::Members {
    let membership = engine.metrics().membership_config;
    let membership = membership.membership();
    let name = |id: RaftId| Some((id, membership.get_node(&id)?.node.clone()));
    formation::Members {
        voters: membership.voter_ids().filter_map(name).collect(),
        learners: membership.learner_ids().filter_map(name).collect(),
    }
}

/// What a node says that meets a cluster which it is no member of.
fn join_text(me: &Hello, peers: &[PeerAnswer], member: &str) -> String {
    let voters = peers
        .iter()
        .filter_map(|p| p.hello.as_ref().ok())
        .find(|h| h.initialized)
        .map(|h| h.voters.as_slice())
        .unwrap_or_default();
    match voters.iter().find(|(name, _)| name == me.node.as_str()) {
        // It is being formed this very moment.
        None if voters.is_empty() => format!("{member} forms the cluster"),
        Some((_, id)) if *id == me.raft_id => {
            format!("{member} belongs to the cluster already: waiting for its leader")
        }
        Some((_, id)) => format!(
            "the cluster of {member} knows this node under raft id {id:016x}, whose data is gone \
             from here: waiting to be taken in anew"
        ),
        None => {
            let names: Vec<&str> = voters.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "{member} belongs to a cluster of [{}] and {} is not one of them: correct NODE_ID \
                 or PEER_ADDRESSES; no second cluster is formed",
                names.join(", "),
                me.node
            )
        }
    }
}
