//! What was given, where, and which of it counts.

use std::collections::{BTreeMap, BTreeSet};

use super::Key;
use super::problem::{Problem, Warning, one_line, shown};

/// A value from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as typed, `--node-type`.
    pub name: &'static str,
    /// The key that it sets.
    pub key: Key,
    /// Its value.
    pub value: String,
}

/// One assignment in a `.env` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvLine {
    /// Line number, from 1.
    pub number: usize,
    /// What stands before the `=`.
    pub key: String,
    /// The value, quotes and escapes resolved.
    pub value: String,
}

/// A `.env` file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnvFile {
    /// Its name as typed.
    pub name: String,
    /// Its assignments.
    pub lines: Vec<EnvLine>,
}

/// Everything that a configuration is made of.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Flags of the command line.
    pub flags: Vec<Flag>,
    /// The process environment, at least the keys of [`Key::ALL`], sorted.
    pub environment: Vec<(String, String)>,
    /// `.env` files; a later one outdoes an earlier one.
    pub files: Vec<EnvFile>,
    /// What the edge found wrong while reading: files and lines that cannot be read.
    pub problems: Vec<Problem>,
    /// Name of this machine: where a node that listens on every address is reached.
    pub host_name: String,
}

/// One value of the configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key.
    pub key: &'static str,
    /// Its value, secrets masked.
    pub value: String,
    /// `flag --x`, `environment`, `file:line` or `default`.
    pub source: String,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) place: String,
}

/// The values that count, problems and warnings: filled while the configuration is built.
#[derive(Debug, Default)]
pub(super) struct Values {
    given: BTreeMap<Key, Given>,
    refused: BTreeSet<Key>,
    settings: BTreeMap<Key, Setting>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
}

/// Warnings after which no more are kept.
const WARNINGS_MAX: usize = 50;

impl Values {
    /// Picks, by precedence, what counts.
    pub(super) fn collect(inputs: Inputs) -> Self {
        let mut values = Self { problems: inputs.problems, ..Self::default() };
        for file in &inputs.files {
            values.take_file(file);
        }
        for (name, value) in inputs.environment {
            if let (Some(key), false) = (Key::find(&name), value.is_empty()) {
                values.take(key, value, "environment".to_owned());
            }
        }
        for flag in inputs.flags {
            values.take(flag.key, flag.value, format!("flag {}", flag.name));
        }
        values
    }

    fn take_file(&mut self, file: &EnvFile) {
        let name = one_line(&file.name);
        let mut seen: BTreeMap<Key, &EnvLine> = BTreeMap::new();
        for line in &file.lines {
            let place = format!("{name}:{}", line.number);
            let Some(key) = Key::find(&line.key) else {
                self.unknown(&place, &line.key);
                continue;
            };
            match seen.insert(key, line) {
                None => {}
                Some(first) if first.value == line.value => {
                    let message = format!("{} is already in line {}", key.name(), first.number);
                    self.warn(&place, message);
                }
                Some(first) => {
                    let message = format!(
                        "{} is already in line {}, with another value",
                        key.name(),
                        first.number
                    );
                    self.problem(&place, message, "keep one of the two lines");
                }
            }
            self.take(key, line.value.clone(), place);
        }
    }

    fn unknown(&mut self, place: &str, name: &str) {
        let known = match Key::nearest(name) {
            Some(key) => format!("{} is no key; did you mean {}?", shown(name), key.name()),
            None => format!("{} is no key of dsync and has no effect", shown(name)),
        };
        self.warn(place, known);
    }

    fn take(&mut self, key: Key, value: String, place: String) {
        let value = if key.is_secret() { value } else { value.trim().to_owned() };
        if let Some(control) = value.chars().find(|c| c.is_control()) {
            let message = format!("{} contains the control character {control:?}", key.name());
            self.problem(&place, message, "remove it");
            self.refused.insert(key);
            return;
        }
        self.given.insert(key, Given { value, place });
    }

    /// The value of a key, unless there is none or it is empty.
    pub(super) fn get(&self, key: Key) -> Option<Given> {
        self.given.get(&key).filter(|given| !given.value.is_empty()).cloned()
    }

    /// The value of a key that has no default: without one it is a problem.
    pub(super) fn require(&mut self, key: Key, purpose: &str, fix: &str) -> Option<Given> {
        let given = self.get(key);
        if given.is_none() && !self.refused.contains(&key) {
            let message = format!("{} {purpose} and has no default", key.name());
            self.problem(&self.place(key), message, fix);
        }
        given
    }

    /// Where the key was set, be it to nothing; `not set` where it was not.
    pub(super) fn place(&self, key: Key) -> String {
        self.given.get(&key).map_or_else(|| "not set".to_owned(), |given| given.place.clone())
    }

    /// Keeps what the key's value came to, for the list of settings.
    pub(super) fn settle(&mut self, key: Key, value: impl Into<String>) {
        let value = value.into();
        let masked = if key.is_secret() && !value.is_empty() { "****".to_owned() } else { value };
        let source = self.get(key).map_or_else(|| "default".to_owned(), |given| given.place);
        self.settings.insert(key, Setting { key: key.name(), value: masked, source });
    }

    /// Adds a problem.
    pub(super) fn problem(
        &mut self,
        place: &str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.problems.push(Problem::new(place, message, fix));
    }

    /// Adds a warning, up to a limit.
    pub(super) fn warn(&mut self, place: &str, message: impl Into<String>) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(Warning::new(place, message));
        }
    }

    /// The settings in the order of [`Key::ALL`].
    pub(super) fn settings(&mut self) -> Vec<Setting> {
        std::mem::take(&mut self.settings).into_values().collect()
    }

    /// Reads a value, or takes the default where there is none. A bad value is a problem and gives
    /// the default too, so that the rest is still checked.
    pub(super) fn read<T>(
        &mut self,
        key: Key,
        default: T,
        fix: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> T {
        let Some(given) = self.get(key) else { return default };
        match parse(&given.value) {
            Ok(value) => value,
            Err(why) => {
                self.problem(&given.place, format!("{}: {why}", key.name()), fix);
                default
            }
        }
    }
}
