//! Errors of the cache, as failures with an exit code and a next step.

use dsync::cache::{CacheError, Key};
use dsync_core::Code;
use dsync_core::cache::op::Condition;

use crate::error::Failure;
use crate::exit::Exit;

use super::Ctx;

/// Name of a condition that does not hold, in JSON.
pub(super) const UNMET: &str = "condition_unmet";

/// What can be done about a change whose outcome is unknown. A node knows its repetition again only
/// until somebody else changes the key.
const ONLY_WHILE: &str = "that holds as long as nobody else has changed the key since; where someone may have, look first: `dsctl cache get KEY`";

/// What an error means.
pub(super) fn of(error: CacheError, ctx: &Ctx) -> Failure {
    match error {
        CacheError::Unmet { key, version } => {
            let now = match version {
                Some(version) => format!("{key} has version {version}"),
                None => format!("there is no key {key}"),
            };
            unmet(&format!("{now}: the condition does not hold"))
        }
        CacheError::NotANumber { key } => bad_number(
            &format!("{key} holds no decimal number of 64 bits"),
            "not_a_number",
            "`dsctl cache get KEY` shows what it holds; `dsctl cache set KEY 0` begins anew",
        ),
        CacheError::Overflow { key } => bad_number(
            &format!("{key}: the sum does not fit into 64 bits"),
            "overflow",
            "`dsctl cache get KEY` shows the number",
        ),
        CacheError::Full { key, used, limit } => {
            let text = format!("{key}: the memory is full: {used} of {limit} bytes are in use");
            let mut failure = Failure::new(Code::LimitReached, text).named("memory_full").hint(
                "delete keys, or give them a --ttl; `dsctl cache stats` shows how much there is",
            );
            failure.fault.retryable = true;
            failure
        }
        CacheError::TooLarge(fault) => Failure::from(fault).exit(Exit::Data),
        CacheError::Unknown { fault, .. } => {
            Failure::from(fault).hint(ONLY_WHILE).of_request(ctx.request_id)
        }
        CacheError::NotTried { .. } => Failure::new(Code::Unavailable, error.to_string()),
        CacheError::Unavailable(fault) | CacheError::Fault(fault) => {
            Failure::from(fault).of_request(ctx.request_id)
        }
    }
}

/// The same, with the condition spelled out.
pub(super) fn of_condition(error: CacheError, condition: Condition, ctx: &Ctx) -> Failure {
    match error {
        CacheError::Unmet { key, version } => unmet_by(&key, version, condition),
        other => of(other, ctx),
    }
}

fn unmet_by(key: &Key, version: Option<u64>, condition: Condition) -> Failure {
    let text = match (condition, version) {
        (Condition::Absent, Some(now)) => format!("{key} is there, with version {now}"),
        (Condition::Version(asked), Some(now)) => format!("{key} has version {now}, not {asked}"),
        (Condition::Version(asked), None) => {
            format!("there is no key {key}, and so no version {asked} of it")
        }
        (Condition::Always | Condition::Absent | Condition::Present, None) => {
            format!("there is no key {key}")
        }
        (Condition::Always | Condition::Present, Some(now)) => format!("{key} has version {now}"),
    };
    unmet(&text)
}

fn unmet(text: &str) -> Failure {
    Failure::new(Code::Conflict, format!("{text}; nothing was changed"))
        .named(UNMET)
        .hint("`dsctl cache get KEY` shows the value and its version")
}

fn bad_number(text: &str, name: &'static str, hint: &str) -> Failure {
    Failure::new(Code::Conflict, format!("{text}; nothing was changed"))
        .named(name)
        .exit(Exit::Data)
        .hint(hint)
}

/// Some of several keys failed, or all of them; `None`: not one. Where some did not, stdout has what
/// became of each.
pub(super) fn of_some(
    failed: Vec<CacheError>,
    all: usize,
    done: &str,
    ctx: &Ctx,
) -> Option<Failure> {
    let count = failed.len();
    let first = failed.into_iter().find(|error| !matches!(error, CacheError::NotTried { .. }));
    let mut failure = of(first?, ctx);
    if count == all {
        return Some(failure);
    }
    let why = &failure.fault.message;
    failure.fault.message = format!("{count} of {all} keys were not {done}: {why}");
    Some(failure.after_a_part().on_stderr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_does_not_hold_names_the_version() {
        let key = Key::parse("key", "user/17").unwrap();
        let text = |condition, version| unmet_by(&key, version, condition).fault.message;
        insta::assert_snapshot!(
            [
                text(Condition::Absent, Some(3)),
                text(Condition::Present, None),
                text(Condition::Version(2), Some(3)),
                text(Condition::Version(2), None),
            ]
            .join("\n"),
            @"
            user/17 is there, with version 3; nothing was changed
            there is no key user/17; nothing was changed
            user/17 has version 3, not 2; nothing was changed
            there is no key user/17, and so no version 2 of it; nothing was changed
            "
        );
        assert_eq!(unmet_by(&key, None, Condition::Present).exit, Exit::Conflict);
    }
}
