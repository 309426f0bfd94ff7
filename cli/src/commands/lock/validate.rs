//! `dsctl lock validate`.

use dsync::api::{LockReply, LockRequest};
use dsync_core::Code;

use crate::args::Validate;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::lock::valid;

use super::{Ctx, unexpected};

/// Checks that a token still holds its lock; exit 73 if not.
pub(super) async fn run(args: Validate, ctx: &Ctx) -> Result<Exit> {
    let request = LockRequest::Validate { lock: args.name.clone(), token: args.token };
    let answer = ctx.lock(request).await?;
    match answer.result {
        Ok(LockReply::Valid(Some(holder))) => {
            ctx.out.show(&valid(args.name.as_str(), &holder))?;
            Ok(Exit::Done)
        }
        Ok(LockReply::Valid(None)) => Err(Failure::new(
            Code::Conflict,
            format!("token {} does not hold {}", args.token.0, args.name),
        )
        .hint("`dsctl lock show NAME` tells who does")),
        _ => Err(unexpected(&answer.served_by)),
    }
}
