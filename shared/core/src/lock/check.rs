//! What can be refused without looking at the state.

use std::collections::BTreeSet;

use super::{Command, DAY_MS, GROUP_MAX, META_MAX, MIN_TTL_MS, Mode, Request, RequestKey, Want};
use crate::fault::{Code, Fault};
use crate::name::Name;

/// Checks a request against the limits that hold whatever the state is. The leader calls it before
/// it appends; the machine itself stays safe without it and answers `Invalid`.
///
/// # Errors
/// `InvalidArgument`, or `LimitReached` for what is too much: the message names the value, the
/// hint the fix.
pub fn check(request: &Request) -> Result<(), Fault> {
    check_key(request)?;
    check_command(&request.command)
}

/// Checks that the key is well formed and of the kind that the command needs.
pub(super) fn check_key(request: &Request) -> Result<(), Fault> {
    let first = request.first_outstanding;
    match (request.key, &request.command) {
        (RequestKey::Session { seq: 0, .. }, _) => {
            Err(invalid("seq 0 is not a request number", "number a session's requests from 1"))
        }
        (RequestKey::Session { seq, .. }, _) if first > seq => Err(invalid(
            format!("first_outstanding {first} is above the request's own seq {seq}"),
            "a request that is sent is still outstanding",
        )),
        (RequestKey::Detached(_), _) if first != 0 => Err(invalid(
            format!("first_outstanding is {first} with a detached key"),
            "it must be 0: only sessions number their requests",
        )),
        (RequestKey::Session { .. }, Command::OpenSession { .. }) => Err(invalid(
            "OpenSession has a session's key",
            "use a detached key: the session does not exist yet",
        )),
        (RequestKey::Detached(_), Command::Acquire { .. } | Command::CloseSession) => {
            Err(invalid("this command has a detached key", "open a session and use a key of it"))
        }
        (RequestKey::Detached(_), Command::Release { token: None, .. }) => {
            Err(invalid("a release has neither a token nor a session", "name the grant's token"))
        }
        _ => Ok(()),
    }
}

/// Checks the command's own values.
pub(super) fn check_command(command: &Command) -> Result<(), Fault> {
    match command {
        Command::OpenSession { ttl_ms, meta, .. } => {
            check_ttl(*ttl_ms)?;
            check_text("the session's description", meta)
        }
        Command::Acquire { wants, wait_ms, .. } => {
            check_wait(*wait_ms)?;
            check_wants(wants)
        }
        Command::Renew { ttl_ms: Some(ttl_ms), .. } => check_ttl(*ttl_ms),
        Command::Convert { to, wait_ms, .. } => {
            check_wait(*wait_ms)?;
            if matches!(to, Mode::Permits { .. }) {
                return Err(invalid(
                    "a grant cannot be converted to permits",
                    "convert to shared or exclusive, or release and acquire",
                ));
            }
            Ok(())
        }
        Command::Release { token: None, owner: None, .. } => Err(invalid(
            "a release names neither a token nor an owner",
            "name the grant's token, or the owner label that holds it",
        )),
        Command::ForceRelease { reason, .. } => check_text("the reason", reason),
        Command::CloseSession
        | Command::Cancel { .. }
        | Command::Release { .. }
        | Command::Renew { .. } => Ok(()),
    }
}

fn check_wants(wants: &[Want]) -> Result<(), Fault> {
    if wants.is_empty() {
        return Err(invalid("no lock is named", format!("name 1 to {GROUP_MAX} locks")));
    }
    if wants.len() > GROUP_MAX {
        let message = format!("{} locks in one request", wants.len());
        return Err(Fault::new(Code::LimitReached, message)
            .hint(format!("at most {GROUP_MAX} locks can be acquired together")));
    }
    let mut names: BTreeSet<&Name> = BTreeSet::new();
    for want in wants {
        if wants.len() > 1 && !names.insert(&want.lock) {
            return Err(invalid(
                format!("lock {:?} is named twice", want.lock.as_str()),
                "name each lock of a group once",
            ));
        }
        check_mode(want)?;
    }
    Ok(())
}

fn check_mode(want: &Want) -> Result<(), Fault> {
    let Mode::Permits { take, of } = want.mode else { return Ok(()) };
    if take == 0 || take > of {
        return Err(invalid(
            format!("{take} of {of} permits of lock {:?}", want.lock.as_str()),
            "take at least 1 permit and at most as many as there are",
        ));
    }
    Ok(())
}

fn check_ttl(ttl_ms: u64) -> Result<(), Fault> {
    if (MIN_TTL_MS..=DAY_MS).contains(&ttl_ms) {
        return Ok(());
    }
    Err(invalid(
        format!("a lease of {ttl_ms} ms is not between {MIN_TTL_MS} ms and {DAY_MS} ms (24 h)"),
        "ask for one that is, and renew it for as long as you need the lock",
    ))
}

fn check_wait(wait_ms: u64) -> Result<(), Fault> {
    if wait_ms <= DAY_MS {
        return Ok(());
    }
    Err(invalid(
        format!("a wait of {wait_ms} ms is longer than {DAY_MS} ms (24 h)"),
        "wait less, then ask again",
    ))
}

fn check_text(what: &str, text: &str) -> Result<(), Fault> {
    if text.len() <= META_MAX {
        return Ok(());
    }
    let message = format!("{what} is {} bytes long", text.len());
    Err(Fault::new(Code::LimitReached, message).hint(format!("at most {META_MAX} bytes")))
}

fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidArgument, message).hint(hint)
}
