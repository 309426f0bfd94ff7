//! Grants: given, entered again, given up, taken away.

use super::deadlines::Due;
use super::machine::{LockMachine, Step};
use super::state::{Held, Lost, Standing};
use super::{EventKind, Grant, Mode, Outcome, SessionId, Token, Want};
use crate::name::Name;

/// Who is granted something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grantee<'a> {
    pub(super) session: SessionId,
    pub(super) owner: &'a Name,
    pub(super) age: u64,
    pub(super) max_hold_ms: u64,
}

/// How a grant ends.
#[derive(Debug)]
pub(super) struct End {
    /// For watchers.
    pub(super) why: String,
    /// Reason of the lock-delay; `None`: there is none.
    pub(super) delay: Option<String>,
}

impl End {
    /// Given up by its owner.
    pub(super) fn released() -> Self {
        Self { why: "released".to_owned(), delay: None }
    }
}

impl LockMachine {
    /// Gives `to` one lock that is open to it; the caller sees to the lock's run.
    pub(super) fn grant(&mut self, step: &mut Step, want: &Want, to: Grantee<'_>) -> Grant {
        let token = self.new_token();
        let hold_until_ms =
            (to.max_hold_ms > 0).then(|| step.now_ms.saturating_add(to.max_hold_ms));
        if let Some(until) = hold_until_ms {
            self.deadlines.add(until, Due::Hold(want.lock.clone(), token));
        }
        if !self.state.locks.contains_key(&want.lock) {
            self.state.locks.insert(want.lock.clone(), super::state::Lock::default());
        }
        if let Some(lock) = self.state.locks.get_mut(&want.lock) {
            let held = Held {
                session: to.session,
                owner: to.owner.clone(),
                mode: want.mode,
                count: 1,
                age: to.age,
                hold_until_ms,
                wound: None,
            };
            lock.holders.insert(token, held);
            lock.occupancy.add(want.mode);
            lock.count_user(want.mode);
        }
        if let Some(session) = self.state.sessions.get_mut(&to.session) {
            session.note_grant(to.owner, &want.lock, token);
        }
        self.grants += 1;
        let grant = Grant { lock: want.lock.clone(), mode: want.mode, token, count: 1 };
        step.event(EventKind::Granted {
            grant: grant.clone(),
            owner: to.owner.clone(),
            session: to.session,
        });
        grant
    }

    /// Lets an owner enter once more what it holds: the same token, one level deeper.
    pub(super) fn enter_again(&mut self, lock: &Name, token: Token) -> Option<Grant> {
        let held = self.state.locks.get_mut(lock)?.holders.get_mut(&token)?;
        held.count = held.count.saturating_add(1);
        Some(Grant { lock: lock.clone(), mode: held.mode, token, count: held.count })
    }

    /// Gives up one level of a grant, or `all`; says how many are left.
    pub(super) fn leave(
        &mut self,
        step: &mut Step,
        lock: &Name,
        token: Token,
        all: bool,
        end: &End,
    ) -> Option<u32> {
        let held = self.state.locks.get_mut(lock)?.holders.get_mut(&token)?;
        if !all && held.count > 1 {
            held.count -= 1;
            return Some(held.count);
        }
        self.take_back(step, lock, token, end);
        Some(0)
    }

    /// Ends a grant. A request of its owner that leaned on it ends too.
    pub(super) fn take_back(&mut self, step: &mut Step, name: &Name, token: Token, end: &End) {
        let Some(lock) = self.state.locks.get_mut(name) else { return };
        let Some(held) = lock.holders.remove(&token) else { return };
        let delay_ms = step.settings.lock_delay_ms;
        match &end.delay {
            Some(reason) if delay_ms > 0 => {
                let until_ms = step.now_ms.saturating_add(delay_ms);
                let lost = Lost { mode: held.mode, until_ms, reason: reason.clone() };
                lock.lost.insert(token, lost);
                self.deadlines.add(until_ms, Due::Delay(name.clone(), token));
            }
            Some(_) | None => {
                lock.occupancy.remove(held.mode);
                lock.uncount_user(held.mode);
            }
        }
        self.grants = self.grants.saturating_sub(1);
        if let Some(until) = held.hold_until_ms {
            self.deadlines.remove(until, Due::Hold(name.clone(), token));
        }
        if let Some(wound) = &held.wound {
            self.deadlines.remove(wound.until_ms, Due::Wound(name.clone(), token));
        }
        step.touched.insert(name.clone());
        step.event(EventKind::Released {
            lock: name.clone(),
            token,
            owner: held.owner.clone(),
            why: end.why.clone(),
        });
        if let Some(session) = self.state.sessions.get_mut(&held.session) {
            session.forget_grant(&held.owner, name);
            if session.ephemeral {
                step.maybe_idle.insert(held.session);
            }
        }
        self.end_leaning(step, (held.session, &held.owner), name, None);
    }

    /// Ends the pending request of an owner that counts on its grant of `lock`, which is gone, or
    /// is now of a mode that does not do (`Some`).
    pub(super) fn end_leaning(
        &mut self,
        step: &mut Step,
        (session, owner): (SessionId, &Name),
        lock: &Name,
        now: Option<Mode>,
    ) {
        let ticket = self.state.sessions.get(&session).and_then(|s| s.tickets.get(owner)).copied();
        let Some(ticket) = ticket else { return };
        let leans = self.state.tickets.get(&ticket).is_some_and(|t| {
            t.wants.iter().any(|w| {
                w.standing != Standing::Queued
                    && w.want.lock == *lock
                    && !now.is_some_and(|mode| mode.covers(w.want.mode))
            })
        });
        if leans {
            let current = self.holders_shown(lock);
            self.settle(step, ticket, Outcome::NotHolder { current });
        }
    }

    /// The longest hold of a grant is over.
    pub(super) fn end_hold(&mut self, step: &mut Step, lock: &Name, token: Token) {
        let Some(held) = self.held(lock, token) else { return };
        let end = End {
            why: "max hold reached".to_owned(),
            delay: Some(format!("max hold of {} reached", held.owner)),
        };
        self.take_back(step, lock, token, &end);
    }

    /// The grace of a wounded grant is over. It had its time: no delay follows.
    pub(super) fn end_wound(&mut self, step: &mut Step, lock: &Name, token: Token) {
        let Some(wound) = self.held(lock, token).and_then(|h| h.wound.as_ref()) else { return };
        let end = End { why: format!("wounded by {}", wound.by), delay: None };
        self.take_back(step, lock, token, &end);
    }

    /// The delay after a lost grant is over.
    pub(super) fn end_delay(&mut self, step: &mut Step, name: Name, token: Token) {
        let Some(lock) = self.state.locks.get_mut(&name) else { return };
        let Some(lost) = lock.lost.remove(&token) else { return };
        lock.occupancy.remove(lost.mode);
        lock.uncount_user(lost.mode);
        step.touched.insert(name);
    }

    /// The grant of that token.
    pub(super) fn held(&self, lock: &Name, token: Token) -> Option<&Held> {
        self.state.locks.get(lock)?.holders.get(&token)
    }
}
