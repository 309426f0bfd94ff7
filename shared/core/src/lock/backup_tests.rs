//! Backups restored: nobody loses a lease, and nobody gets what another still uses.

use super::*;
use crate::lock::{
    At, Batch, Command, Outcome, Policy, REMEMBER_MS, Request, RequestKey, Settings, Want,
};

const TTL: u64 = 15_000;

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

/// A machine that starts at a cluster time.
struct Cluster {
    machine: LockMachine,
    index: u64,
    t_ms: u64,
}

impl Cluster {
    fn at(t_ms: u64) -> Self {
        Self { machine: LockMachine::new(), index: 0, t_ms }
    }

    fn apply(&mut self, requests: Vec<Request>) -> Vec<Outcome> {
        self.index += 1;
        let at = At { index: self.index, term: 1, t_ms: self.t_ms };
        let settings = Settings { new_term_grace_ms: 0, ..Settings::default() };
        self.machine.apply(at, &Batch { settings, requests, ..Batch::default() }).outcomes
    }

    fn request(&mut self, key: RequestKey, command: Command) -> Outcome {
        self.apply(vec![Request { key, first_outstanding: 0, command }]).remove(0)
    }

    fn open(&mut self, key: u128) -> SessionId {
        let owner = name("o");
        let open =
            Command::OpenSession { ttl_ms: TTL, owner, meta: String::new(), ephemeral: false };
        let opened = self.request(RequestKey::Detached(key), open);
        let Outcome::SessionOpened { session, .. } = opened else { panic!("{opened:?}") };
        session
    }

    fn acquire(
        &mut self,
        (session, seq): (SessionId, u64),
        lock: &str,
        mode: Mode,
        (wait_ms, max_hold_ms): (u64, u64),
    ) -> Outcome {
        let acquire = Command::Acquire {
            wants: vec![Want { lock: name(lock), mode }],
            owner: name(&format!("w{seq}")),
            wait_ms,
            policy: Policy::Detect,
            age: 0,
            max_hold_ms,
        };
        self.request(RequestKey::Session { session, seq }, acquire)
    }

    fn take(&mut self, who: (SessionId, u64), lock: &str, mode: Mode) -> Outcome {
        self.acquire(who, lock, mode, (0, 0))
    }

    /// Restores a backup; checks that the state can be and is canonical.
    fn restore(&mut self, backup: Snapshot) {
        let restored = backup.restored_from_backup(&self.machine).unwrap();
        self.machine = LockMachine::restore(restored.clone()).unwrap();
        assert_eq!(self.machine.snapshot(), restored, "canonical");
        self.index = 0;
    }

    fn pause(&mut self, ms: u64) {
        self.t_ms += ms;
        self.apply(Vec::new());
    }
}

#[test]
fn a_lock_taken_after_the_backup_is_free_only_when_its_lease_is_over() {
    let mut cluster = Cluster::at(0);
    cluster.open(1);
    let backup = cluster.machine.snapshot();
    let late = cluster.open(2);
    assert!(matches!(cluster.take((late, 1), "x", Mode::Exclusive), Outcome::Granted(_)));
    cluster.pause(5_000);
    cluster.restore(backup);

    let other = cluster.open(3);
    let refused = cluster.take((other, 1), "x", Mode::Exclusive);
    let Outcome::WouldBlock { delay: Some(delay), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(delay.remaining_ms, TTL - 5_000);
    assert_eq!(delay.reason, "held by w1 when a backup was restored");
    cluster.pause(TTL - 5_001);
    assert!(matches!(cluster.take((other, 2), "x", Mode::Exclusive), Outcome::WouldBlock { .. }));
    cluster.pause(1);
    assert!(matches!(cluster.take((other, 3), "x", Mode::Exclusive), Outcome::Granted(_)));
}

#[test]
fn a_lease_about_to_end_and_a_delay_that_runs_keep_others_out_too() {
    let mut cluster = Cluster::at(0);
    let backup = cluster.machine.snapshot();
    let (first, second) = (cluster.open(1), cluster.open(2));
    cluster.take((first, 1), "x", Mode::Shared);
    cluster.acquire((second, 1), "y", Mode::Exclusive, (0, TTL - 1));
    cluster.pause(TTL - 1);
    cluster.restore(backup);
    let left = |lock: &str| cluster.machine.get(lock).unwrap().delay.unwrap().remaining_ms;
    assert_eq!((left("x"), left("y")), (DEFAULT_LOCK_DELAY_MS, DEFAULT_LOCK_DELAY_MS));
    let other = cluster.open(3);
    assert!(matches!(cluster.take((other, 1), "x", Mode::Shared), Outcome::Granted(_)));
    assert!(matches!(cluster.take((other, 2), "y", Mode::Shared), Outcome::WouldBlock { .. }));
    cluster.pause(DEFAULT_LOCK_DELAY_MS);
    assert!(matches!(cluster.take((other, 3), "y", Mode::Shared), Outcome::Granted(_)));
}

/// A holder with a longest hold, one who waits for it, and 9 s of their lease gone.
fn with_waiter(t_ms: u64) -> (Cluster, SessionId) {
    let mut cluster = Cluster::at(t_ms);
    let session = cluster.open(1);
    cluster.acquire((session, 1), "x", Mode::Exclusive, (0, 20_000));
    cluster.pause(9_000);
    cluster.acquire((session, 2), "x", Mode::Exclusive, (30_000, 0));
    (cluster, session)
}

#[test]
fn sessions_of_an_older_or_newer_backup_have_a_full_lease_on_the_running_time() {
    for (backed_up_at, runs_at) in [(0, 5_000_000), (5_000_000, 40), (700, 700)] {
        let (source, session) = with_waiter(backed_up_at);
        let mut cluster = Cluster::at(runs_at);
        cluster.pause(0);
        cluster.restore(source.machine.snapshot());
        assert_eq!(cluster.machine.now_ms(), runs_at);
        // The last entry before the restore may be long ago.
        cluster.pause(2 * REMEMBER_MS);
        assert_eq!(cluster.machine.now_ms(), runs_at + 2 * REMEMBER_MS);
        let view = cluster.machine.sessions(SessionId(0), 9).0.remove(0);
        assert_eq!((view.session, view.expires_in_ms), (session, TTL));
        let lock = cluster.machine.get("x").unwrap();
        assert_eq!((lock.holders[0].expires_in_ms, lock.waiters.len()), (11_000, 1));
        cluster.pause(11_000);
        assert!(cluster.machine.get("x").unwrap().holders.is_empty(), "held longest");
        cluster.pause(3_999);
        assert_eq!(cluster.machine.counts().sessions, 1);
        cluster.pause(1);
        assert_eq!(cluster.machine.counts().sessions, 0);
    }
}

#[test]
fn a_holder_of_the_backup_goes_on_without_a_delay() {
    let (mut cluster, session) = with_waiter(0);
    let backup = cluster.machine.snapshot();
    cluster.restore(backup);
    let lock = cluster.machine.get("x").unwrap();
    assert_eq!((lock.holders.len(), lock.delay), (1, None));
    let release = Command::Release {
        lock: name("x"),
        token: Some(lock.holders[0].token),
        owner: None,
        all: true,
    };
    cluster.request(RequestKey::Session { session, seq: 9 }, release);
    assert_eq!(cluster.machine.get("x").unwrap().holders[0].owner, name("w2"));
}

#[test]
fn equal_tokens_and_other_permits_of_another_cluster_do_not_mix() {
    let mut source = Cluster::at(0);
    let theirs = source.open(1);
    source.take((theirs, 1), "x", Mode::Permits { take: 1, of: 3 });
    let mut cluster = Cluster::at(0);
    let ours = cluster.open(1);
    cluster.take((ours, 2), "x", Mode::Permits { take: 1, of: 5 });
    cluster.restore(source.machine.snapshot());

    let more = Mode::Permits { take: 1, of: 3 };
    assert!(matches!(cluster.take((theirs, 5), "x", more), Outcome::WouldBlock { .. }));
    cluster.pause(TTL);
    cluster.pause(DEFAULT_LOCK_DELAY_MS);
    assert_eq!(cluster.machine.get("x"), None, "nothing is left of a free lock");
}
