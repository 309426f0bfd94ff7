//! `dsctl queue work`.

use crate::args::Work;
use crate::error::{Failure, Result};
use crate::exit::Exit;

use super::Ctx;

/// Runs a command for each job.
pub(super) async fn run(_: Work, _: &Ctx) -> Result<Exit> {
    Err(Failure::usage("not yet"))
}
