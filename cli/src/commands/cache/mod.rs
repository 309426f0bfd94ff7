//! `dsctl cache …`.

mod change;
mod get;
mod inspect;
mod invalidate;
mod keys;
mod lost;
mod nodes;
mod refusal;
mod stats;

use dsync::cache::CacheClient;

use crate::args::Cache;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::Ctx;
use super::ctx::unexpected;

/// Carries a verb out.
pub(super) async fn run(verb: Cache, ctx: &Ctx) -> Result<Exit> {
    match verb {
        Cache::Get(args) => get::one(args, ctx).await,
        Cache::Mget(args) => get::many(args, ctx).await,
        Cache::Set(args) => change::set(*args, ctx).await,
        Cache::Mset(args) => change::set_many(args, ctx).await,
        Cache::Del(args) => change::delete(args, ctx).await,
        Cache::Incr(args) => change::increment(args, ctx).await,
        Cache::Invalidate(args) => invalidate::run(args, ctx).await,
        Cache::Inspect(args) => inspect::run(args, ctx).await,
        Cache::Stats(args) => stats::run(args, ctx).await,
        Cache::Keys(args) => keys::run(args, ctx).await,
        Cache::Lost => lost::run(ctx).await,
        Cache::View => view(ctx).await,
    }
}

/// The cache, for requests under the name of this run, in the time that is left.
fn cache(ctx: &Ctx) -> CacheClient {
    let options = ctx.options(ctx.left(), None);
    CacheClient::new(ctx.client()).timeout(options.timeout).under(options.request_id)
}

/// Shows who takes part.
async fn view(ctx: &Ctx) -> Result<Exit> {
    let view = cache(ctx).view().await.map_err(|error| refusal::of(error, ctx))?;
    ctx.out.show(&views::caches::members(&view))?;
    Ok(Exit::Done)
}
