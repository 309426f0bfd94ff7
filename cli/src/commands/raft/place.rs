//! Which node is asked to steer a Raft: one of the group that is meant, its leader if it can be.
//!
//! Any endpoint will do for questions about all nodes. What reads or changes the state of one group
//! must not go to another one, only because a node of that one answered first.

use dsync_core::Code;
use dsync_core::node::Role;

use crate::commands::survey::raft::Group;
use crate::commands::way::Way;
use crate::error::{Failure, Result};

use super::{Ctx, survey, verdict};

/// A group, and the way to a node of it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) way: Way,
}

/// The place of the group of that role; without one of the lock nodes, or else of the queue nodes.
///
/// # Errors
/// `WrongRole`: it has no Raft; `Unavailable`: none of its nodes answers.
pub(super) async fn of(role: Option<Role>, ctx: &Ctx) -> Result<Place> {
    place(&survey::raft::group(ctx, role).await?, ctx)
}

/// The place of the group that a node belongs to.
///
/// # Errors
/// As [`of`]; `InvalidArgument`: `named` is another role.
pub(super) async fn of_node(node: &str, named: Option<Role>, ctx: &Ctx) -> Result<Place> {
    let groups = survey::raft::groups(ctx, None).await?;
    let role = agreed(&format!("{node} is"), role_in(&groups, node), named)?;
    let Some(role) = role else { return place(&survey::raft::main(groups)?, ctx) };
    match groups.into_iter().find(|group| group.role == role) {
        Some(group) => place(&survey::raft::main(vec![group])?, ctx),
        None => of(Some(role), ctx).await,
    }
}

/// That a node is of the role that was named.
///
/// # Errors
/// `InvalidArgument`: it is of another.
pub(super) async fn is_of(node: &str, named: Option<Role>, ctx: &Ctx) -> Result<()> {
    if named.is_some() {
        let groups = survey::raft::groups(ctx, None).await?;
        agreed(&format!("{node} is"), role_in(&groups, node), named)?;
    }
    Ok(())
}

fn role_in(groups: &[Group], node: &str) -> Option<Role> {
    groups.iter().find(|group| group.has(node)).map(|group| group.role)
}

fn place(group: &Group, ctx: &Ctx) -> Result<Place> {
    Ok(Place { role: group.role, way: Way::of(chosen(group)?, ctx) })
}

/// The leader; while there is none, anyone, who will say so. Pure.
fn chosen(group: &Group) -> Result<&survey::Known> {
    let leader = verdict::leader(group);
    let name = leader.as_ref().ok().map(|status| status.node.as_str());
    let answering = || group.said.iter().filter(|one| one.answer.is_ok());
    let known = answering().find(|one| one.known.node.as_deref() == name);
    match (known.or_else(|| answering().next()), leader) {
        (Some(one), _) => Ok(&one.known),
        (None, Err(why)) if !group.said.is_empty() => Err(Failure::new(Code::Unavailable, why)),
        (None, _) => {
            let role = group.role;
            let why = format!("no {role} node is known at the endpoints");
            let hint = "`dsctl raft peers` shows every Raft; --role says which one is meant";
            Err(Failure::new(Code::Unavailable, why).hint(hint))
        }
    }
}

/// What is known and what was named, which must be the same. Pure.
pub(super) fn agreed(what: &str, known: Option<Role>, named: Option<Role>) -> Result<Option<Role>> {
    match (known, named) {
        (Some(is), Some(named)) if is != named => {
            Err(Failure::usage(format!("{what} of the {is} nodes, but --role says {named}"))
                .hint("nothing was done; leave --role out"))
        }
        _ => Ok(known.or(named)),
    }
}

#[cfg(test)]
mod tests {
    use dsync::api::RaftStatus;
    use dsync_core::Fault;

    use super::survey::{Known, Said};
    use super::*;
    use crate::output::views::raft::sample::status;

    fn said(node: &str, leads: bool) -> Said<RaftStatus> {
        let (state, ack) = if leads { ("leader", Some(5)) } else { ("follower", None) };
        let status = RaftStatus { state: state.to_owned(), quorum_ack_age_ms: ack, ..status(node) };
        Said { known: known(node), answer: Ok(status) }
    }

    fn silent(node: &str) -> Said<RaftStatus> {
        Said { known: known(node), answer: Err(Fault::unavailable("connection refused")) }
    }

    fn known(node: &str) -> Known {
        let address = format!("{node}:9001");
        Known { node: Some(node.to_owned()), role: Some(Role::Queue), address }
    }

    fn group(said: Vec<Said<RaftStatus>>) -> Group {
        Group { role: Role::Queue, said, elsewhere: false }
    }

    #[test]
    fn the_leader_is_asked_or_anyone_that_answers() {
        let led = group(vec![silent("a"), said("b", false), said("c", true)]);
        assert_eq!(chosen(&led).unwrap().label(), "c");
        let leaderless = group(vec![silent("a"), said("b", false)]);
        assert_eq!(chosen(&leaderless).unwrap().label(), "b");
        let down = chosen(&group(vec![silent("a")])).unwrap_err();
        assert!(down.fault.message.contains("0 of 1 queue nodes answered"), "{down:?}");
        let unknown = chosen(&group(Vec::new())).unwrap_err();
        assert!(unknown.fault.message.contains("no queue node is known"), "{unknown:?}");
    }

    #[test]
    fn a_role_that_is_not_the_one_of_the_node_is_refused() {
        let (lock, queue) = (Some(Role::Lock), Some(Role::Queue));
        assert_eq!(agreed("a is", queue, None).unwrap(), queue);
        assert_eq!(agreed("a is", queue, queue).unwrap(), queue);
        assert_eq!(agreed("a is", None, lock).unwrap(), lock);
        let failure = agreed("a is", queue, lock).unwrap_err();
        assert_eq!(failure.fault.message, "a is of the queue nodes, but --role says lock");
    }
}
