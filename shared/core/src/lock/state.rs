//! The data of the lock machine. What is marked `skip` follows from the rest and is rebuilt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::occupancy::Occupancy;
use super::remembered::Remembered;
use super::saved::Saved;
use super::{Mode, RequestKey, SessionId, Token, Want};
use crate::name::Name;

/// Everything that the log decides.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Log index of the last entry applied.
    pub(super) index: u64,
    /// Its term.
    pub(super) term: u64,
    /// Cluster time.
    pub(super) now_ms: u64,
    /// Until then nobody loses anything to a deadline (T2).
    pub(super) no_expiry_before_ms: u64,
    /// The largest token given out.
    pub(super) last_token: Token,
    /// The largest session id given out.
    pub(super) last_session: SessionId,
    /// The largest ticket number given out.
    pub(super) last_ticket: TicketId,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) locks: BTreeMap<Name, Lock>,
    pub(super) tickets: BTreeMap<TicketId, Ticket>,
    pub(super) remembered: Remembered,
}

/// Number of a ticket: the order in which requests began to wait.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub(super) struct TicketId(pub(super) u64);

/// One who lives by keep-alives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) owner: Name,
    pub(super) meta: String,
    pub(super) ttl_ms: u64,
    pub(super) ephemeral: bool,
    pub(super) expires_at_ms: u64,
    pub(super) saved: Saved,
    /// What each owner label holds.
    #[serde(skip)]
    pub(super) grants: BTreeMap<Name, BTreeMap<Name, Token>>,
    /// Number of all that.
    #[serde(skip)]
    pub(super) held: usize,
    /// What each owner label waits with.
    #[serde(skip)]
    pub(super) tickets: BTreeMap<Name, TicketId>,
    /// Places in queues.
    #[serde(skip)]
    pub(super) places: usize,
}

/// One name that is held, delayed or waited for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) holders: BTreeMap<Token, Held>,
    /// Grants taken away, which count as held until their lock-delay is over.
    pub(super) lost: BTreeMap<Token, Lost>,
    /// Who waits, in order.
    #[serde(skip)]
    pub(super) queue: BTreeMap<Place, Mode>,
    /// What holders and lost grants take.
    #[serde(skip)]
    pub(super) occupancy: Occupancy,
    /// The head of the queue that could be granted here.
    #[serde(skip)]
    pub(super) run: Run,
    /// Users (holding, lost, waiting) with permits, and the number that they agree on.
    #[serde(skip)]
    pub(super) permit_users: usize,
    #[serde(skip)]
    pub(super) permits_of: u32,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) session: SessionId,
    pub(super) owner: Name,
    pub(super) mode: Mode,
    pub(super) count: u32,
    /// Smaller is older.
    pub(super) age: u64,
    pub(super) hold_until_ms: Option<u64>,
    pub(super) wound: Option<Wound>,
}

/// A grant that an older request has asked back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wound {
    pub(super) by: Name,
    pub(super) until_ms: u64,
}

/// A grant that was taken away, not given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) mode: Mode,
    pub(super) until_ms: u64,
    pub(super) reason: String,
}

/// A request that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) key: RequestKey,
    pub(super) session: SessionId,
    pub(super) owner: Name,
    pub(super) wants: Vec<TicketWant>,
    pub(super) since_ms: u64,
    pub(super) until_ms: u64,
    pub(super) age: u64,
    pub(super) max_hold_ms: u64,
}

/// One lock of a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketWant {
    pub(super) want: Want,
    pub(super) standing: Standing,
}

/// How a ticket stands to one of its locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Standing {
    /// In its queue.
    Queued,
    /// At the head of its queue, to change the grant that the owner has.
    Upgrade,
    /// Its owner holds it already and will enter again.
    Held,
}

/// Place in a queue: upgrades first, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    /// False for an upgrade, so that it sorts to the head.
    pub(super) ordinary: bool,
    pub(super) ticket: TicketId,
}

/// The longest head of a queue whose members could all hold together with the holders. Granting
/// one of them changes nothing for the others: that is why one pass over a queue serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Run {
    /// Its last place.
    pub(super) end: Option<Place>,
    /// What holders and the run together take.
    pub(super) occupancy: Occupancy,
}

impl State {
    /// A copy without what follows from the rest.
    pub(super) fn canonical(&self) -> Self {
        let session = |s: &Session| Session {
            owner: s.owner.clone(),
            meta: s.meta.clone(),
            saved: s.saved.clone(),
            grants: BTreeMap::new(),
            held: 0,
            tickets: BTreeMap::new(),
            places: 0,
            ..*s
        };
        let lock =
            |l: &Lock| Lock { holders: l.holders.clone(), lost: l.lost.clone(), ..Lock::default() };
        Self {
            sessions: self.sessions.iter().map(|(id, s)| (*id, session(s))).collect(),
            locks: self.locks.iter().map(|(name, l)| (name.clone(), lock(l))).collect(),
            tickets: self.tickets.clone(),
            remembered: self.remembered.canonical(),
            ..*self
        }
    }
}

impl Session {
    /// The token with which an owner label holds a lock.
    pub(super) fn token(&self, owner: &Name, lock: &Name) -> Option<Token> {
        self.grants.get(owner)?.get(lock).copied()
    }

    /// Notes a grant, or its new token.
    pub(super) fn note_grant(&mut self, owner: &Name, lock: &Name, token: Token) {
        let of_owner = self.grants.entry(owner.clone()).or_default();
        if of_owner.insert(lock.clone(), token).is_none() {
            self.held += 1;
        }
    }

    /// Forgets a grant.
    pub(super) fn forget_grant(&mut self, owner: &Name, lock: &Name) {
        let Some(of_owner) = self.grants.get_mut(owner) else { return };
        if of_owner.remove(lock).is_some() {
            self.held = self.held.saturating_sub(1);
        }
        if of_owner.is_empty() {
            self.grants.remove(owner);
        }
    }

    /// True when it neither holds nor waits.
    pub(super) fn is_idle(&self) -> bool {
        self.grants.is_empty() && self.tickets.is_empty()
    }
}

impl Standing {
    /// The place in the queue of a ticket that stands so; `None` without one.
    pub(super) fn place(self, ticket: TicketId) -> Option<Place> {
        match self {
            Self::Queued => Some(Place { ordinary: true, ticket }),
            Self::Upgrade => Some(Place { ordinary: false, ticket }),
            Self::Held => None,
        }
    }
}

impl Ticket {
    /// The locks in whose queues it stands, with mode and place.
    pub(super) fn places(&self, id: TicketId) -> impl Iterator<Item = (&Name, Mode, Place)> {
        self.wants
            .iter()
            .filter_map(move |w| Some((&w.want.lock, w.want.mode, w.standing.place(id)?)))
    }

    /// True when it is an upgrade.
    pub(super) fn is_upgrade(&self) -> bool {
        self.wants.iter().any(|w| w.standing == Standing::Upgrade)
    }

    /// Who waits: (session, owner label).
    pub(super) fn who(&self) -> (SessionId, &Name) {
        (self.session, &self.owner)
    }
}

impl Held {
    /// Who holds: (session, owner label).
    pub(super) fn who(&self) -> (SessionId, &Name) {
        (self.session, &self.owner)
    }
}

impl Lock {
    /// True when nothing is left to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.lost.is_empty() && self.queue.is_empty()
    }

    /// True when one who comes now need not wait: it goes with the holders and with everyone who
    /// waits, as if those already held.
    pub(super) fn open_to(&self, mode: Mode) -> bool {
        if super::mutant!(ReaderOvertakesWriter) && mode == Mode::Shared {
            return self.occupancy.fits(mode);
        }
        let whole = self.queue.last_key_value().is_none_or(|(last, _)| self.run.end >= Some(*last));
        whole && self.run.occupancy.fits(mode)
    }

    /// Finds the run anew.
    pub(super) fn refresh_run(&mut self) {
        let mut run = Run { end: None, occupancy: self.occupancy };
        for (place, mode) in &self.queue {
            if place.ordinary && run.occupancy.fits(*mode) {
                run.occupancy.add(*mode);
            } else if !place.ordinary && run.occupancy == Occupancy::ONE_SHARER {
                run.occupancy = Occupancy::EXCLUSIVE;
            } else {
                break;
            }
            run.end = Some(*place);
        }
        self.run = run;
    }

    /// Notes one more user, so that all agree on the number of permits.
    pub(super) fn count_user(&mut self, mode: Mode) {
        if let Some(of) = mode.permits_of() {
            self.permit_users += 1;
            self.permits_of = of;
        }
    }

    /// Notes one user less.
    pub(super) fn uncount_user(&mut self, mode: Mode) {
        if mode.permits_of().is_some() {
            self.permit_users = self.permit_users.saturating_sub(1);
            if self.permit_users == 0 {
                self.permits_of = 0;
            }
        }
    }

    /// The number of permits in use, when `mode` disagrees with it.
    pub(super) fn disagrees_on_permits(&self, mode: Mode) -> Option<u32> {
        let of = mode.permits_of()?;
        (self.permit_users > 0 && self.permits_of != of).then_some(self.permits_of)
    }
}
