//! What the reference model shows.

use super::super::api::lock::{Delay, Holder, LockView, Outcome, SessionView, Waiter};
use super::super::api::name::Name;
use super::{Held, Reference, Standing, Ticket, conflict};

impl Reference {
    fn left(&self, until: u64) -> u64 {
        until.max(self.no_expiry_before).saturating_sub(self.now)
    }

    fn holder(&self, held: &Held) -> Holder {
        let lease = self.session(held.session).map_or(0, |s| self.left(s.expires));
        Holder {
            owner: held.owner.clone(),
            session: held.session,
            mode: held.mode,
            token: held.token,
            count: held.count,
            expires_in_ms: held.hold_until.map_or(lease, |until| lease.min(self.left(until))),
        }
    }

    fn at(&self, lock: &Name) -> Vec<&Held> {
        let mut held: Vec<&Held> = self.grants.iter().filter(|g| g.lock == *lock).collect();
        held.sort_by_key(|g| g.token);
        held
    }

    pub(super) fn holders(&self, lock: &Name) -> Vec<Holder> {
        self.at(lock).into_iter().take(16).map(|g| self.holder(g)).collect()
    }

    fn blockers(&self, ticket: &Ticket) -> Vec<Holder> {
        let mut found = Vec::new();
        for (want, standing) in &ticket.wants {
            if *standing == Standing::Held {
                continue;
            }
            for g in self.at(&want.lock) {
                let own = g.session == ticket.session && g.owner == ticket.owner;
                if !own && conflict(g.mode, want.mode) {
                    found.push(self.holder(g));
                }
            }
        }
        found.truncate(16);
        found
    }

    pub(super) fn queue(&self, lock: &Name) -> Vec<&Ticket> {
        let mut queue: Vec<(bool, &Ticket)> = Vec::new();
        for ticket in &self.tickets {
            for (want, standing) in &ticket.wants {
                if want.lock == *lock && *standing != Standing::Held {
                    queue.push((*standing != Standing::Upgrade, ticket));
                }
            }
        }
        queue.sort_by_key(|(ordinary, ticket)| (*ordinary, ticket.id));
        queue.into_iter().map(|(_, ticket)| ticket).collect()
    }

    pub(super) fn queued(&self, ticket: &Ticket) -> Outcome {
        let mut position = 1;
        for (want, standing) in &ticket.wants {
            if *standing == Standing::Held {
                continue;
            }
            let ahead = self.queue(&want.lock).iter().position(|t| t.id == ticket.id).unwrap();
            if ahead > 0 {
                position = u32::try_from(ahead + 1).unwrap();
                break;
            }
        }
        Outcome::Queued { position, blockers: self.blockers(ticket) }
    }

    fn delay(&self, lock: &Name) -> Option<Delay> {
        let mut lost: Vec<_> = self.lost.iter().filter(|l| l.lock == *lock).collect();
        lost.sort_by_key(|l| (l.until, l.token));
        let last = lost.last()?;
        let remaining_ms = last.until - self.now;
        Some(Delay { remaining_ms, reason: last.reason.clone() })
    }

    pub(super) fn would_block(&self, ticket: &Ticket) -> Outcome {
        let holders = self.blockers(ticket);
        let delays = ticket.wants.iter().filter_map(|(w, _)| self.delay(&w.lock));
        let delay = delays.max_by_key(|d| d.remaining_ms).filter(|_| holders.is_empty());
        Outcome::WouldBlock { holders, delay }
    }

    /// Every lock that is held, delayed or waited for, by name.
    pub(crate) fn locks(&self) -> Vec<LockView> {
        let mut names: Vec<Name> = self.grants.iter().map(|g| g.lock.clone()).collect();
        names.extend(self.lost.iter().map(|l| l.lock.clone()));
        for ticket in &self.tickets {
            let queued = ticket.wants.iter().filter(|(_, s)| *s != Standing::Held);
            names.extend(queued.map(|(w, _)| w.lock.clone()));
        }
        names.sort();
        names.dedup();
        names.iter().map(|name| self.lock(name)).collect()
    }

    fn lock(&self, name: &Name) -> LockView {
        let waiter = |(at, ticket): (usize, &&Ticket)| {
            let (want, standing) =
                ticket.wants.iter().find(|(w, _)| w.lock == *name).cloned().unwrap();
            Waiter {
                owner: ticket.owner.clone(),
                session: ticket.session,
                mode: want.mode,
                position: u32::try_from(at + 1).unwrap(),
                waiting_ms: self.now - ticket.since,
                group: ticket
                    .wants
                    .iter()
                    .map(|(w, _)| w.lock.clone())
                    .filter(|lock| lock != name)
                    .collect(),
                upgrade: standing == Standing::Upgrade,
            }
        };
        LockView {
            name: name.clone(),
            mode: self.at(name).first().map(|g| g.mode),
            holders: self.at(name).into_iter().map(|g| self.holder(g)).collect(),
            waiters: self.queue(name).iter().enumerate().map(waiter).collect(),
            delay: self.delay(name),
            more_holders: 0,
            more_waiters: 0,
        }
    }

    /// Every live session.
    pub(crate) fn sessions(&self) -> Vec<SessionView> {
        let count = |n: usize| u32::try_from(n).unwrap();
        let mut views: Vec<SessionView> = self
            .sessions
            .iter()
            .map(|s| SessionView {
                session: s.id,
                owner: s.owner.clone(),
                meta: s.meta.clone(),
                ttl_ms: s.ttl,
                expires_in_ms: self.left(s.expires),
                grants: count(self.grants.iter().filter(|g| g.session == s.id).count()),
                tickets: count(
                    self.tickets
                        .iter()
                        .filter(|t| t.session == s.id)
                        .flat_map(|t| &t.wants)
                        .filter(|(_, standing)| *standing != Standing::Held)
                        .count(),
                ),
            })
            .collect();
        views.sort_by_key(|s| s.session);
        views
    }
}
