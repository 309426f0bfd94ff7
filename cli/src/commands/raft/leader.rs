//! `dsctl raft leader`.

use dsync_core::Code;
use dsync_core::node::Role;

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, verdict};

/// Names the leader of every Raft, asked of every node; exit 69 when the first has none.
pub(super) async fn run(role: Option<Role>, ctx: &Ctx) -> Result<Exit> {
    let groups = survey::raft::groups(ctx, role).await?;
    let Some(first) = groups.iter().find(|group| !group.elsewhere) else {
        return survey::raft::main(groups).map(|_| Exit::Done);
    };
    match verdict::leader(first) {
        Ok(leader) => {
            let all: Vec<_> =
                groups.iter().map(|group| (group.role, verdict::led(group))).collect();
            ctx.out.show(&views::raft::leader(first.role, leader, &all))?;
            Ok(Exit::Done)
        }
        Err(why) => {
            let mut failure = Failure::new(Code::Unavailable, why).hint(
                "`dsctl raft peers` shows every voter; `dsctl cluster wait --for leader` waits",
            );
            failure.fault.retryable = true;
            Err(failure)
        }
    }
}
