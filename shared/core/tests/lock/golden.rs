//! Golden bytes: what is on disk and on the wire keeps its form. The list may only grow at its
//! end, and each variant of an enum keeps its number.

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::lock::{
    Batch, Command, CycleStep, Delay, Event, EventKind, Grant, Holder, LockView, Lookup, Mode,
    Outcome, Policy, Request, RequestKey, SessionId, SessionView, Settings, Snapshot, Token,
    Waiter, Want,
};
use crate::script::Script;
use crate::support::history::name;

const SESSION: SessionId = SessionId(300);

fn want(mode: Mode) -> Want {
    Want { lock: name("lock"), mode }
}

fn grant() -> Grant {
    Grant { lock: name("lock"), mode: Mode::Shared, token: Token(7), count: 2 }
}

fn holder() -> Holder {
    let (owner, mode, token) = (name("owner"), Mode::Exclusive, Token(7));
    Holder { owner, session: SESSION, mode, token, count: 1, expires_in_ms: 15_000 }
}

fn step() -> CycleStep {
    let (waiter, lock, holder) = (name("a"), name("lock"), name("b"));
    CycleStep { waiter, session: SESSION, lock, holder }
}

fn delay() -> Delay {
    Delay { remaining_ms: 900, reason: "why".to_owned() }
}

fn commands() -> Vec<Command> {
    let lock = || name("lock");
    vec![
        Command::OpenSession {
            ttl_ms: 15_000,
            owner: name("ci"),
            meta: "m".to_owned(),
            ephemeral: true,
        },
        Command::CloseSession,
        Command::Acquire {
            wants: vec![
                want(Mode::Exclusive),
                want(Mode::Shared),
                want(Mode::Permits { take: 1, of: 3 }),
            ],
            owner: name("o"),
            wait_ms: 5_000,
            policy: Policy::WoundWait,
            age: 9,
            max_hold_ms: 10,
        },
        Command::Cancel { target: RequestKey::Session { session: SESSION, seq: 4 } },
        Command::Release { lock: lock(), token: Some(Token(7)), owner: None, all: false },
        Command::Renew { lock: lock(), token: Token(7), ttl_ms: Some(2_000) },
        Command::Convert { lock: lock(), token: Token(7), to: Mode::Shared, wait_ms: 1 },
        Command::ForceRelease {
            lock: lock(),
            token: Token(7),
            actor: name("root"),
            reason: "r".to_owned(),
        },
    ]
}

fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::SessionOpened { session: SESSION, ttl_ms: 15_000 },
        Outcome::SessionClosed,
        Outcome::Granted(vec![grant()]),
        Outcome::Queued { position: 2, blockers: vec![holder()] },
        Outcome::WouldBlock { holders: vec![holder()], delay: Some(delay()) },
        Outcome::Timeout,
        Outcome::Deadlock(vec![step()]),
        Outcome::Wounded { lock: name("lock"), by: name("old") },
        Outcome::Cancelled,
        Outcome::Released { token: Token(7), remaining: 1 },
        Outcome::Renewed { expires_in_ms: 15_000, session: SESSION },
        Outcome::Converted(grant()),
        Outcome::SessionExpired,
        Outcome::NotHolder { current: vec![holder()] },
        Outcome::LimitReached("l".to_owned()),
        Outcome::StaleSeq,
        Outcome::Invalid("i".to_owned()),
    ]
}

fn events() -> Vec<EventKind> {
    let lock = || name("lock");
    vec![
        EventKind::Granted { grant: grant(), owner: name("o"), session: SESSION },
        EventKind::Released {
            lock: lock(),
            token: Token(7),
            owner: name("o"),
            why: "w".to_owned(),
        },
        EventKind::Revoke {
            lock: lock(),
            token: Token(7),
            session: SESSION,
            by: name("old"),
            grace_ms: 2_000,
        },
        EventKind::SessionExpired { session: SESSION, owner: name("o") },
        EventKind::Deadlock(vec![step()]),
    ]
}

fn views() -> (LockView, SessionView) {
    let waiter = Waiter {
        owner: name("w"),
        session: SESSION,
        mode: Mode::Exclusive,
        position: 1,
        waiting_ms: 5,
        group: vec![name("other")],
        upgrade: false,
    };
    let lock = LockView {
        name: name("lock"),
        mode: Some(Mode::Exclusive),
        holders: vec![holder()],
        waiters: vec![waiter],
        delay: Some(delay()),
        more_holders: 3,
        more_waiters: 4,
    };
    let session = SessionView {
        session: SESSION,
        owner: name("o"),
        meta: "m".to_owned(),
        ttl_ms: 15_000,
        expires_in_ms: 14_000,
        grants: 1,
        tickets: 2,
    };
    (lock, session)
}

/// Adds a line, and sees that the bytes read back as what was written.
fn add<T>(out: &mut String, what: &str, value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(postcard::from_bytes::<T>(&bytes).unwrap(), *value);
    let shown = format!("{value:?}");
    let variant = shown.split([' ', '(', '{']).next().unwrap();
    write!(out, "{what} {variant} ").unwrap();
    for byte in bytes {
        write!(out, "{byte:02x}").unwrap();
    }
    out.push('\n');
}

fn all() -> String {
    let mut out = String::new();
    for command in commands() {
        add(&mut out, "command", &command);
    }
    for outcome in outcomes() {
        add(&mut out, "outcome", &outcome);
    }
    for kind in events() {
        add(&mut out, "event", &kind);
    }
    for policy in [Policy::Detect, Policy::WoundWait, Policy::WaitDie] {
        add(&mut out, "policy", &policy);
    }
    for key in [RequestKey::Session { session: SESSION, seq: 4 }, RequestKey::Detached(1 << 100)] {
        add(&mut out, "key", &key);
    }
    let lookups =
        [Lookup::Pending { position: 3 }, Lookup::Done(Outcome::Timeout), Lookup::Unknown];
    for lookup in lookups {
        add(&mut out, "lookup", &lookup);
    }
    add(&mut out, "settings", &Settings::default());
    add(&mut out, "event", &Event { index: 1, at_ms: 2, kind: events().remove(3) });
    let (lock, session) = views();
    add(&mut out, "view", &lock);
    add(&mut out, "view", &session);
    let key = RequestKey::Detached(5);
    let request = Request { key, first_outstanding: 0, command: Command::CloseSession };
    let keep_alives = vec![SESSION];
    let settings = Settings::default();
    add(&mut out, "batch", &Batch { settings, keep_alives, requests: vec![request] });
    add(&mut out, "snapshot", &snapshot());
    out
}

/// A state with something of everything that a snapshot holds.
fn snapshot() -> Snapshot {
    let mut script = Script::new();
    script.replay(
        "settings wound_grace=2000\n\
         d1 open a ttl=5000 meta=m\n\
         d2 open b ttl=60000 ephemeral\n\
         2.1 acquire x hold=9000\n\
         1.1 acquire x wait=10000 policy=wound-wait\n\
         2.2 acquire y:shared owner=t1\n\
         2.3 acquire y:shared owner=t2\n\
         2.4 convert y token=2 to=exclusive wait=5000\n\
         2.5/2 acquire y:shared,pool:1/3 owner=t2\n\
         2.6 acquire pool:1/3,x owner=t2 wait=5000\n\
         2.7 acquire z owner=t3\n\
         d3 force z token=5 reason=why\n\
         ---\n",
    );
    script.snapshot()
}

#[test]
fn bytes_on_disk_and_on_the_wire_stay() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lock/golden.txt");
    let now = all();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &now).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap();
    for (line, (was, is)) in golden.lines().zip(now.lines()).enumerate() {
        assert_eq!(is, was, "golden.txt:{}: nodes could not read each other", line + 1);
    }
    assert_eq!(golden.lines().count(), now.lines().count(), "UPDATE_GOLDEN=1 adds what is new");
}

/// A variant's number is its place in its enum. A new variant does not compile here until it has a
/// number, and then the lists above must have it too.
#[test]
fn every_variant_has_its_golden_bytes() {
    let number = |bytes: Vec<u8>| usize::from(bytes[0]);
    for (place, command) in commands().iter().enumerate() {
        assert_eq!(number(postcard::to_stdvec(command).unwrap()), place);
        assert_eq!(command_number(command), place);
    }
    for (place, outcome) in outcomes().iter().enumerate() {
        assert_eq!(number(postcard::to_stdvec(outcome).unwrap()), place);
        assert_eq!(outcome_number(outcome), place);
    }
    assert_eq!((commands().len(), outcomes().len(), events().len()), (8, 17, 5));
}

fn command_number(command: &Command) -> usize {
    match command {
        Command::OpenSession { .. } => 0,
        Command::CloseSession => 1,
        Command::Acquire { .. } => 2,
        Command::Cancel { .. } => 3,
        Command::Release { .. } => 4,
        Command::Renew { .. } => 5,
        Command::Convert { .. } => 6,
        Command::ForceRelease { .. } => 7,
    }
}

fn outcome_number(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::SessionOpened { .. } => 0,
        Outcome::SessionClosed => 1,
        Outcome::Granted(_) => 2,
        Outcome::Queued { .. } => 3,
        Outcome::WouldBlock { .. } => 4,
        Outcome::Timeout => 5,
        Outcome::Deadlock(_) => 6,
        Outcome::Wounded { .. } => 7,
        Outcome::Cancelled => 8,
        Outcome::Released { .. } => 9,
        Outcome::Renewed { .. } => 10,
        Outcome::Converted(_) => 11,
        Outcome::SessionExpired => 12,
        Outcome::NotHolder { .. } => 13,
        Outcome::LimitReached(_) => 14,
        Outcome::StaleSeq => 15,
        Outcome::Invalid(_) => 16,
    }
}
