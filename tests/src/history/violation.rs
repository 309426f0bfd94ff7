//! What a check found, in words.

use std::collections::BTreeMap;
use std::fmt;

use dsync_core::lock::Mode;
use serde::{Deserialize, Serialize};

use super::{Action, Answer, History, Op};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Requests.
    pub operations: usize,
    /// Requests that were granted.
    pub grants: usize,
    /// Requests whose answer got lost for good.
    pub unknown: usize,
    /// Writes to guarded resources.
    pub writes: usize,
    /// How often each thing that a client can do was done to its end, by name.
    pub kinds: BTreeMap<String, usize>,
    /// Faults that fired, by name.
    pub faults: Vec<(String, u64)>,
}

impl Report {
    pub(super) fn of(history: &History) -> Self {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for op in &history.ops {
            for kind in kinds_of(op) {
                *kinds.entry(kind.to_owned()).or_insert(0) += 1;
            }
        }
        let count = |is: fn(&Op) -> bool| history.ops.iter().filter(|op| is(op)).count();
        Self {
            operations: history.ops.len(),
            grants: count(|op| op.fresh().next().is_some() && !op.is_conversion()),
            unknown: count(|op| op.answer == Answer::Unknown),
            writes: history.writes.len(),
            kinds,
            faults: history.faults.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        }
    }
}

/// What a request shows, beside that it was answered.
fn kinds_of(op: &Op) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    match (&op.action, &op.answer) {
        (Action::Acquire(wants), Answer::Granted(grants)) => {
            let has = |is: fn(&Mode) -> bool| wants.iter().any(|w| is(&w.mode));
            kinds.extend((wants.len() > 1).then_some("group"));
            kinds.extend(has(|m| *m == Mode::Shared).then_some("shared"));
            kinds.extend(has(|m| matches!(m, Mode::Permits { .. })).then_some("permits"));
            kinds.extend(grants.iter().any(|g| g.count > 1).then_some("re-entry"));
        }
        (Action::Convert { to, .. }, Answer::Granted(_)) => {
            kinds.push(if *to == Mode::Exclusive { "upgrade" } else { "downgrade" });
        }
        (_, Answer::WouldBlock(_)) => kinds.push("would block"),
        (_, Answer::Timeout) => kinds.push("timeout"),
        (_, Answer::Cancelled) => kinds.push("cancelled"),
        (_, Answer::Deadlock(_)) => kinds.push("deadlock"),
        _ => {}
    }
    kinds.extend((!op.again.is_empty()).then_some("asked again"));
    kinds
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} operations, {} grants, {} unknown, {} guarded writes checked; of them:",
            self.operations, self.grants, self.unknown, self.writes
        )?;
        for (kind, count) in &self.kinds {
            write!(f, " {kind}={count}")?;
        }
        write!(f, "; faults:")?;
        for (fault, count) in &self.faults {
            write!(f, " {fault}={count}")?;
        }
        Ok(())
    }
}
