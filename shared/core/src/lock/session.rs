//! Sessions: opened, kept alive, closed, expired.

use std::collections::BTreeMap;

use super::deadlines::Due;
use super::grant::End;
use super::machine::{LockMachine, Step};
use super::saved::Saved;
use super::state::Session;
use super::{DAY_MS, EventKind, Outcome, RequestKey, SESSIONS_MAX, SessionId};
use crate::name::Name;

impl LockMachine {
    /// Opens a session. Its id is the log index, or the next free number above it when one entry
    /// opens several: it rises and is never used twice.
    pub(super) fn open_session(
        &mut self,
        step: &Step,
        ttl_ms: u64,
        owner: &Name,
        meta: &str,
        ephemeral: bool,
    ) -> Outcome {
        if self.state.sessions.len() >= SESSIONS_MAX {
            return Outcome::LimitReached(format!("{SESSIONS_MAX} sessions are open"));
        }
        let Some(next) = self.state.last_session.0.checked_add(1) else {
            return Outcome::LimitReached("all session ids are used".to_owned());
        };
        let session = SessionId(next.max(step.index));
        let ttl_ms = ttl_ms.max(step.settings.min_ttl_ms).min(DAY_MS);
        let expires_at_ms = step.now_ms.saturating_add(ttl_ms);
        self.state.last_session = session;
        self.deadlines.add(expires_at_ms, Due::Session(session));
        self.state.sessions.insert(
            session,
            Session {
                owner: owner.clone(),
                meta: meta.to_owned(),
                ttl_ms,
                ephemeral,
                expires_at_ms,
                saved: Saved::default(),
                grants: BTreeMap::new(),
                held: 0,
                tickets: BTreeMap::new(),
                places: 0,
            },
        );
        Outcome::SessionOpened { session, ttl_ms }
    }

    /// Lets the lease run anew; gives its length.
    pub(super) fn keep_alive(&mut self, id: SessionId) -> Option<u64> {
        let session = self.state.sessions.get_mut(&id)?;
        self.deadlines.remove(session.expires_at_ms, Due::Session(id));
        session.expires_at_ms = self.state.now_ms.saturating_add(session.ttl_ms);
        self.deadlines.add(session.expires_at_ms, Due::Session(id));
        Some(session.ttl_ms)
    }

    /// Ends a session whose lease is over: its tickets first, so that none of them is served.
    pub(super) fn expire_session(&mut self, step: &mut Step, id: SessionId) {
        let Some(session) = self.remove_session(step, id, &Outcome::SessionExpired) else { return };
        step.event(EventKind::SessionExpired { session: id, owner: session.owner });
        for (owner, locks) in session.grants {
            let end = End {
                why: "lease expired".to_owned(),
                delay: Some(format!("lease of {owner} expired")),
            };
            for (lock, token) in locks {
                self.take_back(step, &lock, token, &end);
            }
        }
    }

    /// Ends a session on request: its grants are given up cleanly.
    pub(super) fn close_session(&mut self, step: &mut Step, key: RequestKey) -> Outcome {
        let RequestKey::Session { session: id, .. } = key else { return Outcome::SessionExpired };
        let Some(session) = self.remove_session(step, id, &Outcome::Cancelled) else {
            return Outcome::SessionExpired;
        };
        for (lock, token) in session.grants.into_values().flatten() {
            self.take_back(step, &lock, token, &End::released());
        }
        Outcome::SessionClosed
    }

    /// Ends the ephemeral sessions among those that lost something, when they have nothing left.
    /// What they were answered is remembered: their client may still ask.
    pub(super) fn end_idle(&mut self, step: &mut Step) {
        while let Some(id) = step.maybe_idle.pop_first() {
            if !self.state.sessions.get(&id).is_some_and(|s| s.ephemeral && s.is_idle()) {
                continue;
            }
            let Some(session) = self.remove_session(step, id, &Outcome::Cancelled) else {
                continue;
            };
            for (seq, outcome) in session.saved.into_outcomes() {
                let key = RequestKey::Session { session: id, seq };
                self.state.remembered.keep(step.now_ms, key, outcome);
            }
        }
    }

    /// Takes a session out; its tickets get `outcome`.
    fn remove_session(
        &mut self,
        step: &mut Step,
        id: SessionId,
        outcome: &Outcome,
    ) -> Option<Session> {
        let session = self.state.sessions.remove(&id)?;
        self.deadlines.remove(session.expires_at_ms, Due::Session(id));
        for ticket in session.tickets.values() {
            self.settle(step, *ticket, outcome.clone());
        }
        Some(session)
    }
}
