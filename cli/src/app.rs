//! From arguments to an exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser as _, error::ContextKind};

use crate::args::Cli;
use crate::commands::{self, Ctx};
use crate::error::Failure;
use crate::exit::Exit;
use crate::output::Output;
use crate::settings::{Settings, format_of_raw, process_vars, style_of_raw};

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let raw: Vec<_> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&raw) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &early_output(&raw)).into(),
    };
    let settings = match Settings::resolve(&cli.global, &process_vars, cli.command.way()) {
        Ok(settings) => settings,
        Err(failure) => {
            early_output(&raw).failure(&failure);
            return failure.exit.into();
        }
    };
    let out = Output::new(settings.output, settings.style);
    let ctx = Ctx::new(settings, out);
    let exit = commands::run(cli.command, &ctx);
    let exit = exit.unwrap_or_else(|failure| {
        ctx.out.failure(&failure);
        failure.exit
    });
    exit.into()
}

/// An output for what happens before the settings are known.
fn early_output(raw: &[OsString]) -> Output {
    Output::new(format_of_raw(raw, &process_vars), style_of_raw(raw, &process_vars))
}

/// Characters of one word in a message about wrong use.
const WORD_SHOWN: usize = 100;

/// Help and version are a success; everything else that clap refuses is a usage error.
fn usage(error: &clap::Error, out: &Output) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match out.styled(&error.render()) {
            Ok(()) => Exit::Done,
            Err(failure) => failure.exit,
        },
        _ => {
            let failure = usage_failure(error);
            out.failure(&failure);
            failure.exit
        }
    }
}

/// Clap's message in our words: what is wrong, then clap's own advice as the hint.
pub(crate) fn usage_failure(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing").hint("`dsctl --help` lists the commands");
    }
    let text = error.render().to_string();
    let body = text.strip_prefix("error: ").unwrap_or(&text);
    let (message, rest) = body.split_once("\n\n").unwrap_or((body, ""));
    let message: Vec<_> = message.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let tip = rest.lines().map(str::trim).find_map(|line| line.strip_prefix("tip: "));
    let usage = error
        .get(ContextKind::Usage)
        .map(|value| value.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" "));
    let hint = match (tip, usage) {
        (Some(tip), Some(usage)) => format!("{tip}; {usage}"),
        (Some(tip), None) => tip.to_owned(),
        (None, Some(usage)) => usage,
        (None, None) => "the same command with --help explains its arguments".to_owned(),
    };
    Failure::usage(shortened(&message.join(" "))).hint(shortened(&hint))
}

/// The text with words cut that nobody would read to their end: an argument may be a megabyte.
fn shortened(text: &str) -> String {
    let cut = |word: &str| match word.char_indices().nth(WORD_SHOWN) {
        Some((end, _)) => format!("{}…", word.get(..end).unwrap_or_default()),
        None => word.to_owned(),
    };
    text.split(' ').map(cut).collect::<Vec<_>>().join(" ")
}
