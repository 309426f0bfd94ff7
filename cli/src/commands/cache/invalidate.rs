//! `dsctl cache invalidate`.

use dsync::cache::Selector;

use crate::args::Inv;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::views;

use super::{Ctx, cache, refusal};

/// Deletes keys by the beginning of their name, or by a tag.
pub(super) async fn run(args: Inv, ctx: &Ctx) -> Result<Exit> {
    let of = selector(args)?;
    let count = match &of {
        Selector::Prefix(prefix) => cache(ctx).invalidate_prefix(prefix).await,
        Selector::Tag(tag) => cache(ctx).invalidate_tag(tag.as_str()).await,
    };
    let count = count.map_err(|error| refusal::of(error, ctx))?;
    ctx.out.show(&views::cache::invalidated(&of, count))?;
    Ok(Exit::Done)
}

/// A slip of the finger, or an empty variable of a script, must not delete everything.
fn selector(args: Inv) -> Result<Selector> {
    match args {
        Inv { tag: Some(tag), .. } => Ok(Selector::Tag(tag)),
        Inv { prefix: Some(prefix), all: true, .. } if !prefix.is_empty() => {
            Err(Failure::usage(format!("--all and --prefix {prefix:?} are not the same keys"))
                .hint("give one of them; nothing was deleted"))
        }
        Inv { all: true, .. } => Ok(Selector::Prefix(String::new())),
        Inv { prefix: Some(prefix), .. } if !prefix.is_empty() => Ok(Selector::Prefix(prefix)),
        Inv { .. } => Err(Failure::usage("an empty prefix means every key there is")
            .hint("add --all if that is meant; nothing was deleted")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_deleted_only_with_all() {
        let of = |prefix: Option<&str>, all| {
            selector(Inv { prefix: prefix.map(str::to_owned), tag: None, all })
        };
        let prefix = |text: &str| Ok(Selector::Prefix(text.to_owned()));
        assert_eq!(of(Some("user/"), false), prefix("user/"));
        assert_eq!(of(None, true), prefix(""));
        assert_eq!(of(Some(""), true), prefix(""));
        assert_eq!(of(Some(""), false).unwrap_err().exit, Exit::Usage);
        assert_eq!(of(Some("user/"), true).unwrap_err().exit, Exit::Usage);
    }
}
