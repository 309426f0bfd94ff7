//! Limits, growth, and input that no client of ours would send.

use proptest::prelude::*;

use crate::api::lock::{
    At, Batch, Command, DAY_MS, GRANTS_MAX, LockMachine, META_MAX, Mode, Outcome, Policy, Request,
    RequestKey, SESSIONS_MAX, SessionId, Settings, Token, WAITERS_MAX, Want, check,
};
use crate::api::{Code, Fault};
use crate::support::history::name;

/// A machine and the next log index.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) machine: LockMachine,
    index: u64,
    t_ms: u64,
}

impl Node {
    pub(crate) fn ask(&mut self, key: RequestKey, command: Command) -> Outcome {
        self.index += 1;
        let first_outstanding = match key {
            RequestKey::Session { seq, .. } => seq,
            RequestKey::Detached(_) => 0,
        };
        let request = Request { key, first_outstanding, command };
        let batch = Batch { requests: vec![request], ..Batch::default() };
        let at = At { index: self.index, term: 1, t_ms: self.t_ms };
        self.machine.apply(at, &batch).outcomes.remove(0)
    }

    fn open(&mut self, number: u128) -> SessionId {
        self.open_with(number, String::new())
    }

    pub(crate) fn open_with(&mut self, number: u128, meta: String) -> SessionId {
        let key = RequestKey::Detached(number);
        let owner = name("o");
        let command = Command::OpenSession { ttl_ms: 15_000, owner, meta, ephemeral: false };
        match self.ask(key, command) {
            Outcome::SessionOpened { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }
}

fn acquire(lock: &str, owner: &str, wait_ms: u64) -> Command {
    Command::Acquire {
        wants: vec![Want { lock: name(lock), mode: Mode::Exclusive }],
        owner: name(owner),
        wait_ms,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    }
}

pub(crate) fn key(session: SessionId, seq: u64) -> RequestKey {
    RequestKey::Session { session, seq }
}

#[test]
fn detached_keys_are_forgotten_in_cluster_time() {
    let mut node = Node::default();
    for number in 0..5_000 {
        node.t_ms += 1_000;
        let command = Command::Renew { lock: name("x"), token: Token(1), ttl_ms: None };
        node.ask(RequestKey::Detached(number), command);
    }
    assert_eq!(node.machine.counts().remembered, 600, "ten minutes of them");
}

#[test]
fn a_queue_a_session_and_the_sessions_are_limited() {
    let mut node = Node::default();
    let holder = node.open(0);
    node.ask(key(holder, 1), acquire("x", "o", 0));
    for (seq, n) in (2..).zip(0..WAITERS_MAX) {
        let waits = node.ask(key(holder, seq), acquire("x", &format!("w{n}"), 1_000));
        assert!(matches!(waits, Outcome::Queued { .. }), "{waits:?}");
    }
    let full = node.ask(key(holder, 5_000), acquire("x", "late", 1_000));
    assert!(matches!(&full, Outcome::LimitReached(text) if text.contains("1024")), "{full:?}");

    let many = node.open(1);
    for (seq, n) in (1..).zip(0..GRANTS_MAX) {
        let granted = node.ask(key(many, seq), acquire(&format!("y{n}"), "o", 0));
        assert!(matches!(granted, Outcome::Granted(_)), "{granted:?}");
    }
    let full = node.ask(key(many, 20_000), acquire("z", "o", 0));
    assert!(matches!(&full, Outcome::LimitReached(text) if text.contains("10000")), "{full:?}");
    let again = node.ask(key(many, 20_001), acquire("y7", "o", 0));
    assert!(matches!(again, Outcome::Granted(_)), "entering again is no new grant: {again:?}");

    for (nonce, _) in (2..).zip(2..SESSIONS_MAX) {
        node.open(nonce);
    }
    let (owner, meta) = (name("o"), String::new());
    let command = Command::OpenSession { ttl_ms: 15_000, owner, meta, ephemeral: false };
    let full = node.ask(RequestKey::Detached(1 << 90), command);
    assert!(matches!(&full, Outcome::LimitReached(text) if text.contains("100000")), "{full:?}");
}

/// The request as the leader checks it.
fn checked(key: RequestKey, command: Command) -> Result<(), Fault> {
    check(&Request { key, first_outstanding: 0, command })
}

#[test]
fn the_check_names_the_value_and_the_fix() {
    let own = key(SessionId(1), 1);
    let group = |n: usize| Command::Acquire {
        wants: (0..n)
            .map(|n| Want { lock: name(&format!("l{n}")), mode: Mode::Exclusive })
            .collect(),
        owner: name("o"),
        wait_ms: 0,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    };
    let pool = |take, of| Command::Acquire {
        wants: vec![Want { lock: name("pool"), mode: Mode::Permits { take, of } }],
        owner: name("o"),
        wait_ms: 0,
        policy: Policy::Detect,
        age: 0,
        max_hold_ms: 0,
    };
    let open = |ttl_ms, meta: usize| Command::OpenSession {
        ttl_ms,
        owner: name("o"),
        meta: "x".repeat(meta),
        ephemeral: false,
    };
    let detached = RequestKey::Detached(1);
    for good in [group(1), group(64), pool(3, 3), acquire("x", "o", DAY_MS)] {
        assert_eq!(checked(own, good), Ok(()));
    }
    assert_eq!(checked(detached, open(DAY_MS, META_MAX)), Ok(()));
    for (key, bad, code, value) in [
        (own, group(0), Code::InvalidArgument, "no lock"),
        (own, group(65), Code::LimitReached, "65 locks"),
        (own, pool(0, 3), Code::InvalidArgument, "0 of 3"),
        (own, pool(4, 3), Code::InvalidArgument, "4 of 3"),
        (own, acquire("x", "o", DAY_MS + 1), Code::InvalidArgument, "86400001"),
        (detached, open(0, 0), Code::InvalidArgument, "a lease of 0 ms"),
        (detached, open(u64::MAX, 0), Code::InvalidArgument, "18446744073709551615"),
        (detached, open(15_000, META_MAX + 1), Code::LimitReached, "4097 bytes"),
        (detached, group(1), Code::InvalidArgument, "detached key"),
    ] {
        let fault = checked(key, bad).unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.message.contains(value), "{fault}: does not name {value}");
        assert!(fault.hint.is_some_and(|hint| !hint.is_empty()), "{}", fault.message);
    }
}

fn any_command() -> impl Strategy<Value = Command> {
    let lock = || prop::sample::select(vec![name("a"), name("b")]);
    let mode = || {
        prop_oneof![
            Just(Mode::Exclusive),
            Just(Mode::Shared),
            (any::<u32>(), any::<u32>()).prop_map(|(take, of)| Mode::Permits { take, of }),
            (0..4_u32, 0..4_u32).prop_map(|(take, of)| Mode::Permits { take, of }),
        ]
    };
    let number = || prop_oneof![0..5_u64, any::<u64>(), Just(u64::MAX)];
    let wants = prop::collection::vec((lock(), mode()), 0..4)
        .prop_map(|wants| wants.into_iter().map(|(lock, mode)| Want { lock, mode }).collect());
    let policy = prop::sample::select(vec![Policy::Detect, Policy::WoundWait, Policy::WaitDie]);
    prop_oneof![
        (number(), any::<bool>()).prop_map(|(ttl_ms, ephemeral)| Command::OpenSession {
            ttl_ms: if ttl_ms < 5 { 1_000 + ttl_ms } else { ttl_ms },
            owner: name("o"),
            meta: String::new(),
            ephemeral
        }),
        Just(Command::CloseSession),
        (wants, lock(), number(), policy, number(), number()).prop_map(
            |(wants, owner, wait_ms, policy, age, max_hold_ms)| Command::Acquire {
                wants,
                owner,
                wait_ms,
                policy,
                age,
                max_hold_ms
            }
        ),
        any_key().prop_map(|target| Command::Cancel { target }),
        (lock(), prop::option::of(number()), prop::option::of(lock()), any::<bool>()).prop_map(
            |(lock, token, owner, all)| Command::Release {
                lock,
                token: token.map(Token),
                owner,
                all
            }
        ),
        (lock(), number(), mode(), number()).prop_map(|(lock, token, to, wait_ms)| {
            Command::Convert { lock, token: Token(token), to, wait_ms }
        }),
    ]
}

fn any_key() -> impl Strategy<Value = RequestKey> {
    prop_oneof![
        (0..4_u64, prop_oneof![0..6_u64, Just(u64::MAX)])
            .prop_map(|(session, seq)| RequestKey::Session { session: SessionId(session), seq }),
        (0..4_u128).prop_map(RequestKey::Detached),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the log says, the machine neither panics nor disagrees with its own snapshot.
    #[test]
    fn nothing_makes_it_panic(entries in prop::collection::vec(
        (any_key(), prop_oneof![5 => Just(0), 1 => 0..3_u64], any_command(), any::<u64>(), prop_oneof![0..4_u64, any::<u64>()],
         prop_oneof![20 => 0..9_000_u64, 1 => any::<u64>()]),
        1..40,
    )) {
        let mut node = Node::default();
        (1..4).for_each(|nonce| { node.open(1 << (100 + nonce)); });
        for (key, first_outstanding, command, index, term, t_ms) in entries {
            let request = Request { key, first_outstanding, command };
            let settings = Settings { lock_delay_ms: t_ms % 5_000, ..Settings::default() };
            let keep_alives = vec![SessionId(index % 4)];
            let batch = Batch { settings, keep_alives, requests: vec![request] };
            let machine = &mut node.machine;
            machine.apply(At { index: index % 16, term, t_ms }, &batch);
            let restored = LockMachine::restore(machine.snapshot()).unwrap();
            prop_assert_eq!(postcard::to_stdvec(&restored.snapshot_ref()).unwrap(),
                postcard::to_stdvec(&machine.snapshot()).unwrap());
            let restored = &restored;
            prop_assert_eq!(restored, &*machine);
        }
    }
}
