//! What is wrong with a configuration, in words that name the place, the value and the fix.

use std::fmt;

/// One reason why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line`, `flag --x`, `environment`, or `not set`.
    pub place: String,
    /// What is wrong, naming the key and the value.
    pub message: String,
    /// What to write instead.
    pub fix: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(
        place: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { place: place.into(), message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Something that works but is hardly meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// As in [`Problem`].
    pub place: String,
    /// What is odd, and what to do.
    pub message: String,
}

impl Warning {
    /// A warning at a place.
    pub fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong with a configuration. Displays as the report that a user reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// At least one.
    pub problems: Vec<Problem>,
    /// What else is odd: often the cause, such as a misspelt key.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let problems = if count == 1 { "problem" } else { "problems" };
        write!(f, "{count} {problems} in the configuration, nothing was started")?;
        for (index, problem) in self.problems.iter().enumerate() {
            let number = index + 1;
            write!(f, "\n{number:>3}. {problem}\n     fix: {}", problem.fix)?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// A file name on one line: control characters and what reverses the direction of writing escaped.
pub(super) fn one_line(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// A value as a message shows it: quoted, control characters escaped, at most 64 characters, and
/// without what stands before an `@`, which may be a password.
pub(super) fn shown(value: &str) -> String {
    let (cut, value) = match value.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", value),
    };
    let mut text = String::from("\"");
    text.push_str(cut);
    for (index, c) in value.chars().enumerate() {
        if index == 64 {
            text.push('…');
            break;
        }
        if c == '"' || c == '\'' {
            text.push(c);
        } else {
            text.extend(c.escape_debug());
        }
    }
    text.push('"');
    text
}
