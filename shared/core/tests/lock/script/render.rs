//! Outcomes, events and views in one line each, where that does.

use std::fmt::Write as _;

use crate::api::lock::{
    CycleStep, EventKind, Grant, Holder, LockView, Lookup, Mode, Outcome, RequestKey, SessionView,
};

pub(crate) fn key(key: RequestKey) -> String {
    match key {
        RequestKey::Detached(number) => format!("d{number}"),
        RequestKey::Session { session, seq } => format!("{}.{seq}", session.0),
    }
}

fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permits { take, of } => format!("{take}/{of}"),
    }
}

fn grant(grant: &Grant) -> String {
    let count = if grant.count == 1 { String::new() } else { format!(" x{}", grant.count) };
    format!("{} {} #{}{count}", grant.lock, mode(grant.mode), grant.token.0)
}

pub(crate) fn holder(h: &Holder) -> String {
    let count = if h.count == 1 { String::new() } else { format!(" x{}", h.count) };
    let (owner, session, left) = (&h.owner, h.session.0, h.expires_in_ms);
    format!("{owner}@{session} {} #{}{count} ({left} ms)", mode(h.mode), h.token.0)
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    let shown: Vec<String> = items.iter().map(show).collect();
    format!("[{}]", shown.join(", "))
}

pub(crate) fn step(step: &CycleStep) -> String {
    format!("{} waits for {} of {}", step.waiter, step.lock, step.holder)
}

pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::SessionOpened { session, ttl_ms } => {
            format!("session {} open, ttl {ttl_ms} ms", session.0)
        }
        Outcome::Granted(grants) => format!("granted {}", list(grants, grant)),
        Outcome::Queued { position, blockers } => {
            format!("queued, place {position}, behind {}", list(blockers, holder))
        }
        Outcome::WouldBlock { holders, delay } => {
            let delay = delay.as_ref();
            let delay = delay
                .map_or(String::new(), |d| format!(", {} for {} ms", d.reason, d.remaining_ms));
            format!("would block, held by {}{delay}", list(holders, holder))
        }
        Outcome::Deadlock(cycle) => format!("deadlock: {}", list(cycle, step)),
        Outcome::Wounded { lock, by } => format!("wounded at {lock} by {by}"),
        Outcome::Released { token, remaining } => {
            format!("released #{}, {remaining} left", token.0)
        }
        Outcome::Renewed { expires_in_ms, session } => {
            format!("renewed, session {} for {expires_in_ms} ms", session.0)
        }
        Outcome::Converted(g) => format!("converted {}", grant(g)),
        Outcome::NotHolder { current } => {
            format!("not the holder, held by {}", list(current, holder))
        }
        Outcome::LimitReached(text) => format!("limit: {text}"),
        Outcome::Invalid(text) => format!("invalid: {text}"),
        plain => format!("{plain:?}").to_lowercase(),
    }
}

pub(crate) fn lookup(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Pending { position } => format!("pending, place {position}"),
        Lookup::Done(done) => outcome(done),
        Lookup::Unknown => "unknown".to_owned(),
    }
}

pub(crate) fn event(kind: &EventKind) -> String {
    match kind {
        EventKind::Granted { grant: g, owner, session } => {
            format!("granted {} to {owner}@{}", grant(g), session.0)
        }
        EventKind::Released { lock, token, owner, why } => {
            format!("released {lock} #{} of {owner}: {why}", token.0)
        }
        EventKind::Revoke { lock, token, session, by, grace_ms } => {
            format!("revoke {lock} #{} of session {} by {by}, {grace_ms} ms", token.0, session.0)
        }
        EventKind::SessionExpired { session, owner } => {
            format!("session {} of {owner} expired", session.0)
        }
        EventKind::Deadlock(cycle) => format!("deadlock {}", list(cycle, step)),
    }
}

pub(crate) fn lock(view: &LockView) -> String {
    let mut out = String::new();
    let how = view.mode.map_or("free".to_owned(), mode);
    write!(out, "{}: {how}", view.name).unwrap();
    if let Some(delay) = &view.delay {
        write!(out, ", delayed {} ms: {}", delay.remaining_ms, delay.reason).unwrap();
    }
    out.push('\n');
    for h in &view.holders {
        writeln!(out, "  held by {}", holder(h)).unwrap();
    }
    for w in &view.waiters {
        write!(out, "  {}. {}@{} {}", w.position, w.owner, w.session.0, mode(w.mode)).unwrap();
        write!(out, ", {} ms", w.waiting_ms).unwrap();
        if w.upgrade {
            out.push_str(", upgrade");
        }
        if !w.group.is_empty() {
            write!(out, ", with {}", list(&w.group, ToString::to_string)).unwrap();
        }
        out.push('\n');
    }
    out
}

pub(crate) fn session(s: &SessionView) -> String {
    format!(
        "session {} of {}: ttl {} ms, {} ms left, {} grants, {} tickets",
        s.session.0, s.owner, s.ttl_ms, s.expires_in_ms, s.grants, s.tickets
    )
}
