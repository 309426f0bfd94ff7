//! `dsctl cache keys`.

use dsync::cache::{Key, KeyView, Selector};

use crate::args::{Format, KeyList};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, cache, refusal};

/// Keys of one page.
const PAGE: u64 = 1_000;

/// Lists keys. What is read line by line is printed as it comes; everything else is one table.
pub(super) async fn run(args: KeyList, ctx: &Ctx) -> Result<Exit> {
    let of = match args.tag {
        Some(tag) => Selector::Tag(tag),
        None => Selector::Prefix(args.prefix),
    };
    let lines = matches!(ctx.settings.output, Format::Jsonl | Format::Plain | Format::Name);
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut after: Option<Key> = None;
    let mut found: Vec<KeyView> = Vec::new();
    while left > 0 {
        // A long list takes its time; each page has the whole of it.
        ctx.renew_time();
        let limit = u32::try_from(left.min(PAGE)).unwrap_or(u32::MAX);
        let page = cache(ctx).keys(&of, after.as_ref(), limit).await;
        let page = page.map_err(|error| refusal::of(error, ctx))?;
        left -= left.min(u64::try_from(page.items.len()).unwrap_or(u64::MAX));
        let last = page.items.last().map(|one| one.key.clone());
        let done = !page.more || last.is_none();
        after = last;
        if lines {
            ctx.out.show(&views::cache::keys(&page.items))?;
        } else {
            found.extend(page.items);
        }
        if done || ctx.out.reader_gone() {
            break;
        }
    }
    if !lines {
        ctx.out.show(&views::cache::keys(&found))?;
    }
    Ok(Exit::Done)
}
