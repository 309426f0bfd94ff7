//! `dsctl cache get`, `dsctl cache mget`.

use dsync_core::Code;

use crate::args::{CacheGet, CacheKeys, Format};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, cache, refusal};

/// Prints a value; exit 66 when there is none.
pub(super) async fn one(args: CacheGet, ctx: &Ctx) -> Result<Exit> {
    let key = &args.key;
    let read = match args.max_stale {
        None => cache(ctx).get(key.as_str()).await,
        Some(max_stale) => cache(ctx).get_stale(key.as_str(), max_stale).await,
    };
    let read = read.map_err(|error| refusal::of(error, ctx))?;
    let Some(value) = &read.value else {
        return Err(Failure::new(Code::NotFound, format!("there is no key {key}"))
            .hint("`dsctl cache keys --prefix TEXT` lists those that there are"));
    };
    if ctx.settings.output == Format::Plain {
        ctx.out.bytes(value.as_slice())?;
    } else {
        ctx.out.show(&views::cache::read(key, &read))?;
    }
    Ok(Exit::Done)
}

/// Prints several values, each current by itself.
pub(super) async fn many(args: CacheKeys, ctx: &Ctx) -> Result<Exit> {
    let read = cache(ctx).get_many(&args.keys).await.map_err(|error| refusal::of(error, ctx))?;
    ctx.out.show(&views::cache::read_many(&args.keys, &read))?;
    Ok(Exit::Done)
}
