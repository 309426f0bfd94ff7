//! The lock machine once more, written for the eye: linear scans over plain lists, no index, no
//! shortcut. It shares nothing with the real one but the types of the contract.

mod requests;
mod view;
mod waiting;

use super::api::lock::{
    Applied, At, Batch, Event, EventKind, Mode, Outcome, RequestKey, SessionId, Settings, Token,
    Want,
};
use super::api::name::Name;

#[derive(Debug, Clone)]
struct Session {
    id: SessionId,
    owner: Name,
    meta: String,
    ttl: u64,
    ephemeral: bool,
    expires: u64,
    floor: u64,
    saved: Vec<(u64, Outcome)>,
}

#[derive(Debug, Clone)]
struct Held {
    lock: Name,
    token: Token,
    session: SessionId,
    owner: Name,
    mode: Mode,
    count: u32,
    age: u64,
    hold_until: Option<u64>,
    wound: Option<(Name, u64)>,
}

#[derive(Debug, Clone)]
struct Lost {
    lock: Name,
    token: Token,
    mode: Mode,
    until: u64,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Queued,
    Upgrade,
    Held,
}

#[derive(Debug, Clone)]
struct Ticket {
    id: u64,
    key: RequestKey,
    session: SessionId,
    owner: Name,
    wants: Vec<(Want, Standing)>,
    since: u64,
    until: u64,
    age: u64,
    max_hold: u64,
}

/// The reference model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    now: u64,
    term: u64,
    no_expiry_before: u64,
    last_token: u64,
    last_session: u64,
    last_ticket: u64,
    index: u64,
    settings: Settings,
    sessions: Vec<Session>,
    grants: Vec<Held>,
    lost: Vec<Lost>,
    tickets: Vec<Ticket>,
    remembered: Vec<(RequestKey, Outcome)>,
    applied: Applied,
    lost_something: Vec<SessionId>,
}

/// What may be held at the same time.
fn go_together(modes: &[Mode]) -> bool {
    if let [Mode::Exclusive | Mode::Shared] = modes {
        return true;
    }
    if modes.iter().all(|m| *m == Mode::Shared) {
        return true;
    }
    let mut sum = 0;
    for mode in modes {
        let Mode::Permits { take, .. } = mode else { return false };
        sum += take;
    }
    modes.iter().all(|m| matches!(m, Mode::Permits { of, .. } if sum <= *of))
}

fn conflict(a: Mode, b: Mode) -> bool {
    !(a == Mode::Shared && b == Mode::Shared)
}

impl Reference {
    pub(crate) fn apply(&mut self, at: At, batch: &Batch) -> Applied {
        self.settings = batch.settings;
        self.index = at.index;
        self.now = self.now.max(at.t_ms);
        if at.term > self.term {
            self.term = at.term;
            let grace = self.now + batch.settings.new_term_grace_ms;
            self.no_expiry_before = self.no_expiry_before.max(grace);
        }
        for id in &batch.keep_alives {
            let left = self.keep_alive(*id);
            self.applied.keep_alives.push(left);
        }
        self.end_what_is_due();
        for request in &batch.requests {
            let outcome = self.request(request);
            self.applied.outcomes.push(outcome);
        }
        std::mem::take(&mut self.applied)
    }

    fn event(&mut self, kind: EventKind) {
        self.applied.events.push(Event { index: self.index, at_ms: self.now, kind });
    }

    fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.iter().find(|s| s.id == id)
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|s| s.id == id)
    }

    fn held(&self, lock: &Name, token: Token) -> Option<&Held> {
        self.grants.iter().find(|g| g.lock == *lock && g.token == token)
    }

    fn held_mut(&mut self, lock: &Name, token: Token) -> Option<&mut Held> {
        self.grants.iter_mut().find(|g| g.lock == *lock && g.token == token)
    }

    fn held_by(&self, session: SessionId, owner: &Name, lock: &Name) -> Option<&Held> {
        self.grants.iter().find(|g| g.session == session && g.owner == *owner && g.lock == *lock)
    }

    fn keep_alive(&mut self, id: SessionId) -> Option<u64> {
        let now = self.now;
        let session = self.session_mut(id)?;
        session.expires = now + session.ttl;
        Some(session.ttl)
    }

    /// First what takes grants, in order of time; then delays and waits, in order of time.
    fn end_what_is_due(&mut self) {
        let now = self.now;
        if now >= self.no_expiry_before {
            let mut due = Vec::new();
            due.extend(self.sessions.iter().map(|s| (s.expires, 0, s.id.0, None, Token(0))));
            for g in &self.grants {
                let lock = Some(g.lock.clone());
                due.extend(g.hold_until.map(|until| (until, 1, 0, lock.clone(), g.token)));
                due.extend(g.wound.as_ref().map(|(_, until)| (*until, 2, 0, lock, g.token)));
            }
            due.retain(|d| d.0 <= now);
            due.sort();
            for (_, kind, session, lock, token) in due {
                match (kind, lock) {
                    (0, _) => self.expire(SessionId(session)),
                    (1, Some(lock)) => {
                        if let Some(held) = self.held(&lock, token) {
                            let reason = format!("max hold of {} reached", held.owner);
                            self.take_back(&lock, token, "max hold reached", Some(reason));
                        }
                    }
                    (_, Some(lock)) => {
                        if let Some((by, _)) = self.held(&lock, token).and_then(|h| h.wound.clone())
                        {
                            self.take_back(&lock, token, &format!("wounded by {by}"), None);
                        }
                    }
                    (_, None) => {}
                }
            }
        }
        self.lost.retain(|l| l.until > now);
        let mut over: Vec<_> =
            self.tickets.iter().filter(|t| t.until <= now).map(|t| (t.until, t.id)).collect();
        over.sort_unstable();
        for (_, id) in over {
            self.settle(id, Outcome::Timeout);
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.serve();
        let mut ids = std::mem::take(&mut self.lost_something);
        ids.sort();
        ids.dedup();
        for id in ids {
            let idle = !self.grants.iter().any(|g| g.session == id)
                && !self.tickets.iter().any(|t| t.session == id);
            if idle && self.session(id).is_some_and(|s| s.ephemeral) {
                let place = self.sessions.iter().position(|s| s.id == id).unwrap();
                let session = self.sessions.remove(place);
                for (seq, outcome) in session.saved {
                    self.remember(RequestKey::Session { session: id, seq }, outcome);
                }
            }
        }
    }

    fn remember(&mut self, key: RequestKey, outcome: Outcome) {
        self.remembered.retain(|(k, _)| *k != key);
        self.remembered.push((key, outcome));
    }

    fn expire(&mut self, id: SessionId) {
        let Some(place) = self.sessions.iter().position(|s| s.id == id) else { return };
        let session = self.sessions.remove(place);
        self.end_session(id, &Outcome::SessionExpired, |reference| {
            reference.event(EventKind::SessionExpired { session: id, owner: session.owner });
        });
    }

    /// Ends the tickets, then the grants of a session that is out of the list already.
    fn end_session(&mut self, id: SessionId, outcome: &Outcome, between: impl FnOnce(&mut Self)) {
        let mut tickets: Vec<_> = self.tickets.iter().filter(|t| t.session == id).collect();
        tickets.sort_by_key(|t| t.owner.clone());
        let tickets: Vec<u64> = tickets.iter().map(|t| t.id).collect();
        for ticket in tickets {
            self.settle(ticket, outcome.clone());
        }
        between(self);
        let mut grants: Vec<Held> =
            self.grants.iter().filter(|g| g.session == id).cloned().collect();
        grants.sort_by_key(|g| (g.owner.clone(), g.lock.clone()));
        for g in grants {
            if *outcome == Outcome::SessionExpired {
                let reason = format!("lease of {} expired", g.owner);
                self.take_back(&g.lock, g.token, "lease expired", Some(reason));
            } else {
                self.take_back(&g.lock, g.token, "released", None);
            }
        }
    }

    fn take_back(&mut self, lock: &Name, token: Token, why: &str, delay: Option<String>) {
        let Some(place) = self.grants.iter().position(|g| g.lock == *lock && g.token == token)
        else {
            return;
        };
        let held = self.grants.remove(place);
        if let Some(reason) = delay
            && self.settings.lock_delay_ms > 0
        {
            let until = self.now + self.settings.lock_delay_ms;
            self.lost.push(Lost { lock: lock.clone(), token, mode: held.mode, until, reason });
        }
        self.event(EventKind::Released {
            lock: lock.clone(),
            token,
            owner: held.owner.clone(),
            why: why.to_owned(),
        });
        self.lost_something.push(held.session);
        let leaning = self.tickets.iter().find(|t| {
            t.session == held.session
                && t.owner == held.owner
                && t.wants.iter().any(|(w, s)| w.lock == *lock && *s != Standing::Queued)
        });
        if let Some(id) = leaning.map(|t| t.id)
            && self.session(held.session).is_some()
        {
            let current = self.holders(lock);
            self.settle(id, Outcome::NotHolder { current });
        }
    }
}
