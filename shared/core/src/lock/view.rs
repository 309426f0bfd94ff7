//! What others are shown: reads of the state as it was after the last entry.

use std::ops::Bound;

use super::machine::LockMachine;
use super::page::{PAGE_BYTES, Room, fitting};
use super::state::{Held, Lock, Place, Standing, TicketId, TicketWant};
use super::{
    CycleStep, Delay, Holder, LockView, Mode, Outcome, SessionId, SessionView, Token, Waiter,
};
use crate::name::Name;

/// Most holders that an outcome names.
pub const HOLDERS_SHOWN_MAX: usize = 16;
/// Most holders that the view of one lock names.
const VIEW_HOLDERS_MAX: usize = 1_000;
/// Bytes of holders, and of waiters, in the view of one lock: the two fill a page.
const VIEW_BYTES: usize = PAGE_BYTES / 2;
/// The same in a listing, where one lock must not crowd out the others.
const LISTED_BYTES: usize = PAGE_BYTES / 16;
/// Most steps that the wait graph shows.
pub const WAIT_GRAPH_MAX: usize = 10_000;

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Open sessions.
    pub sessions: usize,
    /// Locks that are held, delayed or waited for.
    pub locks: usize,
    /// Grants.
    pub grants: usize,
    /// Requests that wait.
    pub tickets: usize,
    /// Outcomes kept for requests without a live session.
    pub remembered: usize,
    /// The largest fencing token given out.
    pub last_token: Token,
}

impl LockMachine {
    /// One lock; `None`: free, and nobody waits.
    ///
    /// # Limits
    /// Names at most 1 000 holders, those with the smallest tokens, and of holders and of waiters
    /// about 256 KiB each; the rest is counted.
    pub fn get(&self, lock: &str) -> Option<LockView> {
        let (name, lock) = self.state.locks.get_key_value(lock)?;
        Some(self.lock_view(name, lock, VIEW_BYTES))
    }

    /// Locks whose name begins with `prefix` and comes after `after`, in order of name, and
    /// whether there are more. With `waiting` only those that someone waits for.
    ///
    /// # Limits
    /// A page ends early, with `true`, before it takes more than about [`PAGE_BYTES`]. Of each lock
    /// it names about 32 KiB of holders and as much of waiters; the rest is counted.
    pub fn list(
        &self,
        prefix: &str,
        waiting: bool,
        after: Option<&Name>,
        limit: usize,
    ) -> (Vec<LockView>, bool) {
        let from = match after.map(Name::as_str) {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut items = Vec::new();
        let mut room = Room::new(PAGE_BYTES);
        let range = self.state.locks.range::<str, _>((from, Bound::Unbounded));
        for (name, lock) in range.take_while(|(name, _)| name.as_str().starts_with(prefix)) {
            if waiting && lock.queue.is_empty() {
                continue;
            }
            if items.len() >= limit {
                return (items, true);
            }
            let view = self.lock_view(name, lock, LISTED_BYTES);
            if !room.take(&view) {
                return (items, true);
            }
            items.push(view);
        }
        (items, false)
    }

    /// The holder, if the token is the one that holds the lock.
    pub fn validate(&self, lock: &str, token: Token) -> Option<Holder> {
        let held = self.state.locks.get(lock)?.holders.get(&token)?;
        Some(self.holder_view(token, held))
    }

    /// Who waits for whom, and whether there is more: for one at whom holders are in the way those,
    /// for one further back the nearest ahead whom it cannot go with.
    ///
    /// # Limits
    /// At most [`WAIT_GRAPH_MAX`] steps, and about [`PAGE_BYTES`]; who waits longest comes first.
    pub fn wait_graph(&self) -> (Vec<CycleStep>, bool) {
        let mut steps = Vec::new();
        let mut room = Room::new(PAGE_BYTES);
        for (id, ticket) in &self.state.tickets {
            for (name, mode, place) in ticket.places(*id) {
                let Some(lock) = self.state.locks.get(name) else { continue };
                if self.is_clear_at(name, place) {
                    continue;
                }
                let ahead = self.nearest_ahead(lock, place, mode);
                let holders = lock
                    .holders
                    .values()
                    .filter(|h| {
                        ahead.is_none() && h.mode.conflicts(mode) && h.who() != ticket.who()
                    })
                    .map(|h| &h.owner);
                for holder in ahead.into_iter().chain(holders) {
                    let step = CycleStep {
                        waiter: ticket.owner.clone(),
                        session: ticket.session,
                        lock: name.clone(),
                        holder: holder.clone(),
                    };
                    if steps.len() >= WAIT_GRAPH_MAX || !room.take(&step) {
                        return (steps, true);
                    }
                    steps.push(step);
                }
            }
        }
        (steps, false)
    }

    /// Live sessions with an id above `after`, and whether there are more.
    ///
    /// # Limits
    /// A page ends early, with `true`, before it takes more than about [`PAGE_BYTES`].
    pub fn sessions(&self, after: SessionId, limit: usize) -> (Vec<SessionView>, bool) {
        let above = self.state.sessions.range((Bound::Excluded(after), Bound::Unbounded));
        let views = above.take(limit).map(|(id, session)| SessionView {
            session: *id,
            owner: session.owner.clone(),
            meta: session.meta.clone(),
            ttl_ms: session.ttl_ms,
            expires_in_ms: self.lease_left(*id),
            grants: counted(session.held),
            tickets: counted(session.places),
        });
        let items = fitting(views, PAGE_BYTES);
        let last = items.last().map_or(after, |view| view.session);
        let mut rest = self.state.sessions.range((Bound::Excluded(last), Bound::Unbounded));
        (items, rest.next().is_some())
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        Counts {
            sessions: self.state.sessions.len(),
            locks: self.state.locks.len(),
            grants: self.grants,
            tickets: self.state.tickets.len(),
            remembered: self.state.remembered.len(),
            last_token: self.state.last_token,
        }
    }

    /// A lock with so many bytes of holders, and so many of waiters.
    fn lock_view(&self, name: &Name, lock: &Lock, bytes: usize) -> LockView {
        let holders = lock.holders.iter().map(|(token, held)| self.holder_view(*token, held));
        let holders = fitting(holders.take(VIEW_HOLDERS_MAX), bytes);
        let queue = lock.queue.keys().zip(1_u32..);
        let waiters = queue.filter_map(|(place, at)| self.waiter_view(name, *place, at));
        let waiters = fitting(waiters, bytes);
        LockView {
            name: name.clone(),
            mode: lock.holders.values().next().map(|held| held.mode),
            more_holders: counted(lock.holders.len().saturating_sub(holders.len())),
            more_waiters: counted(lock.queue.len().saturating_sub(waiters.len())),
            holders,
            waiters,
            delay: self.delay_view(lock),
        }
    }

    fn holder_view(&self, token: Token, held: &Held) -> Holder {
        let lease = self.lease_left(held.session);
        let hold = held.hold_until_ms.map(|until| self.left(until));
        Holder {
            owner: held.owner.clone(),
            session: held.session,
            mode: held.mode,
            token,
            count: held.count,
            expires_in_ms: hold.map_or(lease, |hold| hold.min(lease)),
        }
    }

    fn waiter_view(&self, name: &Name, place: Place, position: u32) -> Option<Waiter> {
        let ticket = self.state.tickets.get(&place.ticket)?;
        let own = ticket.wants.iter().find(|w| w.want.lock == *name)?;
        let group = ticket.wants.iter().map(|w| &w.want.lock).filter(|other| *other != name);
        Some(Waiter {
            owner: ticket.owner.clone(),
            session: ticket.session,
            mode: own.want.mode,
            position,
            waiting_ms: self.state.now_ms.saturating_sub(ticket.since_ms),
            group: group.cloned().collect(),
            upgrade: own.standing == Standing::Upgrade,
        })
    }

    fn delay_view(&self, lock: &Lock) -> Option<Delay> {
        let lost = lock.lost.values().max_by_key(|lost| lost.until_ms)?;
        Some(Delay {
            remaining_ms: lost.until_ms.saturating_sub(self.state.now_ms),
            reason: lost.reason.clone(),
        })
    }

    /// Time until that session's lease ends.
    pub(super) fn lease_left(&self, session: SessionId) -> u64 {
        self.state.sessions.get(&session).map_or(0, |s| self.left(s.expires_at_ms))
    }

    /// Time until a deadline that waits for the grace of a new term.
    fn left(&self, until_ms: u64) -> u64 {
        until_ms.max(self.state.no_expiry_before_ms).saturating_sub(self.state.now_ms)
    }

    /// The nearest one ahead in the queue that cannot go with `mode`.
    fn nearest_ahead(&self, lock: &Lock, place: Place, mode: Mode) -> Option<&Name> {
        let (ahead, _) = lock.queue.range(..place).rev().find(|(_, m)| m.conflicts(mode))?;
        self.state.tickets.get(&ahead.ticket).map(|ticket| &ticket.owner)
    }

    /// The first holders of a lock, as outcomes name them.
    pub(super) fn holders_shown(&self, lock: &Name) -> Vec<Holder> {
        let lock = self.state.locks.get(lock);
        lock.into_iter()
            .flat_map(|lock| &lock.holders)
            .take(HOLDERS_SHOWN_MAX)
            .map(|(token, held)| self.holder_view(*token, held))
            .collect()
    }

    /// The outcome of a request that waits, as things are now.
    pub(super) fn queued(&self, id: TicketId) -> Outcome {
        let ticket = self.state.tickets.get(&id);
        Outcome::Queued {
            position: self.position(id),
            blockers: ticket
                .map(|t| self.in_the_way((t.session, &t.owner), &t.wants))
                .unwrap_or_default(),
        }
    }

    /// The outcome of a request that would wait and may not.
    pub(super) fn would_block(
        &self,
        session: SessionId,
        owner: &Name,
        wants: &[TicketWant],
    ) -> Outcome {
        let holders = self.in_the_way((session, owner), wants);
        let delays = wants.iter().filter_map(|w| self.state.locks.get(&w.want.lock));
        let delay = delays.filter_map(|lock| self.delay_view(lock)).max_by_key(|d| d.remaining_ms);
        let delay = if holders.is_empty() { delay } else { None };
        Outcome::WouldBlock { holders, delay }
    }

    /// The first holders that cannot go with what is wanted.
    fn in_the_way(&self, who: (SessionId, &Name), wants: &[TicketWant]) -> Vec<Holder> {
        wants
            .iter()
            .filter(|w| w.standing != Standing::Held)
            .filter_map(|w| Some((w.want.mode, self.state.locks.get(&w.want.lock)?)))
            .flat_map(|(mode, lock)| lock.holders.iter().map(move |holder| (mode, holder)))
            .filter(|(mode, (_, held))| held.mode.conflicts(*mode) && held.who() != who)
            .take(HOLDERS_SHOWN_MAX)
            .map(|(_, (token, held))| self.holder_view(*token, held))
            .collect()
    }

    /// Place in the first queue in which the ticket is not at the head, from 1.
    pub(super) fn position(&self, id: TicketId) -> u32 {
        let Some(ticket) = self.state.tickets.get(&id) else { return 1 };
        ticket
            .places(id)
            .filter_map(|(name, _, place)| {
                let ahead = self.state.locks.get(name)?.queue.range(..place).count();
                u32::try_from(ahead + 1).ok()
            })
            .find(|position| *position > 1)
            .unwrap_or(1)
    }
}

fn counted(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
