//! What flags, variables, the context and node files say together.

pub(crate) mod context;
pub(crate) mod env_file;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use dsync_core::name::Name;

use crate::args::{self, Color, Format, Global};
use crate::error::{Failure, Result};
use crate::output::{Chat, Style};

use self::context::Contexts;
use self::env_file::Expected;

/// Where a node is looked for when nothing says otherwise: the ports of the shipped node files.
pub(crate) const LOCAL_PORTS: [u16; 9] = [8001, 8002, 8003, 9001, 9002, 9003, 7001, 7002, 7003];

/// Time for a command when nothing says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads a variable; an empty one counts as unset.
pub(crate) type Vars<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The process environment.
pub(crate) fn process_vars(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// How much of the way to the cluster a command needs to know. What it does not need is not looked at,
/// so that nothing that is wrong there stands in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It stays on this machine.
    None,
    /// It keeps endpoints for later: those that a flag or a variable names.
    Named,
    /// It dials.
    Cluster,
}

/// The settings of this run.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoints: Vec<String>,
    /// Nodes that node files name; empty when there are none.
    pub(crate) expected: Vec<Expected>,
    pub(crate) timeout: Duration,
    pub(crate) output: Format,
    pub(crate) style: Style,
    pub(crate) yes: bool,
    pub(crate) request_id: Option<u128>,
    /// `DSCTL_OWNER` or `user@host`.
    pub(crate) owner: String,
    /// Where contexts are kept.
    pub(crate) context_file: Option<PathBuf>,
    /// Endpoints that a flag or variable names, for `context add`.
    pub(crate) named_endpoints: Vec<String>,
}

impl Settings {
    /// Puts everything together: flag, variable, context in use, default, in this order.
    pub(crate) fn resolve(global: &Global, vars: Vars<'_>, way: Way) -> Result<Self> {
        let context_file = context::path(vars);
        let place = match way {
            Way::None => Place::default(),
            Way::Named => Place { named: named_endpoints(global, vars)?, ..Place::default() },
            Way::Cluster => Place::find(global, vars, context_file.as_deref())?,
        };
        let timeout = match (global.timeout, parsed(vars, "DSCTL_TIMEOUT", args::duration)?) {
            (Some(flag), _) => flag,
            (None, Some(variable)) => variable,
            (None, None) => place.timeout.unwrap_or(TIMEOUT),
        };
        if timeout.is_zero() {
            return Err(Failure::usage("--timeout 0 leaves no time for an answer")
                .hint("leave it out for 5s, or give more"));
        }
        let output = global.output.or(parsed(vars, "DSCTL_OUTPUT", value_of::<Format>)?);
        let color = global.color.or(parsed(vars, "DSCTL_COLOR", value_of::<Color>)?);
        Ok(Self {
            timeout,
            output: output.unwrap_or_default(),
            style: Style {
                color: color.unwrap_or_default(),
                no_color: no_color(vars),
                chat: chat(global, vars)?,
                no_progress: global.no_progress || switch(vars, "DSCTL_NO_PROGRESS")?,
            },
            yes: global.yes || switch(vars, "DSCTL_YES")?,
            request_id: match global.request_id {
                Some(id) => Some(id),
                None => parsed(vars, "DSCTL_REQUEST_ID", args::request_id)?,
            },
            owner: vars("DSCTL_OWNER").unwrap_or_else(|| user_at_host(vars)),
            context_file,
            endpoints: place.endpoints,
            expected: place.expected,
            named_endpoints: place.named,
        })
    }

    /// The owner label: the flag's, or the default.
    pub(crate) fn owner(&self, flag: Option<&Name>) -> Result<Name> {
        match flag {
            Some(name) => Ok(name.clone()),
            None => Ok(Name::parse("owner", &self.owner)?),
        }
    }
}

/// The format that errors are printed in when arguments cannot be read.
pub(crate) fn format_of_raw(args: &[std::ffi::OsString], vars: Vars<'_>) -> Format {
    let flag = raw_flag(args, |text, next| match text {
        "-o" | "--output" => next,
        other => other
            .strip_prefix("--output=")
            .or_else(|| other.strip_prefix("-o").map(|v| v.strip_prefix('=').unwrap_or(v))),
    });
    let variable = vars("DSCTL_OUTPUT");
    flag.or(variable.as_deref())
        .and_then(|text| Format::from_str(text, true).ok())
        .unwrap_or_default()
}

/// How help and errors look when arguments cannot be read.
pub(crate) fn style_of_raw(args: &[std::ffi::OsString], vars: Vars<'_>) -> Style {
    let flag = raw_flag(args, |text, next| match text {
        "--color" => next,
        other => other.strip_prefix("--color="),
    });
    let variable = vars("DSCTL_COLOR");
    let color = flag.or(variable.as_deref()).and_then(|text| Color::from_str(text, true).ok());
    Style { color: color.unwrap_or_default(), no_color: no_color(vars), ..Style::default() }
}

/// The first value that `of` finds in an argument and the one behind it, before `--`.
fn raw_flag<'a>(
    args: &'a [std::ffi::OsString],
    of: impl Fn(&'a str, Option<&'a str>) -> Option<&'a str>,
) -> Option<&'a str> {
    let texts: Vec<&str> =
        args.iter().map_while(|a| a.to_str()).take_while(|a| *a != "--").collect();
    texts.iter().enumerate().find_map(|(at, text)| of(text, texts.get(at + 1).copied()))
}

/// Whether the environment asks for no colours on a terminal.
fn no_color(vars: Vars<'_>) -> bool {
    vars("NO_COLOR").is_some() || vars("TERM").is_some_and(|term| term == "dumb")
}

/// Where the cluster is.
#[derive(Default)]
struct Place {
    endpoints: Vec<String>,
    expected: Vec<Expected>,
    timeout: Option<Duration>,
    named: Vec<String>,
}

impl Place {
    /// Flags count before variables; of each, endpoints before node files before a context.
    fn find(global: &Global, vars: Vars<'_>, file: Option<&std::path::Path>) -> Result<Self> {
        let named = named_endpoints(global, vars)?;
        let files = match (global.env_file.is_empty(), vars("DSCTL_ENV_FILE")) {
            (false, _) => global.env_file.iter().flat_map(|text| split_paths(text)).collect(),
            (true, Some(text)) => split_paths(&text),
            (true, None) => Vec::new(),
        };
        let expected = env_file::read_all(&files)?;
        let from_flag_file = !global.env_file.is_empty();
        let only_variable = global.endpoints.is_empty();
        let explicit = if only_variable && (from_flag_file || global.context.is_some()) {
            Vec::new()
        } else {
            named.clone()
        };
        let mut place = Self { endpoints: explicit, expected, timeout: None, named };
        if place.endpoints.is_empty() && global.context.is_none() {
            place.endpoints = env_file::endpoints(&place.expected);
        }
        if place.endpoints.is_empty() {
            place.use_context(global.context.clone().or_else(|| vars("DSCTL_CONTEXT")), file)?;
        }
        if place.endpoints.is_empty() {
            place.endpoints = LOCAL_PORTS.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        }
        Ok(place)
    }

    /// Takes what the named context, or the one in use, says.
    fn use_context(&mut self, name: Option<String>, file: Option<&std::path::Path>) -> Result<()> {
        let Some(file) = file else {
            return match name {
                Some(name) => Err(Failure::new(
                    dsync_core::Code::NotFound,
                    format!(
                        "context {name:?} cannot be looked up: neither XDG_CONFIG_HOME nor HOME is set"
                    ),
                )),
                None => Ok(()),
            };
        };
        let contexts = Contexts::read(file)?;
        let Some(name) = name.or_else(|| contexts.current.clone()) else { return Ok(()) };
        let context = contexts.get(&name)?;
        self.endpoints.clone_from(&context.endpoints);
        self.timeout = context.timeout_ms.map(Duration::from_millis);
        if self.expected.is_empty() {
            self.expected = env_file::read_all(&context.node_files)?;
            if self.endpoints.is_empty() {
                self.endpoints = env_file::endpoints(&self.expected);
            }
        }
        Ok(())
    }
}

/// The endpoints of the flag, or of the variable.
fn named_endpoints(global: &Global, vars: Vars<'_>) -> Result<Vec<String>> {
    match vars("DSCTL_ENDPOINTS") {
        _ if !global.endpoints.is_empty() => parse_endpoints("--endpoints", &global.endpoints),
        Some(text) => parse_endpoints("DSCTL_ENDPOINTS", &[text]),
        None => Ok(Vec::new()),
    }
}

fn split_paths(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

fn parse_endpoints(what: &str, texts: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for text in texts {
        let some = args::endpoints(text).map_err(|why| Failure::usage(format!("{what}: {why}")))?;
        found.extend(some.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
    }
    if found.is_empty() && !texts.is_empty() {
        return Err(Failure::usage(format!("{what} names no endpoint"))
            .hint("write HOST:PORT, such as 127.0.0.1:8001"));
    }
    Ok(found)
}

/// A variable, read by the parser of its flag.
fn parsed<T>(
    vars: Vars<'_>,
    name: &str,
    parse: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<Option<T>> {
    match vars(name) {
        None => Ok(None),
        Some(text) => parse(text.trim())
            .map(Some)
            .map_err(|why| Failure::usage(format!("variable {name}: {why}"))),
    }
}

fn value_of<T: ValueEnum>(text: &str) -> std::result::Result<T, String> {
    T::from_str(text, true).map_err(|_| {
        let good: Vec<_> = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value)
            .map(|value| value.get_name().to_owned())
            .collect();
        format!("{text:?} is none of {}", good.join(", "))
    })
}

/// A variable that is on or off.
fn switch(vars: Vars<'_>, name: &str) -> Result<bool> {
    let on = parsed(vars, name, |text| match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(format!("{text:?} is neither 1 nor 0")),
    })?;
    Ok(on.unwrap_or(false))
}

/// How much is told: --quiet wins over --verbose, a flag over the variables.
fn chat(global: &Global, vars: Vars<'_>) -> Result<Chat> {
    let variables = (switch(vars, "DSCTL_QUIET")?, switch(vars, "DSCTL_VERBOSE")?);
    let (quiet, verbose) = match (global.quiet, global.verbose) {
        (false, false) => variables,
        flags => flags,
    };
    Ok(match (quiet, verbose) {
        (true, _) => Chat::Quiet,
        (false, true) => Chat::Details,
        (false, false) => Chat::Notes,
    })
}

/// `user@host`: the variable USER or LOGNAME or the number of the user, and the name of the host.
fn user_at_host(vars: Vars<'_>) -> String {
    let user = vars("USER")
        .or_else(|| vars("LOGNAME"))
        .unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{}@{}", user.trim(), host)
}

#[cfg(test)]
mod tests;
