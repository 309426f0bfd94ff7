//! Every interleaving of three clients and time over the real machine, to a bounded depth.
//!
//! A client opens its session at the start and then acquires, repeats its last request (its answer
//! was lost), releases, or falls silent; time passes in steps around the lease. The clients believe
//! what they were answered, and count their own deadline from when they last asked (T6).

use std::hash::{Hash, Hasher};

use stateright::{Checker, Model, Property};

use crate::api::lock::{
    Applied, At, Batch, Command, LockMachine, Lookup, Mode, Outcome, Policy, Request, RequestKey,
    SessionId, Settings, Token, Want,
};
use crate::support::history::name;

const CLIENTS: usize = 3;
const TTL_MS: u64 = 1_000;
const STEP_MS: u64 = 500;
/// Acquire and release, twice; then the client is done.
const REQUESTS_MAX: u64 = 4;
const STEPS_MAX: u64 = 4;
const DEPTH: usize = 9;

/// The machine; equal states have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hashed(LockMachine);

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        postcard::to_stdvec(&self.0.snapshot_ref()).unwrap().hash(hasher);
    }
}

/// What a client knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    session: SessionId,
    seq: u64,
    /// The token it was granted and has not given up.
    token: Option<Token>,
    /// It believes in its lease until then.
    lease_until_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    machine: Hashed,
    clients: Vec<Client>,
    index: u64,
    t_ms: u64,
    term: u64,
    /// The largest token that the resource has seen: it refuses smaller ones (L3).
    resource: Token,
    /// The broken property, if any.
    broken: Option<&'static str>,
    expired: bool,
    handed_on: bool,
    repeated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Acquire(usize),
    Release(usize),
    Repeat(usize),
    KeepAlive(usize),
    Time,
    NewTerm,
    Write(usize),
}

struct Locks;

fn settings() -> Settings {
    Settings {
        new_term_grace_ms: STEP_MS,
        // No delay hides what the leases alone must keep apart.
        lock_delay_ms: 0,
        wound_grace_ms: STEP_MS,
        min_ttl_ms: TTL_MS,
    }
}

fn acquire() -> Command {
    Command::Acquire {
        wants: vec![Want { lock: name("x"), mode: Mode::Exclusive }],
        owner: name("me"),
        wait_ms: 3 * STEP_MS,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

fn release() -> Command {
    Command::Release { lock: name("x"), token: None, owner: Some(name("me")), all: true }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            machine: Hashed(LockMachine::new()),
            clients: Vec::new(),
            index: 0,
            t_ms: 0,
            term: 1,
            resource: Token(0),
            broken: None,
            expired: false,
            handed_on: false,
            repeated: false,
        };
        for _ in 0..CLIENTS {
            world.index += 1;
            let session = SessionId(world.index);
            let key = RequestKey::Detached(u128::from(world.index));
            let (owner, meta) = (name("c"), String::new());
            let command = Command::OpenSession { ttl_ms: TTL_MS, owner, meta, ephemeral: false };
            world.apply(vec![], vec![Request { key, first_outstanding: 0, command }]);
            world.clients.push(Client { session, seq: 0, token: None, lease_until_ms: TTL_MS });
        }
        world
    }

    fn apply(&mut self, keep_alives: Vec<SessionId>, requests: Vec<Request>) -> Applied {
        // The index only names the entry; held still, more states are found equal.
        let at = At { index: self.index, term: self.term, t_ms: self.t_ms };
        let repeated = requests.iter().any(|r| match r.key {
            RequestKey::Session { .. } => self.machine.0.lookup(&r.key) != Lookup::Unknown,
            RequestKey::Detached(_) => false,
        });
        let before = self.machine.0.counts().last_token;
        let batch = Batch { settings: settings(), keep_alives, requests };
        let applied = self.machine.0.apply(at, &batch);
        // A repetition at the same time has no second effect.
        if repeated
            && applied.events.iter().any(|_| true)
            && self.machine.0.counts().last_token > before
        {
            self.broken = Some("one effect");
        }
        self.repeated |= repeated;
        for (key, outcome) in &applied.settled {
            self.handed_on |= matches!(outcome, Outcome::Granted(_));
            self.hear(*key, outcome);
        }
        for (request, outcome) in batch.requests.iter().zip(&applied.outcomes) {
            self.hear(request.key, outcome);
        }
        self.look();
        applied
    }

    /// The client takes an answer in.
    fn hear(&mut self, key: RequestKey, outcome: &Outcome) {
        let RequestKey::Session { session, seq } = key else { return };
        let Some(client) = self.clients.iter_mut().find(|c| c.session == session) else { return };
        match outcome {
            Outcome::Granted(grants) if seq == client.seq => {
                client.token = grants.first().map(|g| g.token);
            }
            Outcome::SessionExpired => client.token = None,
            _ => {}
        }
    }

    /// The properties that hold in every state.
    fn look(&mut self) {
        let view = self.machine.0.get("x");
        let (holders, waiters) = view.map(|v| (v.holders, v.waiters)).unwrap_or_default();
        if holders.len() > 1 {
            self.broken = Some("one holder");
        }
        // Two clients that are both certain to hold: leases counted by their own clock.
        let certain =
            self.clients.iter().filter(|c| c.token.is_some() && self.t_ms < c.lease_until_ms);
        if certain.count() > 1 {
            self.broken = Some("exclusive intervals");
        }
        for waiter in &waiters {
            let client = self.clients.iter().find(|c| c.session == waiter.session);
            let key = client.map(|c| RequestKey::Session { session: c.session, seq: c.seq });
            let pending = key
                .is_some_and(|key| matches!(self.machine.0.lookup(&key), Lookup::Pending { .. }));
            if !pending {
                self.broken = Some("no ghost tickets");
            }
        }
        if holders.is_empty() && !waiters.is_empty() && self.machine.0.next_deadline().is_none() {
            self.broken = Some("nobody waits for ever");
        }
    }
}

impl Model for Locks {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (who, client) in world.clients.iter().enumerate() {
            let asked = client.seq % 2 == 1;
            if client.seq < REQUESTS_MAX {
                actions.push(if asked { Action::Release(who) } else { Action::Acquire(who) });
            }
            if asked && !world.repeated {
                actions.push(Action::Repeat(who));
            }
            if client.seq > 0 && client.lease_until_ms < world.t_ms + TTL_MS {
                actions.push(Action::KeepAlive(who));
            }
            if client.token.is_some_and(|token| token != world.resource) {
                actions.push(Action::Write(who));
            }
        }
        if world.t_ms < STEPS_MAX * STEP_MS {
            actions.push(Action::Time);
        }
        if world.term == 1 && world.t_ms > 0 {
            actions.push(Action::NewTerm);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Acquire(who) | Action::Release(who) | Action::Repeat(who) => {
                let client = world.clients.get_mut(who)?;
                if action != Action::Repeat(who) {
                    client.seq += 1;
                }
                let (session, seq) = (client.session, client.seq);
                // It stops believing before it tells; one who only waits withdraws.
                let command = match (seq % 2, client.token.take_if(|_| seq % 2 == 0)) {
                    (1, _) => acquire(),
                    (_, Some(_)) => release(),
                    (_, None) => {
                        Command::Cancel { target: RequestKey::Session { session, seq: seq - 1 } }
                    }
                };
                let key = RequestKey::Session { session, seq };
                let first_outstanding = (seq - 1).max(1);
                world.apply(vec![], vec![Request { key, first_outstanding, command }]);
            }
            Action::KeepAlive(who) => {
                let session = world.clients.get(who)?.session;
                let sent = world.t_ms;
                let answer = world.apply(vec![session], vec![]).keep_alives;
                let client = world.clients.get_mut(who)?;
                match answer.first()? {
                    Some(left) => client.lease_until_ms = sent + left,
                    None => client.token = None,
                }
            }
            Action::Time => {
                world.t_ms += STEP_MS;
                let sessions = world.machine.0.counts().sessions;
                world.apply(vec![], vec![]);
                world.expired |= world.machine.0.counts().sessions < sessions;
            }
            Action::NewTerm => {
                world.term += 1;
                world.apply(vec![], vec![]);
            }
            Action::Write(who) => {
                let token = world.clients.get(who)?.token?;
                if token < world.resource {
                    return None; // refused
                }
                // Accepted: whoever holds now has no smaller token.
                let held =
                    world.machine.0.get("x").and_then(|v| v.holders.first().map(|h| h.token));
                if held.is_some_and(|held| held < token) {
                    world.broken = Some("tokens increase");
                }
                world.resource = token;
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("safe", |_, world| world.broken.is_none()),
            Property::<Self>::sometimes("a ticket is granted", |_, world| world.handed_on),
            Property::<Self>::sometimes("a session expires", |_, world| world.expired),
            Property::<Self>::sometimes("a request is repeated", |_, world| world.repeated),
            Property::<Self>::sometimes("all wait or hold", |_, world| {
                world.machine.0.get("x").is_some_and(|v| v.holders.len() + v.waiters.len() == 3)
            }),
            Property::<Self>::sometimes("the resource refuses the past", |_, world| {
                world.clients.iter().any(|c| c.token.is_some_and(|t| t < world.resource))
            }),
        ]
    }
}

#[test]
fn three_clients_are_safe_in_every_order() {
    let checker = Locks.checker().threads(2).target_max_depth(DEPTH).spawn_bfs().join();
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "the model is too small to say anything");
}
