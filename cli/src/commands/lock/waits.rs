//! `dsctl lock deadlocks`.

use dsync::api::{LockReply, LockRequest};

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::lock::waits;

use super::{Ctx, unexpected};

/// Shows who waits for whom.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let answer = ctx.lock(LockRequest::WaitGraph).await?;
    match answer.result {
        Ok(LockReply::WaitGraph { steps, more }) => {
            ctx.out.show(&waits(&steps, more))?;
            Ok(Exit::Done)
        }
        _ => Err(unexpected(&answer.served_by)),
    }
}
