//! Help as text, and the way to a subcommand by its words.

use clap::{Command, CommandFactory};

use crate::error::{Failure, Result};

use super::Cli;

/// The command that these words name, built, with its full name.
pub(crate) fn resolve(words: &[String]) -> Result<Command> {
    let mut root = Cli::command();
    root.build();
    let mut found = &mut root;
    for word in words {
        let parent = found.get_name().to_owned();
        found = found.find_subcommand_mut(word).ok_or_else(|| {
            Failure::usage(format!("{word:?} is no command of {parent}"))
                .hint("`dsctl help` lists the commands; `dsctl help exit-codes` the exit codes")
        })?;
    }
    Ok(found.clone())
}

/// The long help of the command that these words name.
pub(crate) fn long_help(words: &[String]) -> Result<clap::builder::StyledStr> {
    Ok(resolve(words)?.render_long_help())
}
