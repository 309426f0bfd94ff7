//! `dsctl lock show`.

use dsync_core::Code;

use crate::args::Show;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views::lock::show;

use super::watch::{Watch, events_from_now};
use super::{Ctx, get};

/// Shows one lock; exit 66 when it is free and nobody waits.
pub(super) async fn run(args: Show, ctx: &Ctx) -> Result<Exit> {
    if !args.watch {
        let lock = get(ctx, &args.name).await?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("{} is free: nobody holds it or waits", args.name))
        })?;
        ctx.out.show(&show(&lock))?;
        return Ok(Exit::Done);
    }
    let mut next = events_from_now(ctx).await?;
    let watch = Watch::new(ctx, |lock| lock == args.name.as_str());
    loop {
        if let Some(lock) = get(ctx, &args.name).await? {
            ctx.out.show_next(&show(&lock))?;
        }
        match watch.follow(next).await? {
            Some(anew) => next = anew,
            None => return Ok(Exit::Done),
        }
    }
}
