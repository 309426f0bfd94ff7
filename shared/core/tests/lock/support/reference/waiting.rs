//! Queues of the reference model.

use super::super::api::lock::{EventKind, Grant, Mode, Outcome, Policy, Token, Want};
use super::super::api::name::Name;
use super::{Held, Reference, Standing, Ticket, conflict, go_together};

impl Ticket {
    fn at(&self, lock: &Name) -> Option<(Mode, Standing)> {
        let found = self.wants.iter().find(|(w, _)| w.lock == *lock);
        found.map(|(w, s)| (w.mode, *s)).filter(|(_, s)| *s != Standing::Held)
    }

    fn is_ahead_of(&self, other: &Self, lock: &Name) -> bool {
        let (Some((_, mine)), Some((_, theirs))) = (self.at(lock), other.at(lock)) else {
            return false;
        };
        (mine != Standing::Upgrade, self.id) < (theirs != Standing::Upgrade, other.id)
    }
}

impl Reference {
    /// What a ticket is measured against at a lock: holders, lost grants and those ahead.
    fn before(&self, lock: &Name, ticket: &Ticket) -> Vec<Mode> {
        let upgrade = ticket.at(lock).is_some_and(|(_, s)| s == Standing::Upgrade);
        let own = |g: &Held| upgrade && g.session == ticket.session && g.owner == ticket.owner;
        let holders = self.grants.iter().filter(|g| g.lock == *lock && !own(g)).map(|g| g.mode);
        let lost = self.lost.iter().filter(|l| l.lock == *lock).map(|l| l.mode);
        let ahead = self.tickets.iter().filter(|t| t.is_ahead_of(ticket, lock));
        let ahead = ahead.filter_map(|t| Some(t.at(lock)?.0));
        holders.chain(lost).chain(ahead).collect()
    }

    pub(super) fn is_clear(&self, ticket: &Ticket) -> bool {
        ticket.wants.iter().filter(|(_, s)| *s != Standing::Held).all(|(want, _)| {
            let mut modes = self.before(&want.lock, ticket);
            modes.push(want.mode);
            go_together(&modes)
        })
    }

    pub(super) fn serve(&mut self) {
        while let Some(ticket) = self.tickets.iter().find(|t| self.is_clear(t)).cloned() {
            self.tickets.retain(|t| t.id != ticket.id);
            let outcome = self.grant_all(&ticket);
            self.lost_something.push(ticket.session);
            self.decide(&ticket, outcome);
        }
    }

    pub(super) fn grant_all(&mut self, ticket: &Ticket) -> Outcome {
        let mut grants = Vec::new();
        for (want, standing) in &ticket.wants {
            match standing {
                Standing::Queued => grants.push(self.grant(ticket, want)),
                Standing::Held => {
                    let (session, owner) = (ticket.session, &ticket.owner);
                    let token = self.held_by(session, owner, &want.lock).unwrap().token;
                    let held = self.held_mut(&want.lock, token).unwrap();
                    held.count += 1;
                    let (mode, count) = (held.mode, held.count);
                    grants.push(Grant { lock: want.lock.clone(), mode, token, count });
                }
                Standing::Upgrade => {
                    let (session, owner) = (ticket.session, &ticket.owner);
                    let token = self.held_by(session, owner, &want.lock).unwrap().token;
                    return Outcome::Converted(self.upgrade(&want.lock, token));
                }
            }
        }
        Outcome::Granted(grants)
    }

    fn grant(&mut self, ticket: &Ticket, want: &Want) -> Grant {
        self.last_token += 1;
        let token = Token(self.last_token);
        self.grants.push(Held {
            lock: want.lock.clone(),
            token,
            session: ticket.session,
            owner: ticket.owner.clone(),
            mode: want.mode,
            count: 1,
            age: ticket.age,
            hold_until: (ticket.max_hold > 0).then_some(self.now + ticket.max_hold),
            wound: None,
        });
        let grant = Grant { lock: want.lock.clone(), mode: want.mode, token, count: 1 };
        let (owner, session) = (ticket.owner.clone(), ticket.session);
        self.event(EventKind::Granted { grant: grant.clone(), owner, session });
        grant
    }

    pub(super) fn upgrade(&mut self, lock: &Name, token: Token) -> Grant {
        self.last_token += 1;
        let new = Token(self.last_token);
        let held = self.held_mut(lock, token).unwrap();
        held.token = new;
        held.mode = Mode::Exclusive;
        let (owner, session, count) = (held.owner.clone(), held.session, held.count);
        let grant = Grant { lock: lock.clone(), mode: Mode::Exclusive, token: new, count };
        self.event(EventKind::Granted { grant: grant.clone(), owner, session });
        grant
    }

    pub(super) fn settle(&mut self, id: u64, outcome: Outcome) {
        let Some(place) = self.tickets.iter().position(|t| t.id == id) else { return };
        let ticket = self.tickets.remove(place);
        self.lost_something.push(ticket.session);
        self.decide(&ticket, outcome);
    }

    fn decide(&mut self, ticket: &Ticket, outcome: Outcome) {
        self.applied.settled.push((ticket.key, outcome.clone()));
        self.save_if_known(ticket.key, outcome);
    }

    pub(super) fn wait(&mut self, mut ticket: Ticket, policy: Policy) -> Outcome {
        let blocked: Vec<Want> = ticket.wants.iter().map(|(w, _)| w.clone()).collect();
        let mut victims = Vec::new();
        for want in blocked {
            let mut alone = ticket.clone();
            alone.id = u64::MAX;
            alone.wants.retain(|(w, s)| w.lock == want.lock && *s != Standing::Held);
            if self.is_clear(&alone) {
                continue;
            }
            match policy {
                Policy::Detect => {}
                Policy::WaitDie => {
                    if let Some(by) = self.older(&want, &ticket) {
                        return Outcome::Wounded { lock: want.lock, by };
                    }
                }
                Policy::WoundWait => victims.extend(self.younger(&want, &ticket)),
            }
        }
        self.last_ticket += 1;
        ticket.id = self.last_ticket;
        self.tickets.push(ticket.clone());
        if self.is_stuck(&ticket, &victims) {
            self.tickets.pop();
            self.lost_something.push(ticket.session);
            self.event(EventKind::Deadlock(Vec::new()));
            return Outcome::Deadlock(Vec::new());
        }
        if ticket.until <= self.now {
            self.tickets.pop();
            self.lost_something.push(ticket.session);
            return self.would_block(&ticket);
        }
        victims.sort();
        for (lock, token) in victims {
            self.wound(&lock, token, &ticket.owner);
        }
        self.queued(&ticket)
    }

    fn older(&self, want: &Want, ticket: &Ticket) -> Option<Name> {
        let mut holders: Vec<&Held> = self.grants.iter().filter(|g| g.lock == want.lock).collect();
        holders.sort_by_key(|g| g.token);
        let holder = holders.iter().find(|g| g.age < ticket.age && conflict(g.mode, want.mode));
        let mut waiters: Vec<&Ticket> =
            self.tickets.iter().filter(|t| t.at(&want.lock).is_some()).collect();
        waiters.sort_by_key(|t| (t.at(&want.lock).unwrap().1 != Standing::Upgrade, t.id));
        let waiter = waiters
            .iter()
            .find(|t| t.age < ticket.age && conflict(t.at(&want.lock).unwrap().0, want.mode));
        holder.map(|g| g.owner.clone()).or_else(|| waiter.map(|t| t.owner.clone()))
    }

    fn younger(&self, want: &Want, ticket: &Ticket) -> Vec<(Name, Token)> {
        let at: Vec<&Held> = self.grants.iter().filter(|g| g.lock == want.lock).collect();
        let taken: u32 = at
            .iter()
            .filter(|g| g.wound.is_none())
            .map(|g| if let Mode::Permits { take, .. } = g.mode { take } else { 0 })
            .sum();
        let lost = self.lost.iter().filter(|l| l.lock == want.lock);
        let lost: u32 =
            lost.map(|l| if let Mode::Permits { take, .. } = l.mode { take } else { 0 }).sum();
        let all_permits = at.iter().all(|g| matches!(g.mode, Mode::Permits { .. }));
        let mut younger: Vec<&&Held> = at
            .iter()
            .filter(|g| g.wound.is_none() && g.age > ticket.age && conflict(g.mode, want.mode))
            .collect();
        younger.sort_by_key(|g| std::cmp::Reverse((g.age, g.token)));
        let mut free_later = 0;
        let mut victims = Vec::new();
        for g in younger {
            if let Mode::Permits { take, of } = want.mode
                && all_permits
                && taken + lost + take <= of + free_later
            {
                break;
            }
            if let Mode::Permits { take, .. } = g.mode {
                free_later += take;
            }
            victims.push((g.lock.clone(), g.token));
        }
        victims
    }

    fn wound(&mut self, lock: &Name, token: Token, by: &Name) {
        let grace_ms = self.settings.wound_grace_ms;
        let until = self.now + grace_ms;
        let held = self.held_mut(lock, token).unwrap();
        held.wound = Some((by.clone(), until));
        let (session, owner) = (held.session, held.owner.clone());
        self.event(EventKind::Revoke {
            lock: lock.clone(),
            token,
            session,
            by: by.clone(),
            grace_ms,
        });
        let waits = self.tickets.iter().find(|t| t.session == session && t.owner == owner);
        if let Some(id) = waits.map(|t| t.id) {
            self.settle(id, Outcome::Wounded { lock: lock.clone(), by: by.clone() });
        }
    }

    /// Strikes out, again and again, whoever could go on if all who are not stuck gave back what
    /// they have; true when `ticket` is among the rest.
    fn is_stuck(&self, ticket: &Ticket, victims: &[(Name, Token)]) -> bool {
        let ends = |g: &Held| g.wound.is_some() || victims.contains(&(g.lock.clone(), g.token));
        let leans_on_ending = |t: &Ticket| {
            t.wants
                .iter()
                .filter(|(_, s)| *s != Standing::Queued)
                .any(|(w, _)| self.held_by(t.session, &t.owner, &w.lock).is_some_and(ends))
        };
        let mut stuck: Vec<&Ticket> = self.tickets.iter().filter(|t| !leans_on_ending(t)).collect();
        loop {
            let goes_on = stuck.iter().position(|t| {
                t.wants.iter().filter(|(_, s)| *s != Standing::Held).all(|(want, standing)| {
                    let own = |g: &Held| g.session == t.session && g.owner == t.owner;
                    let mut modes: Vec<Mode> = self
                        .grants
                        .iter()
                        .filter(|g| g.lock == want.lock && !ends(g))
                        .filter(|g| !(own(g) && *standing == Standing::Upgrade))
                        .filter(|g| {
                            stuck.iter().any(|s| s.session == g.session && s.owner == g.owner)
                        })
                        .map(|g| g.mode)
                        .collect();
                    modes.extend(
                        stuck
                            .iter()
                            .filter(|s| s.is_ahead_of(t, &want.lock))
                            .filter_map(|s| Some(s.at(&want.lock)?.0)),
                    );
                    modes.push(want.mode);
                    go_together(&modes)
                })
            });
            match goes_on {
                Some(place) => stuck.remove(place),
                None => return stuck.iter().any(|t| t.id == ticket.id),
            };
        }
    }
}
