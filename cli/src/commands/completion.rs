//! `dsctl completion SHELL`.

use clap::CommandFactory as _;

use crate::args::{Cli, Completion};
use crate::error::Result;
use crate::exit::Exit;

use super::Ctx;

/// Prints the completion script of a shell.
pub(super) fn run(args: &Completion, ctx: &Ctx) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dsctl", &mut script);
    ctx.out.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
