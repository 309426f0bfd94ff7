//! `dsctl cache inspect`.

use crate::args::CacheKey;
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, cache, refusal};

/// Shows where a key is. One that is not there has a home, too.
pub(super) async fn run(args: CacheKey, ctx: &Ctx) -> Result<Exit> {
    let inspected = cache(ctx).inspect(args.key.as_str()).await;
    let inspected = inspected.map_err(|error| refusal::of(error, ctx))?;
    ctx.out.show(&views::caches::inspected(&args.key, &inspected))?;
    Ok(Exit::Done)
}
