//! Random histories: small numbers that a driver makes into well-formed batches, knowing what was
//! answered so far.

use proptest::prelude::*;

use super::api::lock::{
    Applied, Batch, Command, Mode, Outcome, Policy, Request, RequestKey, SessionId, Token, Want,
};
use super::api::name::Name;

/// One thing that happens. The numbers choose among what there is.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Open {
        ttl: u8,
        ephemeral: bool,
    },
    KeepAlive {
        session: u8,
    },
    Close {
        session: u8,
    },
    Acquire {
        session: u8,
        label: u8,
        wants: Vec<(u8, u8)>,
        wait: u8,
        policy: u8,
        age: u8,
        hold: u8,
    },
    Cancel {
        request: u8,
    },
    Release {
        session: u8,
        label: u8,
        lock: u8,
        all: bool,
    },
    ReleaseToken {
        grant: u8,
        as_session: Option<u8>,
    },
    Renew {
        grant: u8,
        ttl: u8,
    },
    Convert {
        grant: u8,
        to: bool,
        wait: u8,
        detached: bool,
    },
    Force {
        grant: u8,
    },
    Retry {
        request: u8,
    },
    Tick,
    NewTerm {
        clock_behind: u8,
    },
    Restore,
}

/// What happens when: after `pause`, in the same entry as the one before if `joined`.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) pause: u8,
    pub(crate) joined: bool,
    pub(crate) op: Op,
}

fn op() -> impl Strategy<Value = Op> {
    let n = any::<u8>;
    let wants = prop::collection::vec((0..5_u8, n()), 1..=3);
    let acquire = (n(), 0..2_u8, wants, n(), 0..8_u8, 0..4_u8, n());
    let acquire = acquire.prop_map(|(session, label, wants, wait, policy, age, hold)| {
        Op::Acquire { session, label, wants, wait, policy, age, hold }
    });
    prop_oneof![
        3 => (n(), prop::bool::weighted(0.2)).prop_map(|(ttl, ephemeral)| Op::Open { ttl, ephemeral }),
        4 => n().prop_map(|session| Op::KeepAlive { session }),
        1 => n().prop_map(|session| Op::Close { session }),
        24 => acquire,
        3 => n().prop_map(|request| Op::Cancel { request }),
        6 => (n(), 0..2_u8, 0..5_u8, any::<bool>())
            .prop_map(|(session, label, lock, all)| Op::Release { session, label, lock, all }),
        6 => (n(), prop::option::of(n()))
            .prop_map(|(grant, as_session)| Op::ReleaseToken { grant, as_session }),
        1 => (n(), n()).prop_map(|(grant, ttl)| Op::Renew { grant, ttl }),
        5 => (n(), any::<bool>(), n(), prop::bool::weighted(0.2))
            .prop_map(|(grant, to, wait, detached)| Op::Convert { grant, to, wait, detached }),
        1 => n().prop_map(|grant| Op::Force { grant }),
        4 => n().prop_map(|request| Op::Retry { request }),
        3 => Just(Op::Tick),
        1 => n().prop_map(|clock_behind| Op::NewTerm { clock_behind }),
        1 => Just(Op::Restore),
    ]
}

/// A history of at most `length` events.
pub(crate) fn history(length: usize) -> impl Strategy<Value = Vec<Event>> {
    let pause = prop_oneof![3 => Just(0_u8), 2 => 1..20_u8, 1 => any::<u8>()];
    let event = (pause, prop::bool::weighted(0.2), op());
    prop::collection::vec(
        event.prop_map(|(pause, joined, op)| Event { pause, joined, op }),
        1..length,
    )
}

/// Knows what was asked and answered, as the clients together do.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) grants: Vec<(Name, Token, SessionId)>,
    pub(crate) requests: Vec<Request>,
    next: u64,
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

fn pick<T>(from: &[T], number: u8) -> Option<&T> {
    from.get(usize::from(number) % from.len().max(1))
}

impl Clients {
    /// Adds what `op` says to a batch; what has no object yet does nothing.
    pub(crate) fn put(&mut self, op: &Op, batch: &mut Batch) {
        if let Op::KeepAlive { session } = op {
            batch.keep_alives.extend(pick(&self.sessions, *session));
        }
        if let Some(request) = self.request(op) {
            self.requests.push(request.clone());
            batch.requests.push(request);
        }
    }

    fn request(&mut self, op: &Op) -> Option<Request> {
        self.next += 1;
        let next = self.next;
        let detached = RequestKey::Detached(u128::from(next));
        let of = |session: SessionId| RequestKey::Session { session, seq: next };
        let (key, command) = match op {
            Op::Open { ttl, ephemeral } => {
                let ttl_ms = 1_000 + u64::from(*ttl) * 20;
                let (owner, meta) = (name("client"), format!("number {next}"));
                (detached, Command::OpenSession { ttl_ms, owner, meta, ephemeral: *ephemeral })
            }
            Op::Close { session } => (of(*pick(&self.sessions, *session)?), Command::CloseSession),
            Op::Acquire { session, .. } => {
                let session = *pick(&self.sessions, *session)?;
                (of(session), acquire(session, op)?)
            }
            Op::Cancel { request } => {
                let target = pick(&self.requests, *request)?.key;
                let key = match target {
                    RequestKey::Session { session, .. } => of(session),
                    RequestKey::Detached(_) => detached,
                };
                (key, Command::Cancel { target })
            }
            Op::Release { session, label, lock, all } => {
                let session = *pick(&self.sessions, *session)?;
                let owner = Some(label_of(session, *label));
                let command =
                    Command::Release { lock: lock_of(*lock), token: None, owner, all: *all };
                (of(session), command)
            }
            Op::ReleaseToken { grant, as_session } => {
                let (lock, token, _) = pick(&self.grants, *grant)?.clone();
                let key = as_session.and_then(|s| pick(&self.sessions, s));
                let command =
                    Command::Release { lock, token: Some(token), owner: None, all: false };
                (key.map_or(detached, |s| of(*s)), command)
            }
            Op::Renew { grant, ttl } => {
                let (lock, token, _) = pick(&self.grants, *grant)?.clone();
                let ttl_ms = (ttl % 2 == 0).then_some(1_000 + u64::from(*ttl) * 10);
                (detached, Command::Renew { lock, token, ttl_ms })
            }
            Op::Convert { grant, to, wait, detached: without } => {
                let (lock, token, session) = pick(&self.grants, *grant)?.clone();
                let to = if *to { Mode::Exclusive } else { Mode::Shared };
                let wait_ms = if wait % 4 == 0 { 0 } else { u64::from(*wait) * 40 };
                let key = if *without { detached } else { of(session) };
                (key, Command::Convert { lock, token, to, wait_ms })
            }
            Op::Force { grant } => {
                let (lock, token, _) = pick(&self.grants, *grant)?.clone();
                let (actor, reason) = (name("root"), "test".to_owned());
                (detached, Command::ForceRelease { lock, token, actor, reason })
            }
            Op::Retry { request } => return pick(&self.requests, *request).cloned(),
            Op::KeepAlive { .. } | Op::Tick | Op::NewTerm { .. } | Op::Restore => return None,
        };
        // Now and then the client says that it awaits nothing older than its last ten requests.
        let first_outstanding = match key {
            RequestKey::Session { .. } if next.is_multiple_of(7) => next.saturating_sub(10),
            _ => 0,
        };
        Some(Request { key, first_outstanding, command })
    }

    /// Learns what was answered.
    pub(crate) fn hear(&mut self, batch: &Batch, applied: &Applied) {
        let asked = batch.requests.iter().map(|r| r.key).zip(&applied.outcomes);
        let settled = applied.settled.iter().map(|(key, outcome)| (*key, outcome));
        for (key, outcome) in asked.chain(settled) {
            match (key, outcome) {
                (_, Outcome::SessionOpened { session, .. }) => {
                    if !self.sessions.contains(session) {
                        self.sessions.push(*session);
                    }
                    if self.sessions.len() > 4 {
                        self.sessions.remove(0);
                    }
                }
                (RequestKey::Session { session, .. }, Outcome::Granted(grants)) => {
                    self.grants.extend(grants.iter().map(|g| (g.lock.clone(), g.token, session)));
                }
                (RequestKey::Session { session, .. }, Outcome::Converted(g)) => {
                    self.grants.push((g.lock.clone(), g.token, session));
                }
                _ => {}
            }
        }
        let surplus = self.grants.len().saturating_sub(8);
        self.grants.drain(..surplus);
    }
}

fn acquire(session: SessionId, op: &Op) -> Option<Command> {
    let Op::Acquire { label, wants, wait, policy, age, hold, .. } = op else { return None };
    Some(Command::Acquire {
        wants: distinct(wants),
        owner: label_of(session, *label),
        wait_ms: if wait % 5 == 0 { 0 } else { u64::from(*wait) * 40 },
        policy: match policy {
            0 | 1 => Policy::WoundWait,
            2 => Policy::WaitDie,
            _ => Policy::Detect,
        },
        age: u64::from(*age),
        max_hold_ms: if hold % 8 == 0 { 100 + u64::from(*hold) * 10 } else { 0 },
    })
}

fn lock_of(number: u8) -> Name {
    name(["a", "b", "c", "d", "pool"][usize::from(number % 5)])
}

fn label_of(session: SessionId, label: u8) -> Name {
    name(&format!("s{}{}", session.0, ["x", "y"][usize::from(label % 2)]))
}

fn distinct(wants: &[(u8, u8)]) -> Vec<Want> {
    let mut named: Vec<Want> = Vec::new();
    for (lock, mode) in wants {
        let lock = lock_of(*lock);
        let mode = match (lock.as_str(), mode % 16) {
            (_, 0) => Mode::Permits { take: 1, of: 2 },
            ("pool", m) if m < 15 => Mode::Permits { take: 1 + u32::from(m % 3), of: 3 },
            (_, m) if m < 8 => Mode::Shared,
            _ => Mode::Exclusive,
        };
        if named.iter().all(|w| w.lock != lock) {
            named.push(Want { lock, mode });
        }
    }
    named
}
