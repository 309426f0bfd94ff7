//! `dsctl cluster wait`.

use std::time::Duration;

use dsync::api::NodeInfo;
use dsync_core::Code;

use crate::args::{Goal, Wait};
use crate::commands::survey::Said;
use crate::commands::survey::raft::{Group, no_raft_text};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::{human, progress, views};

use super::{Ctx, survey, verdict};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until the cluster is as wanted; exit 75 when the time limit comes first.
pub(super) async fn run(args: &Wait, ctx: &Ctx) -> Result<Exit> {
    let given = ctx.settings.timeout;
    let spinner = progress::spinner(&ctx.out, "looking".to_owned());
    let mut last = String::new();
    loop {
        match look(args, ctx).await {
            Ok(met) => {
                spinner.finish_and_clear();
                let waited = given.saturating_sub(ctx.left());
                ctx.out.show(&views::cluster::waited(args.goal, &met, human::millis(waited)))?;
                return Ok(Exit::Done);
            }
            Err(missing) if missing != last => {
                spinner.set_message(missing.clone());
                ctx.out.detail(&missing);
                last = missing;
            }
            Err(_) => {}
        }
        if ctx.left() <= PAUSE {
            spinner.finish_and_clear();
            let given = human::ms(human::millis(given));
            return Err(Failure::new(Code::Timeout, format!("not within {given}: {last}"))
                .hint("give it longer with --timeout 60s, or look with `dsctl cluster status`"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What was found, or what is missing.
async fn look(args: &Wait, ctx: &Ctx) -> std::result::Result<String, String> {
    if args.goal == Goal::Leader {
        let groups = survey::raft::groups(ctx, args.of.role()).await;
        return leaders(&groups.map_err(|failure| failure.fault.message)?);
    }
    let said = survey::node_infos(ctx).await.map_err(|failure| failure.fault.message)?;
    judge(args.goal, &said)
}

/// Whether every Raft has a leader: pure.
fn leaders(groups: &[Group]) -> std::result::Result<String, String> {
    let with_raft: Vec<&Group> = groups.iter().filter(|group| !group.elsewhere).collect();
    let (first, more) = match with_raft.as_slice() {
        [] => {
            let text = groups.first().map_or_else(String::new, |group| no_raft_text(group.role));
            return Err(format!("{text}, and no leader; wait for all-up"));
        }
        [first, more @ ..] => (*first, more),
    };
    let one = |group: &Group| verdict::leader(group).map(|leader| format!("{} leads", leader.node));
    if more.is_empty() {
        return one(first);
    }
    let all: Vec<_> = with_raft.iter().map(|group| (group.role, one(group))).collect();
    let said = all.iter().map(|(role, led)| match led {
        Ok(text) | Err(text) => format!("{role}: {text}"),
    });
    let said = said.collect::<Vec<_>>().join("; ");
    if all.iter().all(|(_, led)| led.is_ok()) { Ok(said) } else { Err(said) }
}

/// Whether the nodes are as wanted: pure.
fn judge(goal: Goal, said: &[Said<NodeInfo>]) -> std::result::Result<String, String> {
    let serves = |one: &Said<NodeInfo>| one.answer.as_ref().is_ok_and(|i| i.state == "serving");
    let serving = said.iter().filter(|one| serves(one)).count();
    let missing: Vec<_> = said
        .iter()
        .filter(|one| !serves(one))
        .map(|one| match &one.answer {
            Ok(info) => format!("{} is {}", info.node, info.state),
            Err(fault) => {
                let why = verdict::reason(&fault.message, &one.known);
                format!("{}: {why}", one.known.label())
            }
        })
        .collect();
    let counted = format!("{serving} of {} nodes serve", said.len());
    let met = match goal {
        Goal::Nodes(wanted) => serving >= wanted,
        Goal::AllUp | Goal::Leader => serving > 0 && missing.is_empty(),
    };
    let wanted = match (met, goal) {
        (true, _) => return Ok(counted),
        (false, Goal::Nodes(wanted)) => format!("{counted}, {wanted} wanted"),
        (false, _) => counted,
    };
    Err(std::iter::once(wanted).chain(missing).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::views::cluster::sample;

    #[test]
    fn all_up_means_that_every_known_node_serves() {
        let said = sample::said();
        let missing = judge(Goal::AllUp, &said).unwrap_err();
        assert_eq!(missing, "2 of 3 nodes serve; node-lock-3: connection refused");
        assert_eq!(judge(Goal::AllUp, &said[..2]).unwrap(), "2 of 2 nodes serve");
        assert!(judge(Goal::AllUp, &[]).is_err());
    }

    #[test]
    fn a_number_of_nodes_is_enough_when_they_serve() {
        let said = sample::said();
        assert!(judge(Goal::Nodes(2), &said).is_ok());
        assert_eq!(
            judge(Goal::Nodes(3), &said).unwrap_err(),
            "2 of 3 nodes serve, 3 wanted; node-lock-3: connection refused"
        );
        assert_eq!(judge(Goal::Nodes(9), &said[..2]).unwrap_err(), "2 of 2 nodes serve, 9 wanted");
    }

    #[test]
    fn every_raft_must_have_a_leader_and_a_queue_in_redis_has_none() {
        use dsync_core::node::Role;
        let empty = |role| Group { role, said: Vec::new(), elsewhere: false };
        let redis = Group { elsewhere: true, ..empty(Role::Queue) };
        let missing = leaders(&[empty(Role::Lock), empty(Role::Queue)]).unwrap_err();
        assert!(missing.starts_with("lock: no leader") && missing.contains("queue: no leader"));
        assert!(leaders(&[empty(Role::Lock)]).unwrap_err().starts_with("no leader"));
        assert!(leaders(&[redis]).unwrap_err().contains("its jobs in Redis"));
    }
}
