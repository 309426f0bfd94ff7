//! Locks, grants, waits and events.

use dsync_core::lock::{
    CycleStep, Event, EventKind, Grant, Holder, LockView, Mode, SessionId, Token,
};
use serde_json::{Value, json};

use crate::output::ids;
use crate::output::view::Mood;
use crate::output::{Cell, Table, View};

/// A lock that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) owner: &'a str,
    pub(crate) session: SessionId,
    pub(crate) ttl_ms: u64,
    pub(crate) expires_in_ms: u64,
    pub(crate) served_by: &'a str,
}

/// Of `lock acquire`.
pub(crate) fn taken(taken: &Taken<'_>) -> View {
    let grant = taken.grant;
    let document = json!({
        "name": grant.lock.as_str(),
        "mode": ids::mode(grant.mode),
        "owner": taken.owner,
        "session": ids::session(taken.session),
        "token": ids::token(grant.token),
        "ttl_ms": taken.ttl_ms,
        "expires_in_ms": taken.expires_in_ms,
        "served_by": taken.served_by,
    });
    let mut table = Table::new(&["NAME", "MODE", "OWNER", "TOKEN", "EXPIRES", "SERVED BY"]);
    table.row([
        Cell::text(grant.lock.as_str()),
        Cell::text(ids::mode(grant.mode)),
        Cell::text(taken.owner),
        Cell::Number(grant.token.0),
        Cell::Ms(taken.expires_in_ms),
        Cell::text(taken.served_by),
    ]);
    View::document("LockGrant", document).table(table).names([grant.lock.to_string()])
}

/// Of `lock release`.
pub(crate) fn released(name: &str, token: Token, remaining: u32) -> View {
    let document = json!({
        "name": name, "released": true, "token": ids::token(token), "remaining": remaining,
    });
    let mut table = Table::new(&["NAME", "RELEASED", "TOKEN", "STILL ENTERED"]);
    table.row([
        Cell::text(name),
        Cell::text("yes"),
        Cell::Number(token.0),
        Cell::Number(u64::from(remaining)),
    ]);
    View::document("LockRelease", document).table(table).names([name.to_owned()])
}

/// Of `lock force-release`.
pub(crate) fn forced(name: &str, token: Token, reason: &str) -> View {
    let document =
        json!({"name": name, "released": true, "token": ids::token(token), "reason": reason});
    let mut table = Table::new(&["NAME", "RELEASED", "TOKEN", "REASON"]);
    table.row([Cell::text(name), Cell::text("yes"), Cell::Number(token.0), Cell::text(reason)]);
    View::document("LockForceRelease", document).table(table).names([name.to_owned()])
}

/// Of `lock renew`.
pub(crate) fn renewed(name: &str, token: Token, session: SessionId, expires_in_ms: u64) -> View {
    let document = json!({
        "name": name,
        "token": ids::token(token),
        "session": ids::session(session),
        "expires_in_ms": expires_in_ms,
    });
    let mut table = Table::new(&["NAME", "TOKEN", "SESSION", "EXPIRES"]);
    table.row([
        Cell::text(name),
        Cell::Number(token.0),
        Cell::Number(session.0),
        Cell::Ms(expires_in_ms),
    ]);
    View::document("LockRenewal", document).table(table).names([name.to_owned()])
}

/// Of `lock convert`.
pub(crate) fn converted(grant: &Grant) -> View {
    let document = json!({
        "name": grant.lock.as_str(),
        "mode": ids::mode(grant.mode),
        "token": ids::token(grant.token),
    });
    let mut table = Table::new(&["NAME", "MODE", "TOKEN"]);
    table.row([
        Cell::text(grant.lock.as_str()),
        Cell::text(ids::mode(grant.mode)),
        Cell::Number(grant.token.0),
    ]);
    View::document("LockConversion", document).table(table).names([grant.lock.to_string()])
}

/// Of `lock validate`, when the token holds.
pub(crate) fn valid(name: &str, holder: &Holder) -> View {
    let document = json!({
        "name": name,
        "valid": true,
        "owner": holder.owner.as_str(),
        "session": ids::session(holder.session),
        "mode": ids::mode(holder.mode),
        "token": ids::token(holder.token),
        "expires_in_ms": holder.expires_in_ms,
    });
    let mut table = Table::new(&["NAME", "VALID", "OWNER", "MODE", "TOKEN", "EXPIRES"]);
    table.row([
        Cell::text(name),
        Cell::State("yes".to_owned(), Mood::Good),
        Cell::text(holder.owner.as_str()),
        Cell::text(ids::mode(holder.mode)),
        Cell::Number(holder.token.0),
        Cell::Ms(holder.expires_in_ms),
    ]);
    View::document("LockValidation", document).table(table).names([name.to_owned()])
}

/// Of `lock list`.
pub(crate) fn list(locks: &[LockView]) -> View {
    let mut table = Table::new(&["NAME", "MODE", "OWNER", "HOLDERS", "WAITERS"]);
    for lock in locks {
        table.row([
            Cell::text(lock.name.as_str()),
            mode_cell(lock.mode),
            Cell::text(owners(lock)),
            Cell::Number(holders_of(lock)),
            Cell::Number(waiters_of(lock)),
        ]);
    }
    View::list("LockList", "LockSummary", locks.iter().map(summary))
        .table(table)
        .names(locks.iter().map(|lock| lock.name.to_string()))
}

fn summary(lock: &LockView) -> Value {
    json!({
        "name": lock.name.as_str(),
        "mode": lock.mode.map(ids::mode),
        "holders": holders_of(lock),
        "waiters": waiters_of(lock),
        "owners": lock.holders.iter().map(|h| h.owner.as_str()).collect::<Vec<_>>(),
        "delayed_until_ms": lock.delay.as_ref().map(|d| d.remaining_ms),
    })
}

fn mode_cell(mode: Option<Mode>) -> Cell {
    Cell::text(mode.map_or_else(|| "free".to_owned(), ids::mode))
}

fn owners(lock: &LockView) -> String {
    let first = lock.holders.first().map_or("-", |holder| holder.owner.as_str());
    match holders_of(lock) {
        0 | 1 => first.to_owned(),
        all => format!("{first} +{}", all - 1),
    }
}

/// All who hold, those who are not named included.
fn holders_of(lock: &LockView) -> u64 {
    count(lock.holders.len()) + u64::from(lock.more_holders)
}

fn waiters_of(lock: &LockView) -> u64 {
    count(lock.waiters.len()) + u64::from(lock.more_waiters)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Of `lock show`.
pub(crate) fn show(lock: &LockView) -> View {
    let holders: Vec<_> = lock.holders.iter().map(holder).collect();
    let waiters: Vec<_> = lock
        .waiters
        .iter()
        .map(|w| {
            json!({
                "owner": w.owner.as_str(),
                "session": ids::session(w.session),
                "mode": ids::mode(w.mode),
                "position": w.position,
                "waiting_ms": w.waiting_ms,
                "upgrade": w.upgrade,
                "group": w.group.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>(),
            })
        })
        .collect();
    let document = json!({
        "name": lock.name.as_str(),
        "mode": lock.mode.map(ids::mode),
        "holders": holders,
        "waiters": waiters,
        "delayed_until_ms": lock.delay.as_ref().map(|d| d.remaining_ms),
        "delay_reason": lock.delay.as_ref().map(|d| d.reason.as_str()),
        "more_holders": lock.more_holders,
        "more_waiters": lock.more_waiters,
    });
    let mut view =
        View::document("Lock", document).table(people(lock)).names([lock.name.to_string()]);
    if lock.more_holders + lock.more_waiters > 0 {
        let (holders, waiters) = (lock.more_holders, lock.more_waiters);
        view = view.note(format!("not shown: {holders} more holders, {waiters} more waiters"));
    }
    if let Some(delay) = &lock.delay {
        let left = crate::output::human::ms(delay.remaining_ms);
        view = view.note(format!("not granted for another {left}: {}", delay.reason));
    }
    view
}

/// Holders, then waiters in order, in one table.
fn people(lock: &LockView) -> Table {
    let mut table = Table::new(&[
        "NAME", "STATE", "MODE", "OWNER", "SESSION", "TOKEN", "COUNT", "EXPIRES", "WAITING",
    ]);
    for one in &lock.holders {
        table.row([
            Cell::text(lock.name.as_str()),
            Cell::text("holds"),
            Cell::text(ids::mode(one.mode)),
            Cell::text(one.owner.as_str()),
            Cell::Number(one.session.0),
            Cell::Number(one.token.0),
            Cell::Number(u64::from(one.count)),
            Cell::Ms(one.expires_in_ms),
            Cell::None,
        ]);
    }
    for one in &lock.waiters {
        let what = if one.upgrade { "upgrades" } else { "waits" };
        table.row([
            Cell::text(lock.name.as_str()),
            Cell::text(format!("{what} #{}", one.position)),
            Cell::text(ids::mode(one.mode)),
            Cell::text(one.owner.as_str()),
            Cell::Number(one.session.0),
            Cell::None,
            Cell::None,
            Cell::None,
            Cell::Ms(one.waiting_ms),
        ]);
    }
    if lock.holders.is_empty() && lock.waiters.is_empty() {
        table.row([Cell::text(lock.name.as_str()), Cell::text("free")]);
    }
    table
}

fn holder(holder: &Holder) -> Value {
    json!({
        "owner": holder.owner.as_str(),
        "session": ids::session(holder.session),
        "mode": ids::mode(holder.mode),
        "token": ids::token(holder.token),
        "expires_in_ms": holder.expires_in_ms,
        "count": holder.count,
    })
}

/// Of `lock deadlocks`: who waits for whom; `more` when not all of it fits.
pub(crate) fn waits(steps: &[CycleStep], more: bool) -> View {
    let mut table = Table::new(&["WAITER", "SESSION", "WAITS FOR", "BEHIND"]);
    for step in steps {
        table.row([
            Cell::text(step.waiter.as_str()),
            Cell::Number(step.session.0),
            Cell::text(step.lock.as_str()),
            Cell::text(step.holder.as_str()),
        ]);
    }
    let note = match steps.len() {
        0 => "nobody waits",
        _ => {
            "a request that would close a cycle is refused (exit 81), so none of these is a deadlock"
        }
    };
    let view = View::list("LockWaitGraph", "LockWait", steps.iter().map(step))
        .field("more", more.into())
        .table(table)
        .note(note)
        .names(steps.iter().map(|step| step.waiter.to_string()));
    if more {
        view.note("more wait than are shown: these are the ones who wait longest")
    } else {
        view
    }
}

fn step(step: &CycleStep) -> Value {
    json!({
        "waiter": step.waiter.as_str(),
        "session": ids::session(step.session),
        "lock": step.lock.as_str(),
        "holder": step.holder.as_str(),
    })
}

/// A cycle in one line: `a waits for x behind b, b waits for y behind a`.
pub(crate) fn cycle(steps: &[CycleStep]) -> String {
    let parts: Vec<_> = steps
        .iter()
        .map(|s| format!("{} waits for {} behind {}", s.waiter, s.lock, s.holder))
        .collect();
    parts.join(", ")
}

/// The name of the lock that an event is about, where it is about one.
pub(crate) fn event_lock(event: &Event) -> Option<&str> {
    match &event.kind {
        EventKind::Granted { grant, .. } => Some(grant.lock.as_str()),
        EventKind::Released { lock, .. } | EventKind::Revoke { lock, .. } => Some(lock.as_str()),
        EventKind::SessionExpired { .. } | EventKind::Deadlock(_) => None,
    }
}

/// An event: one line for people, one document for machines.
pub(crate) fn event(event: &Event) -> View {
    let (what, fields, line) = match &event.kind {
        EventKind::Granted { grant, owner, session } => (
            "granted",
            json!({
                "name": grant.lock.as_str(), "mode": ids::mode(grant.mode),
                "owner": owner.as_str(), "session": ids::session(*session),
                "token": ids::token(grant.token),
            }),
            format!(
                "{}  {} to {owner}, token {}",
                grant.lock,
                ids::mode(grant.mode),
                grant.token.0
            ),
        ),
        EventKind::Released { lock, token, owner, why } => (
            "released",
            json!({
                "name": lock.as_str(), "owner": owner.as_str(), "token": ids::token(*token),
                "why": why,
            }),
            format!("{lock}  by {owner}, token {}: {why}", token.0),
        ),
        EventKind::Revoke { lock, token, session, by, grace_ms } => (
            "revoke",
            json!({
                "name": lock.as_str(), "token": ids::token(*token),
                "session": ids::session(*session), "by": by.as_str(), "grace_ms": grace_ms,
            }),
            format!(
                "{lock}  token {}, wanted by the older {by}, within {}",
                token.0,
                crate::output::human::ms(*grace_ms)
            ),
        ),
        EventKind::SessionExpired { session, owner } => (
            "session-expired",
            json!({"session": ids::session(*session), "owner": owner.as_str()}),
            format!("session {} of {owner}", session.0),
        ),
        EventKind::Deadlock(steps) => {
            ("deadlock", json!({"cycle": steps.iter().map(step).collect::<Vec<_>>()}), cycle(steps))
        }
    };
    let mut document =
        json!({"event": what, "index": ids::long(event.index), "at_ms": event.at_ms});
    if let (Value::Object(all), Value::Object(fields)) = (&mut document, fields) {
        all.extend(fields);
    }
    View::document("LockEvent", document)
        .line(vec![Cell::text(format!("{what:<15}")), Cell::text(line)])
        .names(event_lock(event).map(str::to_owned))
}
