//! Changing how a grant is held.

use super::acquire::words;
use super::machine::{LockMachine, Step};
use super::occupancy::Occupancy;
use super::state::{Standing, Ticket, TicketWant};
use super::{Grant, Mode, Outcome, Policy, RequestKey, Token, Want};
use crate::name::Name;

impl LockMachine {
    /// Converts a grant: down at once, under its token; up when it is the only one, before
    /// everyone who waits, under a new token.
    pub(super) fn convert(
        &mut self,
        step: &mut Step,
        key: RequestKey,
        (lock, token): (&Name, Token),
        to: Mode,
        wait_ms: u64,
    ) -> Outcome {
        let token = self.own_grant(key, lock, token, None);
        let Some((token, held)) = token.and_then(|token| Some((token, self.held(lock, token)?)))
        else {
            return Outcome::NotHolder { current: self.holders_shown(lock) };
        };
        match (held.mode, to) {
            (Mode::Exclusive, Mode::Shared) => self.downgrade(step, lock, token),
            (Mode::Shared, Mode::Exclusive) => {
                let ticket = Ticket {
                    key,
                    session: held.session,
                    owner: held.owner.clone(),
                    wants: vec![TicketWant {
                        want: Want { lock: lock.clone(), mode: to },
                        standing: Standing::Upgrade,
                    }],
                    since_ms: step.now_ms,
                    until_ms: step.now_ms.saturating_add(wait_ms),
                    age: held.age,
                    max_hold_ms: 0,
                };
                self.ask_upgrade(step, lock, token, ticket)
            }
            (from, to) if from == to => {
                Outcome::Converted(Grant { lock: lock.clone(), mode: to, token, count: held.count })
            }
            (from, to) => Outcome::Invalid(format!(
                "lock {:?} is held with {} and cannot be converted to {}: release and acquire",
                lock.as_str(),
                words(from),
                words(to),
            )),
        }
    }

    fn ask_upgrade(
        &mut self,
        step: &mut Step,
        name: &Name,
        token: Token,
        ticket: Ticket,
    ) -> Outcome {
        let Some(lock) = self.state.locks.get(name) else {
            return Outcome::NotHolder { current: Vec::new() };
        };
        // So no request but the newest one can close a cycle.
        if let Some(refusal) = self.already_waits(ticket.session, &ticket.owner) {
            return refusal;
        }
        let second = lock.queue.first_key_value().is_some_and(|(place, _)| !place.ordinary);
        if !second && lock.occupancy == Occupancy::ONE_SHARER {
            return match self.upgrade(step, name, token) {
                Some(grant) => Outcome::Converted(grant),
                None => Outcome::NotHolder { current: Vec::new() },
            };
        }
        // A second upgrader goes on even if it would not wait: it is told of the cycle.
        if ticket.until_ms <= step.now_ms && !second {
            return self.would_block(ticket.session, &ticket.owner, &ticket.wants);
        }
        self.wait(step, ticket, Policy::Detect)
    }

    fn downgrade(&mut self, step: &mut Step, name: &Name, token: Token) -> Outcome {
        let lock = self.state.locks.get_mut(name);
        let Some((held, occupancy)) =
            lock.and_then(|l| Some((l.holders.get_mut(&token)?, &mut l.occupancy)))
        else {
            return Outcome::NotHolder { current: Vec::new() };
        };
        occupancy.remove(held.mode);
        held.mode = Mode::Shared;
        occupancy.add(held.mode);
        let (session, owner, count) = (held.session, held.owner.clone(), held.count);
        step.touched.insert(name.clone());
        self.end_leaning(step, (session, &owner), name, Some(Mode::Shared));
        Outcome::Converted(Grant { lock: name.clone(), mode: Mode::Shared, token, count })
    }
}
