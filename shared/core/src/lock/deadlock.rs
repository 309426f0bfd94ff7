//! Deadlocks: found when the request that would close the cycle begins to wait (L9).
//!
//! Who waits, waits for the holders and for those ahead in the queue, so the queues themselves are
//! the graph. Two steps:
//! 1. A depth-first search from the new ticket: if nothing that it leads to waits for the new
//!    ticket's owner, there is no cycle. It looks at each ticket and each place of a queue once,
//!    and at nothing at all when the owner holds nothing that others wait for.
//! 2. Else a reduction. Whoever could be granted if all others that are not stuck gave everything
//!    back is not stuck either; what remains is stuck for ever. That is exact for permits too,
//!    where one waits for enough of several holders, not for each of them.
//!
//! Only a new ticket can close a cycle: a grant out of a queue changes who is a holder and who is
//! ahead, not who waits for whom. Wounded grants do not count: they end by themselves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::machine::LockMachine;
use super::occupancy::Occupancy;
use super::state::{Held, Lock, Place, Standing, Ticket, TicketId};
use super::{CycleStep, Token};
use crate::name::Name;

/// Most steps of a cycle that are spelled out.
const CYCLE_SHOWN_MAX: usize = 64;

/// Grants about to be taken back: nobody waits for them for ever.
type Victims = BTreeSet<(Name, Token)>;

struct Search<'a> {
    machine: &'a LockMachine,
    victims: &'a Victims,
}

impl LockMachine {
    /// The cycle that the ticket, already in its queues, closes.
    pub(super) fn find_cycle(&self, start: TicketId, victims: &Victims) -> Option<Vec<CycleStep>> {
        let search = Search { machine: self, victims };
        let ticket = self.state.tickets.get(&start)?;
        if search.nobody_waits_for(ticket) {
            return None;
        }
        let reached = search.reach(start, ticket)?;
        let stuck = search.reduce(reached);
        if !stuck.iter().any(|(id, _)| *id == start) {
            return None;
        }
        search.shortest_cycle(start, &stuck)
    }
}

impl<'a> Search<'a> {
    /// True when the owner holds nothing that others queue for. Looks at few grants only: with
    /// many the search itself costs less.
    fn nobody_waits_for(&self, ticket: &Ticket) -> bool {
        let state = &self.machine.state;
        let session = state.sessions.get(&ticket.session);
        let Some(grants) = session.and_then(|s| s.grants.get(&ticket.owner)) else { return true };
        grants.len() <= 64
            && grants.keys().all(|name| state.locks.get(name).is_none_or(|l| l.queue.is_empty()))
    }

    /// Step 1: all tickets that `start` leads to, or `None` when none leads back.
    fn reach(&self, start: TicketId, from: &Ticket) -> Option<BTreeSet<TicketId>> {
        let state = &self.machine.state;
        let own = state.sessions.get(&from.session)?.grants.get(&from.owner);
        let mut seen = BTreeSet::from([start]);
        let mut covered: BTreeMap<&Name, Option<Place>> = BTreeMap::new();
        let mut open = vec![start];
        let mut back = false;
        while let Some(id) = open.pop() {
            let Some(ticket) = state.tickets.get(&id) else { continue };
            for (name, _, place) in ticket.places(id) {
                let Some(lock) = state.locks.get(name) else { continue };
                back |= id != start
                    && own
                        .and_then(|grants| lock.holders.get_key_value(grants.get(name)?))
                        .is_some_and(|(token, held)| !self.ends_by_itself(name, *token, held));
                let (first, done) = match covered.insert(name, Some(place)) {
                    None => (true, None),
                    Some(done) => (false, done),
                };
                if done >= Some(place) {
                    covered.insert(name, done);
                    continue;
                }
                let ahead = lock.queue.range(..place).map(|(p, _)| *p);
                open.extend(
                    ahead.filter(|p| Some(*p) > done).map(|p| p.ticket).filter(|t| seen.insert(*t)),
                );
                if first {
                    let holders = lock.holders.iter();
                    let waiting = holders
                        .filter(|(token, held)| !self.ends_by_itself(name, **token, held))
                        .filter_map(|(_, held)| self.ticket_of(held));
                    open.extend(waiting.filter(|t| seen.insert(*t)));
                }
            }
        }
        seen.retain(|id| !self.leans_on_an_ending_grant(*id));
        back.then_some(seen)
    }

    /// Step 2: those of the tickets that can never be granted, with the locks where they are stuck.
    fn reduce(&self, mut tickets: BTreeSet<TicketId>) -> BTreeSet<(TicketId, &'a Name)> {
        loop {
            let stuck = self.stuck_among(&tickets);
            let ids: BTreeSet<TicketId> = stuck.iter().map(|(id, _)| *id).collect();
            if ids.len() == tickets.len() {
                return stuck;
            }
            tickets = ids;
        }
    }

    /// Those that could not be granted if everyone but the owners of `tickets` gave everything up.
    fn stuck_among(&self, tickets: &BTreeSet<TicketId>) -> BTreeSet<(TicketId, &'a Name)> {
        let state = &self.machine.state;
        let names: BTreeSet<&'a Name> = tickets
            .iter()
            .filter_map(|id| Some((*id, state.tickets.get(id)?)))
            .flat_map(|(id, ticket)| ticket.places(id).map(|(name, _, _)| name))
            .collect();
        let mut stuck = BTreeSet::new();
        for name in names {
            let Some(lock) = state.locks.get(name) else { continue };
            let mut taken = Occupancy::default();
            for (_, held) in self.lasting(name, lock, tickets) {
                taken.add(held.mode);
            }
            for (place, mode) in &lock.queue {
                if !tickets.contains(&place.ticket) {
                    continue;
                }
                let free =
                    if place.ordinary { taken.fits(*mode) } else { taken == Occupancy::ONE_SHARER };
                if !free {
                    stuck.insert((place.ticket, name));
                }
                taken.add(*mode);
            }
        }
        stuck
    }

    /// The shortest way from the ticket over stuck ones back to its owner.
    fn shortest_cycle(
        &self,
        start: TicketId,
        stuck: &BTreeSet<(TicketId, &'a Name)>,
    ) -> Option<Vec<CycleStep>> {
        let ids: BTreeSet<TicketId> = stuck.iter().map(|(id, _)| *id).collect();
        let mut came: BTreeMap<TicketId, (TicketId, &'a Name)> = BTreeMap::new();
        let mut open = VecDeque::from([start]);
        while let Some(id) = open.pop_front() {
            for (next, name) in self.in_the_way(id, &ids, stuck) {
                if next == start {
                    return Some(self.spell(start, id, name, &came));
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = came.entry(next) {
                    entry.insert((id, name));
                    open.push_back(next);
                }
            }
        }
        None
    }

    /// The stuck tickets whose owners hold, or are ahead for, what the ticket is stuck at.
    fn in_the_way(
        &self,
        id: TicketId,
        ids: &BTreeSet<TicketId>,
        stuck: &BTreeSet<(TicketId, &'a Name)>,
    ) -> Vec<(TicketId, &'a Name)> {
        let state = &self.machine.state;
        let Some(ticket) = state.tickets.get(&id) else { return Vec::new() };
        let mut found = Vec::new();
        for (name, mode, place) in ticket.places(id) {
            let Some(lock) = state.locks.get(name).filter(|_| stuck.contains(&(id, name))) else {
                continue;
            };
            let holders = self.lasting(name, lock, ids).filter(|(other, _)| *other != id);
            let holders = holders.filter(|(_, held)| held.mode.conflicts(mode)).map(|(t, _)| t);
            let ahead = lock.queue.range(..place);
            let ahead = ahead.filter(|(p, other)| ids.contains(&p.ticket) && other.conflicts(mode));
            found.extend(holders.map(|t| (t, name)));
            found.extend(ahead.map(|(p, _)| (p.ticket, name)));
        }
        found
    }

    /// The holders that wait with one of `tickets` and do not end by themselves.
    fn lasting(
        &self,
        name: &'a Name,
        lock: &'a Lock,
        tickets: &BTreeSet<TicketId>,
    ) -> impl Iterator<Item = (TicketId, &'a Held)> {
        lock.holders
            .iter()
            .filter(|(token, held)| !self.ends_by_itself(name, **token, held))
            .filter_map(|(_, held)| Some((self.ticket_of(held)?, held)))
            .filter(|(ticket, _)| tickets.contains(ticket))
    }

    fn ticket_of(&self, held: &Held) -> Option<TicketId> {
        let session = self.machine.state.sessions.get(&held.session)?;
        session.tickets.get(&held.owner).copied()
    }

    /// True for a ticket that counts on a grant which ends by itself, and so ends with it.
    fn leans_on_an_ending_grant(&self, id: TicketId) -> bool {
        let state = &self.machine.state;
        let Some(ticket) = state.tickets.get(&id) else { return false };
        let Some(session) = state.sessions.get(&ticket.session) else { return false };
        ticket.wants.iter().filter(|w| w.standing != Standing::Queued).any(|w| {
            let name = &w.want.lock;
            let held = session
                .token(&ticket.owner, name)
                .and_then(|token| Some((token, self.machine.held(name, token)?)));
            held.is_some_and(|(token, held)| self.ends_by_itself(name, token, held))
        })
    }

    fn ends_by_itself(&self, name: &Name, token: Token, held: &Held) -> bool {
        held.wound.is_some()
            || (!self.victims.is_empty() && self.victims.contains(&(name.clone(), token)))
    }

    fn spell(
        &self,
        start: TicketId,
        last: TicketId,
        at: &Name,
        came: &BTreeMap<TicketId, (TicketId, &'a Name)>,
    ) -> Vec<CycleStep> {
        let mut edges = vec![(last, at, start)];
        let mut id = last;
        while let Some((before, name)) = came.get(&id) {
            edges.push((*before, name, id));
            id = *before;
        }
        let step = |(from, name, to): &(TicketId, &Name, TicketId)| {
            let tickets = &self.machine.state.tickets;
            let (from, to) = (tickets.get(from)?, tickets.get(to)?);
            Some(CycleStep {
                waiter: from.owner.clone(),
                session: from.session,
                lock: (*name).clone(),
                holder: to.owner.clone(),
            })
        };
        edges.iter().rev().take(CYCLE_SHOWN_MAX).filter_map(step).collect()
    }
}
