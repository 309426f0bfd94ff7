//! Outcomes that are not what was asked for, as failures with an exit code and a next step.

use dsync_core::Code;
use dsync_core::lock::{Delay, Holder, Outcome};

use crate::error::Failure;
use crate::output::human;
use crate::output::views::lock::cycle;

/// What an outcome other than the hoped-for means; `what` is the lock, or the locks.
pub(crate) fn of(outcome: &Outcome, what: &str) -> Failure {
    match outcome {
        Outcome::WouldBlock { holders, delay } => would_block(what, holders, delay.as_ref()),
        Outcome::Timeout => {
            Failure::new(Code::Timeout, format!("{what} was not granted within the wait"))
                .hint("`dsctl lock show NAME` tells who holds it and who waits")
        }
        Outcome::Deadlock(steps) => Failure::new(
            Code::Deadlock,
            format!("waiting for {what} would close a cycle: {}", cycle(steps)),
        )
        .hint("release what you hold and try again, or take all locks in one order"),
        Outcome::Wounded { lock, by } => {
            Failure::new(Code::Wounded, format!("{lock} goes to the older request of {by}"))
                .hint("release what you hold and try again")
        }
        Outcome::NotHolder { current } => stale_token(what, current),
        Outcome::SessionExpired => Failure::new(
            Code::SessionExpired,
            format!("{what}: the session is over and holds nothing"),
        )
        .hint("acquire the lock anew"),
        Outcome::LimitReached(why) => Failure::new(Code::LimitReached, why.clone()),
        Outcome::Invalid(why) => Failure::new(Code::InvalidArgument, why.clone()),
        Outcome::Cancelled => {
            Failure::new(Code::Conflict, format!("the request for {what} was withdrawn"))
        }
        Outcome::StaleSeq => {
            Failure::new(Code::Conflict, format!("the request for {what} was given up before"))
        }
        Outcome::SessionOpened { .. }
        | Outcome::SessionClosed
        | Outcome::Granted(_)
        | Outcome::Queued { .. }
        | Outcome::Released { .. }
        | Outcome::Renewed { .. }
        | Outcome::Converted(_) => other_request(what),
    }
}

/// Name of a request id that was used twice.
pub(crate) const REUSED: &str = "request_id_reused";

/// The answer belongs to another request of the same id.
pub(crate) fn other_request(what: &str) -> Failure {
    Failure::new(
        Code::Conflict,
        format!("{what}: the request id was used for something else before"),
    )
    .hint("repeat a request id only with the very same command")
    .named(REUSED)
}

fn would_block(what: &str, holders: &[Holder], delay: Option<&Delay>) -> Failure {
    let message = match (holders, delay) {
        ([], Some(delay)) => format!(
            "{what} is free but not granted for another {}: {}",
            human::ms(delay.remaining_ms),
            delay.reason
        ),
        ([], None) => format!("{what} is waited for by others"),
        (some, _) => format!("{what} is held by {}", holder_list(some)),
    };
    Failure::new(Code::WouldBlock, message).hint("wait for it with --wait 30s")
}

fn stale_token(what: &str, current: &[Holder]) -> Failure {
    let now = match current {
        [] => "nobody holds it".to_owned(),
        some => format!("it is held by {}", holder_list(some)),
    };
    Failure::new(Code::Conflict, format!("that token does not hold {what}: {now}"))
        .hint("the lease has ended, or the lock was taken away; acquire it anew")
}

/// Who holds, at most three by name.
pub(crate) fn holder_list(holders: &[Holder]) -> String {
    let mut parts: Vec<_> = holders
        .iter()
        .take(3)
        .map(|h| {
            format!("{} (token {}, expires in {})", h.owner, h.token.0, human::ms(h.expires_in_ms))
        })
        .collect();
    if let Some(more @ 1..) = holders.len().checked_sub(3) {
        parts.push(format!("{more} more"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use dsync_core::lock::{CycleStep, Grant, Mode, SessionId, Token};
    use dsync_core::name::Name;

    use super::*;

    fn name(text: &str) -> Name {
        Name::parse("name", text).unwrap()
    }

    fn holder(token: u64) -> Holder {
        Holder {
            owner: name("ci@build7"),
            session: SessionId(7),
            mode: Mode::Exclusive,
            token: Token(token),
            count: 1,
            expires_in_ms: 20_000,
        }
    }

    #[test]
    fn every_refusal_has_its_exit_code_and_says_what_is_in_the_way() {
        let delay = Delay { remaining_ms: 800, reason: "lease of a@x expired".to_owned() };
        let step = CycleStep {
            waiter: name("a@x"),
            session: SessionId(1),
            lock: name("two"),
            holder: name("b@x"),
        };
        let grant = Grant { lock: name("other"), mode: Mode::Shared, token: Token(1), count: 1 };
        let outcomes = [
            Outcome::WouldBlock { holders: vec![holder(4711)], delay: None },
            Outcome::WouldBlock { holders: (1..=5).map(holder).collect(), delay: None },
            Outcome::WouldBlock { holders: Vec::new(), delay: Some(delay) },
            Outcome::WouldBlock { holders: Vec::new(), delay: None },
            Outcome::Timeout,
            Outcome::Deadlock(vec![step]),
            Outcome::Wounded { lock: name("deploy"), by: name("old@x") },
            Outcome::NotHolder { current: Vec::new() },
            Outcome::NotHolder { current: vec![holder(4712)] },
            Outcome::SessionExpired,
            Outcome::LimitReached("lock deploy has 1024 waiters".to_owned()),
            Outcome::Invalid("ttl 1 ms is below 1 s".to_owned()),
            Outcome::Cancelled,
            Outcome::StaleSeq,
            Outcome::Granted(vec![grant]),
        ];
        let lines: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                let failure = of(outcome, "deploy");
                format!("{} {}", failure.exit.number(), failure.fault.message)
            })
            .collect();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("refusals", lines.join("\n"));
        });
    }
}
