//! Wound-wait and wait-die: by age, a smaller number is older.

use std::collections::BTreeSet;

use super::deadlines::Due;
use super::machine::{LockMachine, Step};
use super::state::{Held, Lock, Ticket, TicketId, Wound};
use super::{EventKind, Mode, Outcome, Token};
use crate::name::Name;

impl LockMachine {
    /// Wait-die: the refusal, when one in the way is older than the request.
    pub(super) fn elder_in_the_way(&self, ticket: &Ticket) -> Option<Outcome> {
        for (name, mode, _) in ticket.places(TicketId(0)) {
            let Some(lock) = self.state.locks.get(name).filter(|lock| !lock.open_to(mode)) else {
                continue;
            };
            let holder = lock
                .holders
                .values()
                .find(|held| held.age < ticket.age && stands_in_way(held, mode, ticket))
                .map(|held| &held.owner);
            let waiter = || {
                lock.queue
                    .iter()
                    .filter(|(_, ahead)| ahead.conflicts(mode))
                    .filter_map(|(place, _)| self.state.tickets.get(&place.ticket))
                    .find(|ahead| ahead.age < ticket.age && ahead.who() != ticket.who())
                    .map(|ahead| &ahead.owner)
            };
            if let Some(by) = holder.or_else(waiter) {
                return Some(Outcome::Wounded { lock: name.clone(), by: by.clone() });
            }
        }
        None
    }

    /// Wound-wait: the grants to take back so that the request gets what it wants; of permits no
    /// more than it needs, the youngest first.
    pub(super) fn younger_in_the_way(&self, ticket: &Ticket) -> BTreeSet<(Name, Token)> {
        let mut victims = BTreeSet::new();
        for (name, mode, _) in ticket.places(TicketId(0)) {
            let Some(lock) = self.state.locks.get(name).filter(|lock| !lock.open_to(mode)) else {
                continue;
            };
            let mut missing = missing_permits(lock, mode);
            let mut younger: Vec<_> = lock
                .holders
                .iter()
                .filter(|(_, h)| {
                    h.wound.is_none() && h.age > ticket.age && stands_in_way(h, mode, ticket)
                })
                .collect();
            younger.sort_by_key(|(token, held)| std::cmp::Reverse((held.age, **token)));
            for (token, held) in younger {
                match (&mut missing, held.mode) {
                    (Some(0), _) => break,
                    (Some(left), Mode::Permits { take, .. }) => {
                        *left = left.saturating_sub(u64::from(take));
                    }
                    _ => {}
                }
                victims.insert((name.clone(), *token));
            }
        }
        victims
    }

    /// Asks the victims to release within the grace; what their owners wait for ends now, so that
    /// they are free to do so.
    pub(super) fn wound(&mut self, step: &mut Step, victims: BTreeSet<(Name, Token)>, by: &Name) {
        let grace_ms = step.settings.wound_grace_ms;
        let until_ms = step.now_ms.saturating_add(grace_ms);
        for (name, token) in victims {
            let lock = self.state.locks.get_mut(&name);
            let Some(held) = lock.and_then(|lock| lock.holders.get_mut(&token)) else { continue };
            held.wound = Some(Wound { by: by.clone(), until_ms });
            let session = held.session;
            let waits = self.state.sessions.get(&session).and_then(|s| s.tickets.get(&held.owner));
            let waits = waits.copied();
            self.deadlines.add(until_ms, Due::Wound(name.clone(), token));
            step.event(EventKind::Revoke {
                lock: name.clone(),
                token,
                session,
                by: by.clone(),
                grace_ms,
            });
            if let Some(ticket) = waits {
                let outcome = Outcome::Wounded { lock: name, by: by.clone() };
                self.settle(step, ticket, outcome);
            }
        }
    }
}

/// True when a grant of another owner does not go with `mode`.
fn stands_in_way(held: &Held, mode: Mode, ticket: &Ticket) -> bool {
    held.mode.conflicts(mode) && held.who() != ticket.who()
}

/// Permits that must come back before `mode` fits; `None` when it is not about permits.
fn missing_permits(lock: &Lock, mode: Mode) -> Option<u64> {
    let Mode::Permits { take, of } = mode else { return None };
    if lock.holders.values().any(|held| held.mode.permits_of().is_none()) {
        return None;
    }
    let wounded: u64 = lock
        .holders
        .values()
        .filter(|held| held.wound.is_some())
        .map(|held| if let Mode::Permits { take, .. } = held.mode { u64::from(take) } else { 0 })
        .sum();
    let wanted = lock.occupancy.permits().saturating_add(u64::from(take));
    Some(wanted.saturating_sub(wounded).saturating_sub(u64::from(of)))
}
