//! Waiting: into the queues, out of them, and served in order.

use std::collections::BTreeSet;

use super::deadlines::Due;
use super::grant::Grantee;
use super::machine::{LockMachine, Step};
use super::state::{Ticket, TicketId};
use super::{EventKind, Grant, Mode, Outcome, Policy, RequestKey, SessionId, Token, WAITERS_MAX};
use crate::name::Name;

impl LockMachine {
    /// Lets a request wait, unless a limit, its policy or a cycle forbids it.
    pub(super) fn wait(&mut self, step: &mut Step, ticket: Ticket, policy: Policy) -> Outcome {
        if let Some(refusal) = self.queue_full(&ticket) {
            return refusal;
        }
        if policy == Policy::WaitDie
            && let Some(wounded) = self.elder_in_the_way(&ticket)
        {
            return wounded;
        }
        let victims = match policy {
            Policy::WoundWait => self.younger_in_the_way(&ticket),
            Policy::Detect | Policy::WaitDie => BTreeSet::new(),
        };
        let by = ticket.owner.clone();
        let id = self.insert_ticket(ticket);
        if let Some(cycle) = self.find_cycle(id, &victims) {
            self.remove_ticket(step, id);
            step.event(EventKind::Deadlock(cycle.clone()));
            return Outcome::Deadlock(cycle);
        }
        let no_wait = self.state.tickets.get(&id).is_some_and(|t| t.until_ms <= step.now_ms);
        if no_wait && let Some(ticket) = self.remove_ticket(step, id) {
            return self.would_block(ticket.session, &ticket.owner, &ticket.wants);
        }
        self.wound(step, victims, &by);
        self.queued(id)
    }

    /// The refusal of what an owner that waits asks for: an owner is a thread of execution, which
    /// waits for one thing and meanwhile asks for no other.
    pub(super) fn already_waits(&self, session: SessionId, owner: &Name) -> Option<Outcome> {
        let session = self.state.sessions.get(&session)?;
        let other = self.state.tickets.get(session.tickets.get(owner)?)?;
        if super::mutant!(RetryQueuesTwice) {
            return None;
        }
        Some(Outcome::Invalid(format!(
            "{owner} waits already ({}): await or cancel that, or use another owner label",
            key_words(other.key),
        )))
    }

    /// The refusal when a queue is full.
    fn queue_full(&self, ticket: &Ticket) -> Option<Outcome> {
        for (name, _, _) in ticket.places(TicketId(0)) {
            let waiters = self.state.locks.get(name).map_or(0, |lock| lock.queue.len());
            if waiters >= WAITERS_MAX {
                return Some(Outcome::LimitReached(format!(
                    "{waiters} wait for lock {:?} already: try again later",
                    name.as_str()
                )));
            }
        }
        None
    }

    /// Puts a ticket into the queues of its locks.
    fn insert_ticket(&mut self, ticket: Ticket) -> TicketId {
        let id = TicketId(self.state.last_ticket.0.saturating_add(1));
        self.state.last_ticket = id;
        self.index_ticket(id, &ticket);
        self.state.tickets.insert(id, ticket);
        id
    }

    /// Notes a ticket in everything that follows from it.
    pub(super) fn index_ticket(&mut self, id: TicketId, ticket: &Ticket) {
        let mut places = 0;
        for (name, mode, place) in ticket.places(id) {
            if !self.state.locks.contains_key(name) {
                self.state.locks.insert(name.clone(), super::state::Lock::default());
            }
            if let Some(lock) = self.state.locks.get_mut(name) {
                lock.queue.insert(place, mode);
                lock.count_user(mode);
                lock.refresh_run();
                places += 1;
            }
        }
        if let Some(session) = self.state.sessions.get_mut(&ticket.session) {
            session.tickets.insert(ticket.owner.clone(), id);
            session.places += places;
        }
        self.pending.insert(ticket.key, id);
        self.deadlines.add(ticket.until_ms, Due::Wait(id));
    }

    /// Takes a ticket out of everything (L6); its locks are served later.
    fn remove_ticket(&mut self, step: &mut Step, id: TicketId) -> Option<Ticket> {
        let ticket = self.state.tickets.remove(&id)?;
        let mut places = 0;
        for (name, mode, place) in ticket.places(id) {
            if super::mutant!(WaiterLeftBehind) {
                continue;
            }
            if let Some(lock) = self.state.locks.get_mut(name) {
                lock.queue.remove(&place);
                lock.uncount_user(mode);
            }
            step.touched.insert(name.clone());
            places += 1;
        }
        if let Some(session) = self.state.sessions.get_mut(&ticket.session) {
            session.tickets.remove(&ticket.owner);
            session.places = session.places.saturating_sub(places);
            if session.ephemeral {
                step.maybe_idle.insert(ticket.session);
            }
        }
        self.pending.remove(&ticket.key);
        self.deadlines.remove(ticket.until_ms, Due::Wait(id));
        Some(ticket)
    }

    /// Decides a request that waits.
    pub(super) fn settle(&mut self, step: &mut Step, id: TicketId, outcome: Outcome) {
        if let Some(ticket) = self.remove_ticket(step, id) {
            self.decided(step, ticket.key, outcome);
        }
    }

    fn decided(&mut self, step: &mut Step, key: RequestKey, outcome: Outcome) {
        step.applied.settled.push((key, outcome.clone()));
        let ended = match key {
            RequestKey::Session { session, .. } => !self.state.sessions.contains_key(&session),
            RequestKey::Detached(_) => false,
        };
        // A session that ended answers for all its requests.
        if !ended {
            self.save(key, outcome);
        }
    }

    /// Grants what can be granted after something was given back, in the order of tickets (L5).
    ///
    /// One pass does: a granted ticket was counted as a holder in the runs already, so granting it
    /// opens nothing to others.
    pub(super) fn serve(&mut self, step: &mut Step) {
        if step.touched.is_empty() {
            return;
        }
        let mut candidates = BTreeSet::new();
        for name in &std::mem::take(&mut step.touched) {
            let Some(lock) = self.state.locks.get_mut(name) else { continue };
            if lock.is_empty() {
                self.state.locks.remove(name);
                continue;
            }
            lock.refresh_run();
            if let Some(end) = lock.run.end {
                candidates.extend(lock.queue.range(..=end).map(|(place, _)| place.ticket));
            }
        }
        for id in candidates {
            if self.is_clear(id) {
                self.grant_ticket(step, id);
            }
        }
        for name in std::mem::take(&mut step.touched) {
            if let Some(lock) = self.state.locks.get_mut(&name) {
                lock.refresh_run();
            }
        }
    }

    /// True when a ticket is in the run of every lock that it waits for.
    fn is_clear(&self, id: TicketId) -> bool {
        self.state.tickets.get(&id).is_some_and(|ticket| {
            ticket.places(id).all(|(name, _, place)| self.is_clear_at(name, place))
        })
    }

    /// True when nobody is in the way of that place.
    pub(super) fn is_clear_at(&self, lock: &Name, place: super::state::Place) -> bool {
        self.state.locks.get(lock).is_some_and(|lock| lock.run.end >= Some(place))
    }

    fn grant_ticket(&mut self, step: &mut Step, id: TicketId) {
        let Some(ticket) = self.remove_ticket(step, id) else { return };
        let outcome = if ticket.is_upgrade() {
            self.finish_upgrade(step, &ticket)
        } else {
            let to = Grantee {
                session: ticket.session,
                owner: &ticket.owner,
                age: ticket.age,
                max_hold_ms: ticket.max_hold_ms,
            };
            Outcome::Granted(self.grant_all(step, &ticket.wants, to))
        };
        self.decided(step, ticket.key, outcome);
    }

    fn finish_upgrade(&mut self, step: &mut Step, ticket: &Ticket) -> Outcome {
        let want = ticket.wants.first().map(|w| &w.want);
        let grant = want.and_then(|want| {
            let token =
                self.state.sessions.get(&ticket.session)?.token(&ticket.owner, &want.lock)?;
            self.upgrade(step, &want.lock, token)
        });
        match grant {
            Some(grant) => Outcome::Converted(grant),
            None => Outcome::NotHolder { current: Vec::new() },
        }
    }

    /// Makes a shared grant exclusive, under a new token.
    pub(super) fn upgrade(&mut self, step: &mut Step, name: &Name, old: Token) -> Option<Grant> {
        let token = self.new_token();
        let lock = self.state.locks.get_mut(name)?;
        let mut held = lock.holders.remove(&old)?;
        lock.occupancy.remove(held.mode);
        held.mode = Mode::Exclusive;
        lock.occupancy.add(held.mode);
        if let Some(until) = held.hold_until_ms {
            self.deadlines.remove(until, Due::Hold(name.clone(), old));
            self.deadlines.add(until, Due::Hold(name.clone(), token));
        }
        if let Some(wound) = &held.wound {
            self.deadlines.remove(wound.until_ms, Due::Wound(name.clone(), old));
            self.deadlines.add(wound.until_ms, Due::Wound(name.clone(), token));
        }
        if let Some(session) = self.state.sessions.get_mut(&held.session) {
            session.note_grant(&held.owner, name, token);
        }
        let grant = Grant { lock: name.clone(), mode: held.mode, token, count: held.count };
        step.event(EventKind::Granted {
            grant: grant.clone(),
            owner: held.owner.clone(),
            session: held.session,
        });
        lock.holders.insert(token, held);
        lock.refresh_run();
        Some(grant)
    }
}

/// A request in words.
fn key_words(key: RequestKey) -> String {
    match key {
        RequestKey::Session { session, seq } => format!("request {seq} of session {}", session.0),
        RequestKey::Detached(id) => format!("request {id:032x}"),
    }
}
