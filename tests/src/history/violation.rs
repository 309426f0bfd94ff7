//! What a check found, in words.

use std::fmt;

use super::{Answer, History};

/// An invariant that a history breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one: `L1` to `L10`, or `vacuous`.
    pub invariant: &'static str,
    /// What happened.
    pub text: String,
}

impl Violation {
    /// Names the invariant and tells what happened.
    pub fn new(invariant: &'static str, text: String) -> Self {
        Self { invariant, text }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}

/// What was checked and found right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Requests.
    pub operations: usize,
    /// Grants among them.
    pub grants: usize,
    /// Requests whose answer got lost for good.
    pub unknown: usize,
    /// Writes to guarded resources.
    pub writes: usize,
    /// Faults that fired, by name.
    pub faults: Vec<(String, u64)>,
}

impl Report {
    pub(super) fn of(history: &History) -> Self {
        let count =
            |is: fn(&Answer) -> bool| history.ops.iter().filter(|op| is(&op.answer)).count();
        Self {
            operations: history.ops.len(),
            grants: count(|a| matches!(a, Answer::Granted(_))),
            unknown: count(|a| matches!(a, Answer::Unknown)),
            writes: history.writes.len(),
            faults: history.faults.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} grants, {} unknown, {} guarded writes checked; faults:",
            self.operations, self.grants, self.unknown, self.writes
        )?;
        for (fault, count) in &self.faults {
            write!(f, " {fault}={count}")?;
        }
        Ok(())
    }
}
