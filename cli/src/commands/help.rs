//! `dsctl help`.

use crate::args::{self, Help};
use crate::error::Result;
use crate::exit::{Exit, TABLE};
use crate::output::views;

use super::Ctx;

/// Explains a command, or prints the exit codes.
pub(super) fn run(args: &Help, ctx: &Ctx) -> Result<Exit> {
    match args.topic.as_slice() {
        [topic] if topic == "exit-codes" => ctx.out.show(&views::misc::exit_codes(TABLE))?,
        words => ctx.out.styled(&args::long_help(words)?)?,
    }
    Ok(Exit::Done)
}
