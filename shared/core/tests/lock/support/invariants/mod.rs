//! The invariants as checkers that see only what clients and watchers see: entries, outcomes,
//! events and views. Each names the one it guards.
//!
//! L3 (a resource that remembers the largest token refuses older ones) follows from L1 and is
//! shown where there is a resource; L10 (linearizability) needs more than one client's view.

mod leases;
mod requests;
mod waiting;

use std::collections::BTreeMap;

use super::api::lock::{
    Applied, At, Batch, Command, Event, EventKind, LockMachine, LockView, Mode, Outcome,
    RequestKey, SessionId, Token,
};
use super::api::name::Name;
use super::suite::Violation;

/// A grant as the events tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shadow {
    lock: Name,
    token: Token,
    session: SessionId,
    owner: Name,
    mode: Mode,
}

/// A request that was told to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    session: SessionId,
    owner: Name,
}

/// What the checkers remember.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    /// The next entry only repeats a request.
    pub(crate) expect_no_effect: bool,
    now_ms: u64,
    term: u64,
    grace_until_ms: u64,
    last_token: Token,
    leases: BTreeMap<SessionId, (u64, u64)>,
    held: Vec<Shadow>,
    granted: BTreeMap<Token, (SessionId, Name)>,
    revoked: BTreeMap<Token, u64>,
    pending: BTreeMap<RequestKey, Waiting>,
    decided: BTreeMap<RequestKey, Outcome>,
    locks: Vec<LockView>,
}

fn violation(checker: &'static str, what: impl Into<String>) -> Violation {
    Violation { checker, what: what.into() }
}

fn conflict(a: Mode, b: Mode) -> bool {
    (a, b) != (Mode::Shared, Mode::Shared)
}

impl Checkers {
    /// Checks one entry.
    pub(crate) fn check(
        &mut self,
        at: At,
        batch: &Batch,
        applied: &Applied,
        machine: &LockMachine,
    ) -> Result<(), Violation> {
        let pending_before = self.pending.clone();
        self.move_time(at, batch, applied);
        self.learn_downgrades(applied);
        for event in &applied.events {
            self.grant_order(event)?;
            self.leases_run_out(event)?;
            self.exclusion(event, batch)?;
        }
        self.learn_leases(batch, applied);
        self.one_effect(batch, applied)?;
        let before = std::mem::replace(&mut self.locks, machine.list("", false, None, 10_000).0);
        self.views_agree()?;
        self.no_lease_outlives(machine)?;
        self.no_ghosts(machine)?;
        self.nobody_overtakes(&before, &pending_before, applied)?;
        waiting::cycles_are_real(&before, batch, applied)?;
        self.no_cycle_stays()?;
        self.nobody_waits_in_vain()
    }

    /// A downgrade is no event of its own: its outcome tells.
    fn learn_downgrades(&mut self, applied: &Applied) {
        for outcome in &applied.outcomes {
            if let Outcome::Converted(grant) = outcome
                && grant.mode == Mode::Shared
                && let Some(held) = self.held.iter_mut().find(|s| s.token == grant.token)
            {
                held.mode = Mode::Shared;
            }
        }
    }

    /// L1: tokens strictly increase in the order of grants, and are never used again.
    fn grant_order(&mut self, event: &Event) -> Result<(), Violation> {
        let EventKind::Granted { grant, .. } = &event.kind else { return Ok(()) };
        if grant.token <= self.last_token {
            let (new, last) = (grant.token.0, self.last_token.0);
            return Err(violation("L1", format!("token {new} was granted after {last}")));
        }
        self.last_token = grant.token;
        Ok(())
    }

    /// L2: two grants that exclude each other never overlap, and a grant ends only by its owner's
    /// will or by a named cause.
    fn exclusion(&mut self, event: &Event, batch: &Batch) -> Result<(), Violation> {
        match &event.kind {
            EventKind::Granted { grant, owner, session } => {
                let new = Shadow {
                    lock: grant.lock.clone(),
                    token: grant.token,
                    session: *session,
                    owner: owner.clone(),
                    mode: grant.mode,
                };
                let same =
                    |s: &Shadow| s.lock == new.lock && s.session == *session && s.owner == *owner;
                if let Some(old) = self.held.iter().position(same) {
                    let old = self.held.remove(old);
                    if let Some(until) = self.revoked.remove(&old.token) {
                        self.revoked.insert(new.token, until);
                    }
                }
                self.held.push(new.clone());
                self.granted.insert(new.token, (*session, owner.clone()));
                let at: Vec<Mode> =
                    self.held.iter().filter(|s| s.lock == new.lock).map(|s| s.mode).collect();
                if !fit(&at) {
                    return Err(violation("L2", format!("{new:?} overlaps: {:?}", self.held)));
                }
            }
            EventKind::Released { token, lock, why, .. } => {
                let Some(place) = self.held.iter().position(|s| s.token == *token) else {
                    return Err(violation("L2", format!("{event:?} ends what nobody holds")));
                };
                let ended = self.held.remove(place);
                if ended.lock != *lock || (why == "released" && !was_asked(&ended, batch)) {
                    let what = format!("{ended:?} was released though its owner did not ask");
                    return Err(violation("L2", what));
                }
            }
            EventKind::Revoke { .. }
            | EventKind::SessionExpired { .. }
            | EventKind::Deadlock(_) => {}
        }
        Ok(())
    }

    /// L2: views and events tell the same.
    fn views_agree(&self) -> Result<(), Violation> {
        let mut seen = Vec::new();
        for lock in &self.locks {
            for h in &lock.holders {
                seen.push(Shadow {
                    lock: lock.name.clone(),
                    token: h.token,
                    session: h.session,
                    owner: h.owner.clone(),
                    mode: h.mode,
                });
            }
        }
        let mut told = self.held.clone();
        told.sort_by_key(|s| s.token);
        seen.sort_by_key(|s| s.token);
        if told == seen {
            return Ok(());
        }
        Err(violation("L2", format!("events tell {told:?}, views show {seen:?}")))
    }
}

/// True when all these may hold together.
fn fit(modes: &[Mode]) -> bool {
    let permits =
        |m: &Mode| if let Mode::Permits { take, of } = m { Some((*take, *of)) } else { None };
    if modes.len() <= 1 || modes.iter().all(|m| *m == Mode::Shared) {
        return true;
    }
    let Some(taken) = modes.iter().map(permits).collect::<Option<Vec<_>>>() else { return false };
    let sum: u32 = taken.iter().map(|(take, _)| take).sum();
    taken.iter().all(|(_, of)| sum <= *of)
}

/// True when a request of the batch is the owner's wish to end the grant.
fn was_asked(grant: &Shadow, batch: &Batch) -> bool {
    batch.requests.iter().any(|request| {
        let (session, detached) = match request.key {
            RequestKey::Session { session, .. } => (Some(session), false),
            RequestKey::Detached(_) => (None, true),
        };
        let own = session == Some(grant.session);
        match &request.command {
            Command::Release { token: Some(token), .. } => {
                *token == grant.token && (own || detached)
            }
            Command::Release { lock, owner, .. } => {
                own && *lock == grant.lock && owner.as_ref() == Some(&grant.owner)
            }
            Command::CloseSession | Command::Cancel { .. } => own,
            _ => false,
        }
    })
}
