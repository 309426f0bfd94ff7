//! The Raft groups: the lock nodes are one, the queue nodes and the cache nodes are others unless
//! their store is Redis.

use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync_core::Code;
use dsync_core::node::Role;
use futures::future::join_all;

use crate::error::{Failure, Result};

use super::super::Ctx;
use super::super::ctx::unexpected;
use super::{Known, ROUNDS, Said, ask, configured, directory, learn, node_info, without_doubles};

/// The roles whose nodes may have a Raft.
const ROLES: [Role; 3] = [Role::Lock, Role::Queue, Role::Cache];

/// The nodes of one role.
#[derive(Debug)]
pub(crate) struct Group {
    /// What they do.
    pub(crate) role: Role,
    /// Raft as each of them sees it.
    pub(crate) said: Vec<Said<RaftStatus>>,
    /// They keep their state in Redis, and have no Raft.
    pub(crate) elsewhere: bool,
}

impl Group {
    fn of(role: Role, mut said: Vec<Said<RaftStatus>>) -> Self {
        let no_raft = |one: &Said<RaftStatus>| matches!(&one.answer, Err(fault) if fault.code == Code::WrongRole);
        let elsewhere = said.iter().any(no_raft) && said.iter().all(|one| one.answer.is_err());
        said.retain(|one| elsewhere || !no_raft(one));
        Self { role, said, elsewhere }
    }

    /// Whether that node is one of it.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.said.iter().any(|one| one.known.node.as_deref() == Some(node))
    }

    /// Whether there is anything to say of it.
    fn is_there(&self) -> bool {
        self.elsewhere || !self.said.is_empty()
    }

    /// Whether a node of it is known to be one.
    fn is_known(&self) -> bool {
        self.elsewhere || self.said.iter().any(|one| one.known.role.is_some() || one.answer.is_ok())
    }
}

/// Of nodes without Raft, who were asked about it.
pub(crate) fn no_raft(role: Role) -> Failure {
    Failure::new(Code::WrongRole, no_raft_text(role))
        .hint("the lock nodes have a Raft, and queue and cache nodes with STORE=raft")
}

/// The same in words.
pub(crate) fn no_raft_text(role: Role) -> String {
    match role {
        Role::Queue => "the queue keeps its jobs in Redis: no Raft".to_owned(),
        Role::Cache => "the cache keeps its values in Redis: no Raft".to_owned(),
        Role::Lock => format!("the {role} nodes keep their state in Redis: no Raft"),
    }
}

/// The group that is meant: of that role; without one the lock nodes, or else the queue nodes, or the cache nodes.
///
/// # Errors
/// `WrongRole`: there is no Raft.
pub(crate) async fn group(ctx: &Ctx, role: Option<Role>) -> Result<Group> {
    main(groups(ctx, role).await?)
}

/// The first of the groups that has a Raft.
pub(crate) fn main(groups: Vec<Group>) -> Result<Group> {
    let role = groups.first().map_or(Role::Lock, |group| group.role);
    groups.into_iter().find(|group| !group.elsewhere).ok_or_else(|| no_raft(role))
}

/// Every group, or that of one role: at least one, if only an empty one.
pub(crate) async fn groups(ctx: &Ctx, only: Option<Role>) -> Result<Vec<Group>> {
    let known = everyone(ctx).await?;
    let roles = ROLES.into_iter().filter(|role| only.is_none_or(|only| only == *role));
    let known = &known;
    let asked = roles.map(async |role| Group::of(role, statuses(ctx, role, known).await));
    let mut groups = join_all(asked).await;
    if only.is_none() {
        // Silent addresses of unknown roles count as lock nodes only where nothing else is there.
        let others = groups.iter().any(Group::is_known);
        groups.retain(|group| if others { group.is_known() } else { group.is_there() });
    }
    if groups.is_empty() {
        groups.push(Group { role: Role::Lock, said: Vec::new(), elsewhere: false });
    }
    Ok(groups)
}

/// The directory, and those endpoints that answer and are not in it; with the roles that they say.
async fn everyone(ctx: &Ctx) -> Result<Vec<Known>> {
    let mut all = directory(ctx).await?;
    let strangers = ctx.settings.endpoints.iter().map(|address| Known {
        node: None,
        role: None,
        address: address.clone(),
    });
    let strangers = strangers.filter(|one| all.iter().all(|known| known.address != one.address));
    let unclear: Vec<Known> =
        strangers.chain(all.iter().filter(|one| one.role.is_none()).cloned()).collect();
    for one in join_all(unclear.into_iter().map(|one| node_info(ctx, one))).await {
        if one.answer.is_ok() {
            learn(&mut all, one.known);
        }
    }
    Ok(all)
}

/// Raft as every node of a role sees it. Voters that only others name are asked as well.
async fn statuses(ctx: &Ctx, role: Role, known: &[Known]) -> Vec<Said<RaftStatus>> {
    // Where it is not known what a node does, it may be a lock node.
    let is_one = |one: &&Known| one.role.map_or(role == Role::Lock, |its| its == role);
    let mut known: Vec<Known> = known.iter().filter(is_one).cloned().collect();
    let mut said: Vec<Said<RaftStatus>> = Vec::new();
    for _ in 0..ROUNDS {
        let unasked = known.get(said.len()..).unwrap_or_default().to_vec();
        if unasked.is_empty() {
            break;
        }
        let answers = join_all(unasked.into_iter().map(|one| status(ctx, one))).await;
        let first = said.len();
        said.extend(answers);
        for one in members(role, said.get(first..).unwrap_or_default()) {
            learn(&mut known, one);
        }
        if said.iter().all(|one| one.answer.as_ref().map_or(true, |s| s.voters.is_empty())) {
            for one in configured_peers(ctx, role, &said).await {
                learn(&mut known, one);
            }
        }
    }
    let members = members(role, &said);
    if !members.is_empty() {
        let mut peers = configured_peers(ctx, role, &said).await;
        peers.extend(members);
        let expected = |one: &Known| ctx.settings.expected.iter().any(|e| e.address == one.address);
        said.retain(|one| belongs(&one.known, &peers) || expected(&one.known));
    }
    said.sort_by_key(|one| one.known.label().to_owned());
    without_doubles(said)
}

/// Whether a node is a member or a configured peer: one that only greeted the cluster, by the name
/// that it gave itself, is no part of its Raft.
fn belongs(one: &Known, members_and_peers: &[Known]) -> bool {
    members_and_peers.iter().any(|other| other.same(one) || other.address == one.address)
}

/// The voters and learners that the answers name.
fn members(role: Role, said: &[Said<RaftStatus>]) -> Vec<Known> {
    said.iter()
        .filter_map(|one| one.answer.as_ref().ok())
        .flat_map(|status| status.voters.iter().chain(&status.learners))
        .map(|(node, address, _)| Known {
            node: Some(node.clone()),
            role: Some(role),
            address: address.clone(),
        })
        .collect()
}

/// The peers in the configuration of the first node that answers: all there is while forming.
async fn configured_peers(ctx: &Ctx, role: Role, said: &[Said<RaftStatus>]) -> Vec<Known> {
    let Some(one) = said.iter().find(|one| one.answer.is_ok()) else { return Vec::new() };
    match node_info(ctx, one.known.clone()).await.answer {
        Ok(info) => configured(&info).filter(|one| one.role == Some(role)).collect(),
        Err(_) => Vec::new(),
    }
}

/// Raft as one node sees it.
async fn status(ctx: &Ctx, mut known: Known) -> Said<RaftStatus> {
    let answer = ask(ctx, &known, AdminRequest::RaftStatus).await.and_then(|reply| match reply {
        AdminReply::Raft(status) => Ok(*status),
        _ => Err(unexpected(known.label()).fault),
    });
    if let Ok(status) = &answer {
        known.node = Some(status.node.clone());
    }
    Said { known, answer }
}

#[cfg(test)]
mod tests {
    use dsync_core::Fault;

    use super::*;
    use crate::output::views::raft::sample;

    fn known(node: Option<&str>, address: &str) -> Known {
        Known { node: node.map(str::to_owned), role: None, address: address.to_owned() }
    }

    fn said(
        role: Option<Role>,
        answer: std::result::Result<RaftStatus, Fault>,
    ) -> Said<RaftStatus> {
        Said { known: Known { role, ..known(Some("a"), "h:1") }, answer }
    }

    fn in_redis() -> Said<RaftStatus> {
        said(Some(Role::Queue), Err(Fault::new(Code::WrongRole, "it has no Raft")))
    }

    #[test]
    fn who_only_greeted_the_cluster_is_no_part_of_its_raft() {
        let cluster = [known(Some("a"), "h:1"), known(None, "h:2")];
        assert!(belongs(&known(Some("a"), "elsewhere:1"), &cluster));
        assert!(belongs(&known(Some("b"), "h:2"), &cluster));
        assert!(!belongs(&known(Some("wrong"), "h:9"), &cluster));
    }

    #[test]
    fn nodes_with_redis_are_no_raft_group_and_hide_none() {
        let silent = said(Some(Role::Queue), Err(Fault::unavailable("refused")));
        let redis = Group::of(Role::Queue, vec![in_redis(), silent]);
        assert!(redis.elsewhere);
        let mixed = Group::of(Role::Queue, vec![in_redis(), said(None, Ok(sample::status("b")))]);
        assert!(!mixed.elsewhere);
        assert_eq!(mixed.said.len(), 1);
    }

    #[test]
    fn the_main_group_is_the_first_that_has_a_raft() {
        let group = |role, elsewhere| Group { role, said: Vec::new(), elsewhere };
        let (lock, queue) = (group(Role::Lock, false), group(Role::Queue, false));
        assert_eq!(main(vec![lock, queue]).unwrap().role, Role::Lock);
        assert_eq!(main(vec![group(Role::Queue, false)]).unwrap().role, Role::Queue);
        let failure = main(vec![group(Role::Queue, true)]).unwrap_err();
        assert_eq!(failure.fault.code, Code::WrongRole);
        assert!(failure.fault.message.contains("jobs in Redis"), "{}", failure.fault.message);
    }
}
