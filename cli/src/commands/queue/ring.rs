//! `dsctl queue ring`.

use std::time::Duration;

use dsync::api::{QueueReply, QueueRequest};

use crate::args::Ring;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, unexpected};

/// Shows which node is in charge of what.
pub(super) async fn run(args: Ring, ctx: &Ctx) -> Result<Exit> {
    let request = QueueRequest::Ring { queue: args.key.clone() };
    let answer = ctx.queue(request, Duration::ZERO, ctx.request_id).await?;
    let Ok(QueueReply::Ring(ring)) = answer.result else {
        return Err(unexpected(&answer.served_by));
    };
    ctx.out.show(&views::queues::ring(&ring, args.key.as_ref()))?;
    Ok(Exit::Done)
}
