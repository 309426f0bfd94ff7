//! What can be refused without looking at the state.

use std::collections::BTreeSet;

use super::{
    BATCH_BYTES_MAX, BATCH_MAX, Command, DELAY_MAX_MS, HEADERS_MAX, LEASE_MAX_MS, LEASE_MIN_MS,
    Limits, NewJob, PAYLOAD_MAX, PRIORITY_MAX,
};
use crate::fault::{Code, Fault};

/// Most bytes of a reason or an error as it is sent.
const TEXT_MAX: usize = 8 * 1024;

fn invalid(message: impl Into<String>, hint: &str) -> Fault {
    Fault::new(Code::InvalidArgument, message).hint(hint)
}

fn too_much(what: &str, has: usize, max: usize) -> Fault {
    Fault::new(Code::LimitReached, format!("{what} {has}, at most {max} are possible"))
}

/// Checks a command against the limits that hold whatever the state is. A node calls it before it
/// hands the command to a store; the machine itself stays safe without it and answers `Invalid`.
///
/// # Errors
/// `InvalidArgument`, or `LimitReached` for what is too much: the message names the value.
pub fn check(command: &Command) -> Result<(), Fault> {
    match command {
        Command::Push { jobs } => check_jobs(jobs),
        Command::Pop { max, lease_ms, .. } => {
            if *max == 0 {
                return Err(invalid("a pop of 0 jobs", "ask for 1 to 1000"));
            }
            check_count("jobs of one pop:", usize::try_from(*max).unwrap_or(usize::MAX))?;
            check_lease(*lease_ms)
        }
        Command::Ack { receipts } | Command::Release { receipts } => {
            check_count("receipts:", receipts.len())
        }
        Command::Nack { receipts, delay_ms, error } => {
            check_count("receipts:", receipts.len())?;
            check_delay("the delay", delay_ms.unwrap_or(0))?;
            check_text("the error", error)
        }
        Command::Reject { receipts, error } => {
            check_count("receipts:", receipts.len())?;
            check_text("the error", error)
        }
        Command::Extend { receipts, lease_ms } => {
            check_count("receipts:", receipts.len())?;
            check_lease(*lease_ms)
        }
        Command::Pause { reason } => check_text("the reason", reason),
        Command::Limit { limits } => check_limits(limits),
        Command::Redrive { ids, max } | Command::PurgeDead { ids, max } => {
            if *max == 0 {
                return Err(invalid("at most 0 dead letters", "ask for at least 1"));
            }
            check_count("dead letters:", usize::try_from(*max).unwrap_or(usize::MAX))?;
            check_count("ids:", ids.len())
        }
        Command::Resume | Command::Purge | Command::Delete | Command::GiveBack { .. } => Ok(()),
    }
}

fn check_count(what: &str, count: usize) -> Result<(), Fault> {
    if count > BATCH_MAX { Err(too_much(what, count, BATCH_MAX)) } else { Ok(()) }
}

fn check_text(what: &str, text: &str) -> Result<(), Fault> {
    if text.len() > TEXT_MAX {
        return Err(too_much(&format!("bytes of {what}:"), text.len(), TEXT_MAX));
    }
    Ok(())
}

fn check_lease(lease_ms: u64) -> Result<(), Fault> {
    if (LEASE_MIN_MS..=LEASE_MAX_MS).contains(&lease_ms) {
        return Ok(());
    }
    Err(invalid(format!("a lease of {lease_ms} ms"), "a lease is 100 ms to 24 h"))
}

fn check_delay(what: &str, ms: u64) -> Result<(), Fault> {
    if ms <= DELAY_MAX_MS {
        return Ok(());
    }
    Err(invalid(format!("{what} is {ms} ms"), "at most 30 days are possible"))
}

fn check_jobs(jobs: &[NewJob]) -> Result<(), Fault> {
    check_count("jobs of one push:", jobs.len())?;
    let mut bytes = 0;
    for job in jobs {
        bytes += check_job(job)?;
    }
    if bytes > BATCH_BYTES_MAX && jobs.len() > 1 {
        return Err(too_much("bytes of one push:", bytes, BATCH_BYTES_MAX));
    }
    Ok(())
}

/// Checks a job; gives its bytes.
fn check_job(job: &NewJob) -> Result<usize, Fault> {
    let id = &job.id;
    if job.payload.len() > PAYLOAD_MAX {
        let what = format!("job {id}: bytes of the payload:");
        return Err(too_much(&what, job.payload.len(), PAYLOAD_MAX));
    }
    if job.priority > PRIORITY_MAX {
        return Err(invalid(
            format!("job {id}: priority {}", job.priority),
            "a priority is 0 to 9; 9 goes first",
        ));
    }
    let headers: usize = job.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers > HEADERS_MAX {
        return Err(too_much(&format!("job {id}: bytes of the headers:"), headers, HEADERS_MAX));
    }
    let mut names = BTreeSet::new();
    for (name, _) in &job.headers {
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(invalid(
                format!("job {id}: header name {name:?}"),
                "a header's name has no control characters and is not empty",
            ));
        }
        if !names.insert(name) {
            return Err(invalid(format!("job {id}: header {name:?} twice"), "name each once"));
        }
    }
    for (what, ms) in [
        ("the delay", job.delay_ms),
        ("the backoff", job.backoff.base_ms.max(job.backoff.max_ms)),
        ("the ttl", job.ttl_ms),
    ] {
        check_delay(&format!("job {id}: {what}"), ms)?;
    }
    Ok(job.payload.len() + headers)
}

fn check_limits(limits: &Limits) -> Result<(), Fault> {
    check_delay("the dedup window", limits.dedup_ms)?;
    if limits.rate_per_s > 1_000_000 || limits.burst > 1_000_000 {
        return Err(invalid(
            format!("a rate of {} with a burst of {}", limits.rate_per_s, limits.burst),
            "a rate and a burst are at most 1000000",
        ));
    }
    Ok(())
}
