//! `dsctl version`.

use crate::error::Result;
use crate::exit::Exit;
use crate::output::views;

use super::Ctx;

/// Prints the version of this program.
pub(super) fn run(ctx: &Ctx) -> Result<Exit> {
    ctx.out.show(&views::misc::version(env!("CARGO_PKG_VERSION")))?;
    Ok(Exit::Done)
}
