//! Flags that every command takes, before or after its name; each has a variable.

use clap::{Args, ValueEnum};

use super::parse;

/// Flags of every command. An empty variable counts as unset (see `settings`).
#[expect(clippy::struct_excessive_bools, reason = "one per flag that is on or off")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Any nodes of any role [env: DSCTL_ENDPOINTS] [default: the local ports 8001-8003, 9001-9003, 7001-7003]
    #[arg(short, long, global = true, value_name = "HOST:PORT,…")]
    pub(crate) endpoints: Vec<String>,
    /// Node files to take endpoints and the expected nodes from [env: DSCTL_ENV_FILE]
    #[arg(long, global = true, value_name = "FILE,…", hide_short_help = true)]
    pub(crate) env_file: Vec<String>,
    /// A cluster named by `dsctl context add` [env: DSCTL_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) context: Option<String>,
    /// Time for the whole command; a --wait is added to it [env: DSCTL_TIMEOUT] [default: 5s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse::duration, allow_hyphen_values = true)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Format of what is printed [env: DSCTL_OUTPUT] [default: table]
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_possible_values = false
    )]
    pub(crate) output: Option<Format>,
    /// Colours [env: DSCTL_COLOR] [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN", hide_short_help = true)]
    pub(crate) color: Option<Color>,
    /// No progress bars [env: DSCTL_NO_PROGRESS]
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) no_progress: bool,
    /// Answer yes where a question would be asked [env: DSCTL_YES]
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) yes: bool,
    /// No notes on stderr, errors only [env: DSCTL_QUIET]
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// More notes on stderr [env: DSCTL_VERBOSE]
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) verbose: bool,
    /// Name of a lock, queue or cache request, UUID or up to 32 hex digits: repeating it has no second effect [env: DSCTL_REQUEST_ID]
    #[arg(long, global = true, value_name = "ID", value_parser = parse::request_id, hide_short_help = true)]
    pub(crate) request_id: Option<u128>,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One document
    Json,
    /// One document per line
    Jsonl,
    /// The same document as YAML
    Yaml,
    /// Tab-separated values without a heading, durations in milliseconds
    Plain,
    /// Names only
    Name,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR or TERM=dumb says otherwise
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}
