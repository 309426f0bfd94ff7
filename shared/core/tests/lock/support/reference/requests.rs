//! Requests of the reference model. Histories are well formed and within the limits.

use super::super::api::lock::{
    Command, Grant, Mode, Outcome, Request, RequestKey, SessionId, Token, Want,
};
use super::super::api::name::Name;
use super::{Reference, Session, Standing, Ticket};

fn covers(held: Mode, wanted: Mode) -> bool {
    match (held, wanted) {
        (Mode::Exclusive, _) => true,
        (Mode::Permits { take, of }, Mode::Permits { take: less, of: same }) => {
            take >= less && of == same
        }
        (held, wanted) => held == wanted && held == Mode::Shared,
    }
}

fn invalid() -> Outcome {
    Outcome::Invalid(String::new())
}

impl Reference {
    pub(super) fn request(&mut self, request: &Request) -> Outcome {
        if let Some(known) = self.recall(request) {
            return known;
        }
        let outcome = self.execute(request.key, &request.command);
        if !matches!(outcome, Outcome::Queued { .. })
            && !self.save_if_known(request.key, outcome.clone())
        {
            self.remember(request.key, outcome.clone());
        }
        self.finish();
        outcome
    }

    fn recall(&mut self, request: &Request) -> Option<Outcome> {
        let key = request.key;
        if let RequestKey::Session { session, .. } = key
            && let Some(live) = self.session_mut(session)
            && request.first_outstanding > live.floor
        {
            live.floor = request.first_outstanding;
            live.saved.retain(|(seq, _)| *seq >= request.first_outstanding);
        }
        if let Some(ticket) = self.tickets.iter().find(|t| t.key == key) {
            return Some(self.queued(ticket));
        }
        let remembered = self.remembered.iter().find(|(k, _)| *k == key).map(|(_, o)| o.clone());
        let RequestKey::Session { session, seq } = key else { return remembered };
        let Some(live) = self.session(session) else {
            return Some(remembered.unwrap_or(Outcome::SessionExpired));
        };
        if let Some((_, outcome)) = live.saved.iter().find(|(s, _)| *s == seq) {
            return Some(outcome.clone());
        }
        (seq < live.floor).then_some(Outcome::StaleSeq)
    }

    /// False when the key is of a session that is over.
    pub(super) fn save_if_known(&mut self, key: RequestKey, outcome: Outcome) -> bool {
        match key {
            RequestKey::Detached(_) => self.remember(key, outcome),
            RequestKey::Session { session, seq } => {
                let Some(live) = self.session_mut(session) else { return false };
                live.saved.retain(|(s, _)| *s != seq);
                live.saved.push((seq, outcome));
            }
        }
        true
    }

    fn execute(&mut self, key: RequestKey, command: &Command) -> Outcome {
        match command {
            Command::OpenSession { ttl_ms, owner, meta, ephemeral } => {
                let id = SessionId((self.last_session + 1).max(self.index));
                self.last_session = id.0;
                let ttl = (*ttl_ms).max(self.settings.min_ttl_ms);
                self.sessions.push(Session {
                    id,
                    owner: owner.clone(),
                    meta: meta.clone(),
                    ttl,
                    ephemeral: *ephemeral,
                    expires: self.now + ttl,
                    floor: 0,
                    saved: Vec::new(),
                });
                Outcome::SessionOpened { session: id, ttl_ms: ttl }
            }
            Command::CloseSession => {
                let RequestKey::Session { session, .. } = key else { return invalid() };
                self.sessions.retain(|s| s.id != session);
                self.end_session(session, &Outcome::Cancelled, |_| {});
                Outcome::SessionClosed
            }
            Command::Acquire { wants, owner, wait_ms, policy, age, max_hold_ms } => {
                let RequestKey::Session { session, .. } = key else { return invalid() };
                if self.tickets.iter().any(|t| t.session == session && t.owner == *owner) {
                    return invalid();
                }
                let ticket = Ticket {
                    id: u64::MAX,
                    key,
                    session,
                    owner: owner.clone(),
                    wants: Vec::new(),
                    since: self.now,
                    until: self.now + wait_ms,
                    age: if *age == 0 { session.0 } else { *age },
                    max_hold: *max_hold_ms,
                };
                let Some(ticket) = self.stand(ticket, wants) else { return invalid() };
                if self.is_clear(&ticket) {
                    self.grant_all(&ticket)
                } else if *wait_ms == 0 {
                    self.would_block(&ticket)
                } else {
                    self.wait(ticket, *policy)
                }
            }
            Command::Cancel { target } => self.cancel(key, *target),
            Command::Release { lock, token, owner, all } => {
                self.release(key, lock, (*token, owner.as_ref()), *all)
            }
            Command::Renew { lock, token, ttl_ms } => self.renew(key, lock, *token, *ttl_ms),
            Command::Convert { lock, token, to, wait_ms } => {
                self.convert(key, lock, *token, *to, *wait_ms)
            }
            Command::ForceRelease { lock, token, actor, reason } => {
                if self.held(lock, *token).is_none() {
                    return Outcome::NotHolder { current: self.holders(lock) };
                }
                let why = format!("force-released by {actor}: {reason}");
                self.take_back(lock, *token, &why, Some(why.clone()));
                Outcome::Released { token: *token, remaining: 0 }
            }
        }
    }

    fn stand(&self, mut ticket: Ticket, wants: &[Want]) -> Option<Ticket> {
        for want in wants {
            let standing = match self.held_by(ticket.session, &ticket.owner, &want.lock) {
                Some(held) if covers(held.mode, want.mode) => Standing::Held,
                Some(_) => return None,
                None => Standing::Queued,
            };
            if let Mode::Permits { of, .. } = want.mode {
                let mut modes: Vec<Mode> = Vec::new();
                modes.extend(self.grants.iter().filter(|g| g.lock == want.lock).map(|g| g.mode));
                modes.extend(self.lost.iter().filter(|l| l.lock == want.lock).map(|l| l.mode));
                for waiting in self.queue(&want.lock) {
                    modes.extend(
                        waiting
                            .wants
                            .iter()
                            .filter(|(w, _)| w.lock == want.lock)
                            .map(|(w, _)| w.mode),
                    );
                }
                let other = |m: &Mode| matches!(m, Mode::Permits { of: n, .. } if *n != of);
                if modes.iter().any(other) {
                    return None;
                }
            }
            ticket.wants.push((want.clone(), standing));
        }
        Some(ticket)
    }

    fn cancel(&mut self, key: RequestKey, target: RequestKey) -> Outcome {
        let session_of = |key| match key {
            RequestKey::Session { session, .. } => Some(session),
            RequestKey::Detached(_) => None,
        };
        if key == target || (session_of(target).is_some() && session_of(target) != session_of(key))
        {
            return invalid();
        }
        if let Some(id) = self.tickets.iter().find(|t| t.key == target).map(|t| t.id) {
            self.settle(id, Outcome::Cancelled);
            return Outcome::Cancelled;
        }
        let known = match target {
            RequestKey::Detached(_) => {
                self.remembered.iter().find(|(k, _)| *k == target).map(|(_, o)| o.clone())
            }
            RequestKey::Session { session, seq } => {
                let live = self.session(session).unwrap();
                let saved = live.saved.iter().find(|(s, _)| *s == seq).map(|(_, o)| o.clone());
                saved.or_else(|| (seq < live.floor).then_some(Outcome::StaleSeq))
            }
        };
        match known {
            Some(Outcome::Granted(grants)) => {
                for grant in grants {
                    self.leave(&grant.lock, grant.token, false);
                }
            }
            Some(other) => return other,
            None => {}
        }
        self.save_if_known(target, Outcome::Cancelled);
        Outcome::Cancelled
    }

    fn leave(&mut self, lock: &Name, token: Token, all: bool) -> Option<u32> {
        let held = self.held_mut(lock, token)?;
        if held.count > 1 && !all {
            held.count -= 1;
            return Some(held.count);
        }
        self.take_back(lock, token, "released", None);
        Some(0)
    }

    /// The token, if it holds and is the caller's.
    fn own(&self, key: RequestKey, lock: &Name, token: Token) -> Option<Token> {
        let held = self.held(lock, token)?;
        match key {
            RequestKey::Session { session, .. } if session != held.session => None,
            _ => Some(token),
        }
    }

    fn release(
        &mut self,
        key: RequestKey,
        lock: &Name,
        (token, owner): (Option<Token>, Option<&Name>),
        all: bool,
    ) -> Outcome {
        let token = match (token, key, owner) {
            (Some(token), _, None) => self.own(key, lock, token),
            (Some(token), _, Some(owner)) => self
                .own(key, lock, token)
                .filter(|_| self.held(lock, token).unwrap().owner == *owner),
            (None, RequestKey::Session { session, .. }, Some(owner)) => {
                self.held_by(session, owner, lock).map(|g| g.token)
            }
            _ => return invalid(),
        };
        match token.and_then(|token| Some((token, self.leave(lock, token, all)?))) {
            Some((token, remaining)) => Outcome::Released { token, remaining },
            None => Outcome::NotHolder { current: self.holders(lock) },
        }
    }

    fn renew(&mut self, key: RequestKey, lock: &Name, token: Token, ttl: Option<u64>) -> Outcome {
        let Some(token) = self.own(key, lock, token) else {
            return Outcome::NotHolder { current: self.holders(lock) };
        };
        let id = self.held(lock, token).unwrap().session;
        let min = self.settings.min_ttl_ms;
        let now = self.now;
        let session = self.session_mut(id).unwrap();
        session.ttl = ttl.map_or(session.ttl, |ttl| ttl.max(min));
        session.expires = now + session.ttl;
        Outcome::Renewed { expires_in_ms: session.ttl, session: id }
    }

    fn convert(
        &mut self,
        key: RequestKey,
        lock: &Name,
        token: Token,
        to: Mode,
        wait_ms: u64,
    ) -> Outcome {
        let Some(token) = self.own(key, lock, token) else {
            return Outcome::NotHolder { current: self.holders(lock) };
        };
        let held = self.held(lock, token).unwrap().clone();
        if held.mode == to {
            let grant = Grant { lock: lock.clone(), mode: to, token, count: held.count };
            return Outcome::Converted(grant);
        }
        match (held.mode, to) {
            (Mode::Exclusive, Mode::Shared) => {
                self.held_mut(lock, token).unwrap().mode = Mode::Shared;
                let leaning = self.tickets.iter().find(|t| {
                    t.session == held.session
                        && t.owner == held.owner
                        && t.wants.iter().any(|(w, s)| {
                            w.lock == *lock && *s == Standing::Held && w.mode != Mode::Shared
                        })
                });
                if let Some(id) = leaning.map(|t| t.id) {
                    let current = self.holders(lock);
                    self.settle(id, Outcome::NotHolder { current });
                }
                let count = held.count;
                Outcome::Converted(Grant { lock: lock.clone(), mode: to, token, count })
            }
            (Mode::Shared, Mode::Exclusive) => {
                if self.tickets.iter().any(|t| t.session == held.session && t.owner == held.owner) {
                    return invalid();
                }
                let ticket = Ticket {
                    id: u64::MAX,
                    key,
                    session: held.session,
                    owner: held.owner.clone(),
                    wants: vec![(Want { lock: lock.clone(), mode: to }, Standing::Upgrade)],
                    since: self.now,
                    until: self.now + wait_ms,
                    age: held.age,
                    max_hold: 0,
                };
                let second = self.tickets.iter().any(|t| {
                    t.wants.iter().any(|(w, s)| w.lock == *lock && *s == Standing::Upgrade)
                });
                if !second && self.is_clear(&ticket) {
                    return Outcome::Converted(self.upgrade(lock, token));
                }
                if wait_ms == 0 && !second {
                    return self.would_block(&ticket);
                }
                self.wait(ticket, super::super::api::lock::Policy::Detect)
            }
            _ => invalid(),
        }
    }
}
