//! `dsctl cache lost`.

use dsync::api::{CacheReply, CacheRequest};

use crate::error::Result;
use crate::exit::Exit;
use crate::output::{human, views};

use super::{Ctx, nodes};

/// Lists the changes that were lost; exit 69 when a node did not answer, for it may know of more.
pub(super) async fn run(ctx: &Ctx) -> Result<Exit> {
    let said = nodes::ask(ctx, CacheRequest::Lost, |reply| match reply {
        CacheReply::Lost(lost) => Some(lost),
        _ => None,
    });
    let said = said.await?;
    ctx.out.show(&views::caches::lost(&said, human::millis(human::since_1970())))?;
    let complete = said.iter().all(|one| one.answer.is_ok());
    Ok(if complete { Exit::Done } else { Exit::Unavailable })
}
