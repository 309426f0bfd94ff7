//! Asking every cache node. A silent one is an answer, too.

use std::time::Duration;

use dsync::api::{Answer, CacheReply, CacheRequest};
use dsync_core::node::Role;
use dsync_core::{Code, Fault};
use futures::future::join_all;

use crate::commands::survey::{Known, Said, directory};
use crate::commands::way::Way;
use crate::error::{Failure, Result};

use super::{Ctx, unexpected};

/// Longest time that one node may take.
const EACH: Duration = Duration::from_secs(1);

/// What every cache node says to a request about itself, in order of their names.
pub(super) async fn ask<T>(
    ctx: &Ctx,
    request: CacheRequest,
    of: impl Fn(CacheReply) -> Option<T>,
) -> Result<Vec<Said<T>>> {
    let mut known = directory(ctx).await?;
    known.retain(|one| one.role == Some(Role::Cache));
    if known.is_empty() {
        return Err(Failure::new(Code::Unavailable, "no cache node is known of")
            .hint("`dsctl cluster status` shows which nodes there are"));
    }
    known.sort_by(|a, b| a.label().cmp(b.label()));
    let asked = join_all(known.iter().map(|one| ask_one(ctx, one, request.clone()))).await;
    let said = known.into_iter().zip(asked).map(|(known, answer)| {
        let answer = answer.and_then(|answer| {
            let reply = answer.result?;
            of(reply).ok_or_else(|| unexpected(&answer.served_by).fault)
        });
        Said { known, answer }
    });
    Ok(said.collect())
}

async fn ask_one(
    ctx: &Ctx,
    known: &Known,
    request: CacheRequest,
) -> std::result::Result<Answer<CacheReply>, Fault> {
    let way = Way::of(known, ctx);
    way.client.cache(request, ctx.options(EACH, way.target)).await
}
