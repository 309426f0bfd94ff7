//! Lines of a `.env` file, made so that their parser reads what the writer meant.
//!
//! The parser at the edge (dotenvy 0.15) would put the value of another variable in the place of a
//! `$NAME` (outside single quotes), let a quoted value run over several lines, stop at a space in a
//! bare value, take `KEY=#x` for an empty value, and keep a byte order mark. So the lines are
//! checked here, one by one, and handed on with every value in double quotes and its `$`, `"` and
//! `\` escaped.

use super::problem::{Problem, one_line, shown};
use super::{EnvLine, Key};

/// Longest line in bytes: 64 addresses with the longest names fit.
pub const LINE_MAX: usize = 32 * 1024;
/// Most bytes of a file. The edge reads at most one more, so that it never holds a huge one.
pub const FILE_MAX: usize = 4 * 1024 * 1024;
/// Problems after which the rest of a file is not looked at.
const PROBLEMS_MAX: usize = 20;
/// Most assignments in one file.
const ASSIGNMENTS_MAX: usize = 1_024;

/// One assignment, ready for the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Line number, from 1.
    pub number: usize,
    /// `KEY="value"`, escaped.
    pub text: String,
}

/// Checks the lines of the file `name` and prepares those that assign something.
///
/// # Limits
/// Files of 4 MiB, lines of 32 KiB, 1 024 assignments; after 20 problems the rest is not looked at.
pub fn prepare(name: &str, bytes: &[u8]) -> (Vec<Prepared>, Vec<Problem>) {
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    if bytes.len() > FILE_MAX {
        let message = format!("the file has more than {FILE_MAX} bytes");
        let problem = Problem::new(one_line(name), message, "name the .env file of one node");
        return (lines, vec![problem]);
    }
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let problem = Problem::new(place(name, 1), "the file is UTF-16", "save it as UTF-8");
        return (lines, vec![problem]);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, raw) in bytes.split(|b| *b == b'\n').enumerate() {
        let number = index + 1;
        let here = place(name, number);
        match prepare_line(raw) {
            Ok(None) => {}
            Ok(Some(_)) if lines.len() >= ASSIGNMENTS_MAX => {
                let message = format!("more than {ASSIGNMENTS_MAX} assignments in one file");
                problems.push(Problem::new(here, message, "name the .env file of one node"));
                break;
            }
            Ok(Some(text)) => lines.push(Prepared { number, text }),
            Err(_) if problems.len() >= PROBLEMS_MAX => {
                let message = "the rest of the file is not looked at";
                problems.push(Problem::new(here, message, "is this a .env file?"));
                break;
            }
            Err((message, fix)) => problems.push(Problem::new(here, message, fix)),
        }
    }
    (lines, problems)
}

/// What the parser said to one prepared line. Its own message would show the value.
///
/// # Errors
/// The line is refused.
pub fn parsed(
    name: &str,
    number: usize,
    result: Option<(String, String)>,
) -> Result<EnvLine, Problem> {
    match result {
        Some((key, value)) => Ok(EnvLine { number, key, value }),
        None => Err(Problem::new(
            place(name, number),
            "the value in double quotes has an escape that is not one of \\\\ \\\" \\' \\$ \\n",
            "put the value in single quotes, where a backslash is a backslash",
        )),
    }
}

/// A file that cannot be read at all, and why.
pub fn unreadable(name: &str, why: impl std::fmt::Display) -> Problem {
    let fix = "name a .env file that this user may read; examples are in envs/";
    Problem::new(one_line(name), format!("cannot be read: {why}"), fix)
}

fn place(name: &str, number: usize) -> String {
    format!("{}:{number}", one_line(name))
}

type Bad = (String, String);

fn bad<T>(message: impl Into<String>, fix: impl Into<String>) -> Result<T, Bad> {
    Err((message.into(), fix.into()))
}

fn prepare_line(raw: &[u8]) -> Result<Option<String>, Bad> {
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    if raw.len() > LINE_MAX {
        let message = format!("the line has {} bytes, {LINE_MAX} are the most", raw.len());
        return bad(message, "shorten it; is this a .env file?");
    }
    let line = match std::str::from_utf8(raw) {
        Ok(line) => line.trim(),
        Err(error) => {
            let column = error.valid_up_to() + 1;
            return bad(format!("byte {column} is not UTF-8"), "save the file as UTF-8");
        }
    };
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if let Some(control) = line.chars().find(|c| c.is_control() && *c != '\t') {
        return bad(format!("the line contains the control character {control:?}"), "remove it");
    }
    let assignment = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) && !rest.trim_start().starts_with('=') => {
            rest.trim_start()
        }
        _ => line,
    };
    let Some((key, value)) = assignment.split_once('=') else {
        return missing_equals(assignment);
    };
    let key = key.trim_end();
    if !is_key(key) {
        return missing_equals(key);
    }
    let value = match value.trim_start() {
        bare if bare.starts_with('\'') => single_quoted(key, bare)?,
        bare if bare.starts_with('"') => double_quoted(key, bare)?,
        _ => unquoted(key, value)?,
    };
    Ok(Some(format!("{key}=\"{value}\"")))
}

fn is_key(key: &str) -> bool {
    key.len() <= 64
        && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
}

/// Shows the beginning of the line only where it is a key or nearly one: anything else may be
/// (part of) a secret.
fn missing_equals(line: &str) -> Result<Option<String>, Bad> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(line.len());
    let word = line.get(..end).unwrap_or_default();
    match Key::nearest(word) {
        Some(key) => bad(
            format!("there is no = right after {}", shown(word)),
            format!("write {}=value", key.name()),
        ),
        None => bad("the line is not KEY=value", "write KEY=value, or begin the line with #"),
    }
}

const QUOTE_FIX: &str = "put the whole value in single quotes";

/// A bare value, from right after the `=` on.
fn unquoted(key: &str, text: &str) -> Result<String, Bad> {
    if text.starts_with('#') {
        return bad(format!("the value of {key} begins with #"), QUOTE_FIX);
    }
    let mut end = text.len();
    let mut after_space = false;
    for (at, c) in text.char_indices() {
        match c {
            '#' if after_space => {
                end = at;
                break;
            }
            '\'' | '"' => return bad(format!("the value of {key} has a quote inside"), QUOTE_FIX),
            '\\' => return bad(format!("the value of {key} has a bare backslash"), QUOTE_FIX),
            ' ' | '\t' => {}
            c if c.is_whitespace() => {
                return bad(format!("the value of {key} contains the space {c:?}"), QUOTE_FIX);
            }
            _ => {}
        }
        after_space = matches!(c, ' ' | '\t');
    }
    Ok(escape(text.get(..end).unwrap_or_default().trim()))
}

/// A value in single quotes: everything inside is literal.
fn single_quoted(key: &str, text: &str) -> Result<String, Bad> {
    let inside = text.strip_prefix('\'').unwrap_or(text);
    let Some((value, rest)) = inside.split_once('\'') else {
        return bad(format!("the quote before the value of {key} is never closed"), QUOTE_FIX);
    };
    nothing_after(key, rest)?;
    Ok(escape(value))
}

/// A value in double quotes: escapes are the parser's business, `$` is made literal.
fn double_quoted(key: &str, text: &str) -> Result<String, Bad> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => {
                nothing_after(key, text.get(at + 1..).unwrap_or_default())?;
                return Ok(value);
            }
            '$' if !escaped => value.push_str("\\$"),
            _ => value.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    bad(format!("the quote before the value of {key} is never closed"), QUOTE_FIX)
}

/// Only a comment may follow a closing quote.
fn nothing_after(key: &str, rest: &str) -> Result<(), Bad> {
    let comment = rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#');
    if rest.trim().is_empty() || comment {
        return Ok(());
    }
    bad(format!("something follows the closing quote of the value of {key}"), QUOTE_FIX)
}

fn escape(literal: &str) -> String {
    let mut text = String::with_capacity(literal.len());
    for c in literal.chars() {
        if matches!(c, '\\' | '"' | '$') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
