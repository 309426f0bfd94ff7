//! `dsctl cluster wait`.

use std::time::Duration;

use dsync::api::NodeInfo;
use dsync_core::Code;

use crate::args::{Goal, Wait};
use crate::commands::survey::Said;
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
        match look(args.goal, ctx).await {
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
async fn look(goal: Goal, ctx: &Ctx) -> std::result::Result<String, String> {
    if goal == Goal::Leader {
        let said = survey::raft_statuses(ctx).await.map_err(|failure| failure.fault.message)?;
        return verdict::leader(&said).map(|leader| format!("{} leads", leader.node));
    }
    let said = survey::node_infos(ctx).await.map_err(|failure| failure.fault.message)?;
    judge(goal, &said)
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
}
