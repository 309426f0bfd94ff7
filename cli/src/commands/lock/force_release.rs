//! `dsctl lock force-release`.

use dsync_core::lock::{Command, Outcome, RequestKey};

use crate::args::ForceRelease;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views::lock::forced;

use super::{Ctx, refusal};

/// Takes a grant away from whoever has it.
pub(super) async fn run(args: ForceRelease, ctx: &Ctx) -> Result<Exit> {
    let command = Command::ForceRelease {
        lock: args.name.clone(),
        token: args.token,
        actor: ctx.settings.owner(args.owner.as_ref())?,
        reason: args.reason.clone(),
    };
    let changed = ctx.change(RequestKey::Detached(ctx.request_id), command).await?;
    match changed.outcome {
        Outcome::Released { token, .. } => {
            ctx.out.show(&forced(args.name.as_str(), token, &args.reason))?;
            Ok(Exit::Done)
        }
        other => Err(refusal::of(&other, args.name.as_str()).of_request(ctx.request_id)),
    }
}
