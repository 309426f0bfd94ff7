//! `dsctl raft leader`.

use dsync_core::Code;

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, survey, verdict};

/// Names the leader, asked of every lock node; exit 69 when there is none.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let said = survey::raft_statuses(ctx).await?;
    match verdict::leader(&said) {
        Ok(leader) => {
            ctx.out.show(&views::raft::leader(leader))?;
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
