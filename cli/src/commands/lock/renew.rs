//! `dsctl lock renew`.

use dsync_core::lock::{Command, Outcome, RequestKey};

use crate::args::Renew;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::human;
use crate::output::views::lock::renewed;

use super::{Ctx, refusal};

/// Extends the lease of a grant.
pub(super) async fn run(args: Renew, ctx: &Ctx) -> Result<Exit> {
    let command = Command::Renew {
        lock: args.name.clone(),
        token: args.token,
        ttl_ms: args.ttl.map(human::millis),
    };
    let changed = ctx.change(RequestKey::Detached(ctx.request_id), command).await?;
    match changed.outcome {
        Outcome::Renewed { expires_in_ms, session } => {
            ctx.out.show(&renewed(args.name.as_str(), args.token, session, expires_in_ms))?;
            Ok(Exit::Done)
        }
        other => Err(refusal::of(&other, args.name.as_str()).of_request(ctx.request_id)),
    }
}
