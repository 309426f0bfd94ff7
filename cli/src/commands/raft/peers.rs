//! `dsctl raft peers`.

use dsync_core::node::Role;

use crate::commands::survey::raft::Group;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, verdict};

/// Shows every voter and learner of every Raft; exit 69 when not one of them answers.
pub(super) async fn run(role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let groups = survey::raft::groups(ctx, role).await?;
    if groups.iter().all(|group| group.elsewhere) {
        return survey::raft::main(groups).map(|_| Exit::Done);
    }
    let rows: Vec<_> = groups.iter().flat_map(views::raft::rows).collect();
    let lines: Vec<_> = groups.iter().map(|group| line(group, groups.len() > 1)).collect();
    ctx.out.show(&views::raft::peers(&rows, &lines))?;
    let answers = groups.iter().flat_map(|group| &group.said).any(|one| one.answer.is_ok());
    Ok(if answers { Exit::Done } else { Exit::Unavailable })
}

/// What has failed in a group and what may still fail.
fn line(group: &Group, one_of_several: bool) -> String {
    if group.elsewhere {
        return format!("{}.", survey::raft::no_raft_text(group.role));
    }
    let rows = views::raft::rows(group);
    let voters = rows.iter().filter(|row| row.voter).count();
    let down = rows.iter().filter(|row| row.voter && !row.up).count();
    let summary = verdict::summary(voters, down, verdict::leader(group).is_ok());
    if one_of_several { format!("{}: {summary}", group.role) } else { summary }
}
