//! Sessions and guards of the client library, over real sockets and a small lock service.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dsd::server::Limits;
use dsync::lock::{Acquire, LockError, Mode, Session, SessionOptions};
use dsync::net::{Net, Network, TcpNetwork};
use dsync::{Client, ClientConfig};
use dsync_core::lock::{Command, RequestKey};
use dsync_tests::wire::{Locks, Service, Shifted, TestServer, net};

const LONG: Duration = Duration::from_secs(60);

async fn serve(locks: &Locks, address: &str) -> TestServer {
    let listener = TcpNetwork.listen(address).await.unwrap();
    let service = Service::new("node-1", address);
    TestServer::serving(listener, Limits::default(), service, locks.clone())
}

async fn start() -> (Locks, TestServer, Client) {
    let locks = Locks::default();
    let server = serve(&locks, "127.0.0.1:0").await;
    let client = client_of(&server.address, net());
    (locks, server, client)
}

fn client_of(address: &str, net: Net) -> Client {
    let endpoints = vec![address.to_owned()];
    let (connect_timeout, name) = (Duration::from_secs(5), "test".to_owned());
    Client::new(ClientConfig { endpoints, connect_timeout, name }, net)
}

async fn open(client: &Client, owner: &str) -> Session {
    Session::open(client, SessionOptions::new(owner)).await.unwrap()
}

fn exclusive() -> Acquire {
    Acquire::exclusive().wait(LONG)
}

#[tokio::test]
async fn a_lock_is_taken_and_given_back() {
    let (locks, _server, client) = start().await;
    let session = open(&client, "a").await;
    let guard = session.acquire("x", &exclusive()).await.unwrap();
    assert!(guard.is_valid() && guard.token().0 > 0 && guard.name().as_str() == "x");
    let holder = session.validate("x", guard.token()).await.unwrap().unwrap();
    assert_eq!(holder.owner.as_str(), "a");
    let other = open(&client, "b").await;
    assert!(other.try_acquire("x", &exclusive()).await.unwrap().is_none());
    guard.release().await.unwrap();
    let guard = other.try_acquire("x", &exclusive()).await.unwrap().unwrap();
    drop(guard);
    locks.until(|locks| locks.held().is_empty()).await;
    session.close().await.unwrap();
    assert!(locks.sessions() == 1 && other.is_valid());
    drop(other);
    locks.until(|locks| locks.sessions() == 0).await;
}

#[tokio::test]
async fn a_waiter_is_granted_and_sharers_share() {
    let (locks, _server, client) = start().await;
    let (a, b) = (open(&client, "a").await, open(&client, "b").await);
    let guard = a.acquire("x", &exclusive()).await.unwrap();
    let waiter = {
        let b = b.clone();
        tokio::spawn(async move { b.acquire("x", &exclusive()).await })
    };
    locks.until(|locks| locks.waiting() == 1).await;
    let first = guard.token();
    guard.release().await.unwrap();
    let second = waiter.await.unwrap().unwrap();
    assert!(second.token() > first);
    second.release().await.unwrap();
    let mut one = a.acquire("x", &Acquire::shared()).await.unwrap();
    let two = b.acquire("x", &Acquire::shared()).await.unwrap();
    let token = one.token();
    let (upgraded, ()) = tokio::join!(one.convert(Mode::Exclusive, LONG), async {
        locks.until(|locks| locks.waiting() == 1).await;
        two.release().await.unwrap();
    });
    upgraded.unwrap();
    assert!(one.mode() == Mode::Exclusive && one.token() > token);
    one.release().await.unwrap();
    let group = [("x", Mode::Exclusive), ("y", Mode::Shared)];
    let guards = a.acquire_many(&group, &exclusive()).await.unwrap();
    assert_eq!(guards.len(), 2);
    drop(guards);
    locks.until(|locks| locks.held().is_empty()).await;
}

#[tokio::test]
async fn dropping_a_waiting_future_withdraws_the_request() {
    let (locks, _server, client) = start().await;
    let (a, b) = (open(&client, "a").await, open(&client, "b").await);
    let guard = a.acquire("x", &exclusive()).await.unwrap();
    let waiter = {
        let b = b.clone();
        tokio::spawn(async move { b.acquire("x", &exclusive()).await })
    };
    locks.until(|locks| locks.waiting() == 1).await;
    waiter.abort();
    locks.until(|locks| locks.waiting() == 0).await;
    assert!(guard.session_holds(&locks) == 1 && b.is_valid());
}

/// Granted just when the future is dropped, and another request is faster than the withdrawal.
#[tokio::test]
async fn what_was_granted_to_a_dropped_future_is_given_back() {
    let (locks, _server, client) = start().await;
    let (a, b) = (open(&client, "a").await, open(&client, "b").await);
    let guard = a.acquire("x", &exclusive()).await.unwrap();
    let other = b.acquire("y", &exclusive()).await.unwrap();
    let how = exclusive();
    let mut waiting = Box::pin(b.acquire("x", &how));
    tokio::select! {
        decided = &mut waiting => panic!("granted to two: {decided:?}"),
        () = locks.until(|locks| locks.waiting() == 1) => {}
    }
    guard.release().await.unwrap();
    locks.until(|locks| locks.held() == ["y", "x"]).await;
    drop(waiting);
    other.release().await.unwrap();
    locks.until(|locks| locks.held().is_empty()).await;
    // The numbers of both are given up once the withdrawal is answered.
    b.acquire("z", &exclusive()).await.unwrap().release().await.unwrap();
    let last = locks.log().pop().unwrap();
    let RequestKey::Session { seq, .. } = last.key else { panic!("not a session's request") };
    assert_eq!(last.first_outstanding, seq);
}

/// The cluster refuses an owner that waits for two things: the first is withdrawn before the second
/// is asked for.
#[tokio::test]
async fn the_next_request_comes_after_the_withdrawal() {
    let (locks, _server, client) = start().await;
    let (a, b) = (open(&client, "a").await, open(&client, "b").await);
    let guard = a.acquire("x", &exclusive()).await.unwrap();
    let how = exclusive();
    tokio::select! {
        decided = b.acquire("x", &how) => panic!("granted to two: {decided:?}"),
        () = locks.until(|locks| locks.waiting() == 1) => {}
    }
    b.acquire("y", &exclusive()).await.unwrap();
    let cancelled = |command: &Command| matches!(command, Command::Cancel { .. });
    let log = locks.log();
    let [.., withdrawal, next] = log.as_slice() else { panic!("{log:?}") };
    assert!(cancelled(&withdrawal.command) && !cancelled(&next.command), "{log:?}");
    assert!(guard.is_valid() && locks.waiting() == 0);
}

trait Holds {
    fn session_holds(&self, locks: &Locks) -> usize;
}

impl Holds for dsync::lock::LockGuard {
    fn session_holds(&self, locks: &Locks) -> usize {
        locks.held().iter().filter(|held| *held == self.name().as_str()).count()
    }
}

/// The node goes away while someone waits and comes back: the place in the queue is kept.
#[tokio::test]
async fn a_waiter_outlives_its_connection() {
    let (locks, server, client) = start().await;
    let address = server.address.clone();
    let (a, b) = (open(&client, "a").await, open(&client, "b").await);
    let guard = a.acquire("x", &exclusive()).await.unwrap();
    let waiter = tokio::spawn(async move { b.acquire("x", &exclusive()).await.map(|g| (g, b)) });
    locks.until(|locks| locks.waiting() == 1).await;
    drop(server);
    let server = loop {
        match TcpNetwork.listen(&address).await {
            Ok(listener) => {
                let service = Service::new("node-1", &address);
                break TestServer::serving(listener, Limits::default(), service, locks.clone());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    guard.release().await.unwrap();
    let (guard, _b) = tokio::time::timeout(LONG, waiter).await.unwrap().unwrap().unwrap();
    assert_eq!(guard.session_holds(&locks), 1);
    let acquires =
        locks.log().iter().filter(|r| matches!(r.command, Command::Acquire { .. })).count();
    assert_eq!(acquires, 2, "the request was logged once");
    drop(server);
}

#[tokio::test]
async fn a_lost_reply_is_repeated_with_the_same_number() {
    let (locks, _server, client) = start().await;
    let session = open(&client, "a").await;
    locks.lose_replies(1);
    let guard = session.acquire("x", &exclusive()).await.unwrap();
    assert!(session.validate("x", guard.token()).await.unwrap().is_some());
    locks.lose_replies(1);
    guard.release().await.unwrap();
    assert_eq!(locks.repeated(), 2);
    assert!(locks.held().is_empty());
}

#[tokio::test]
async fn numbers_rise_and_open_ones_are_not_given_up() {
    let (locks, _server, client) = start().await;
    let session = open(&client, "a").await;
    for _ in 0..3 {
        session.acquire("x", &exclusive()).await.unwrap().release().await.unwrap();
    }
    let log = locks.log();
    let numbers: Vec<_> = log
        .iter()
        .filter_map(|request| match request.key {
            RequestKey::Session { seq, .. } => Some((seq, request.first_outstanding)),
            RequestKey::Detached(_) => None,
        })
        .collect();
    assert_eq!(numbers, [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
}

#[tokio::test]
async fn keep_alives_keep_a_session_alive() {
    let (locks, _server, client) = start().await;
    let options = SessionOptions::new("a").ttl(Duration::from_millis(1_500));
    let session = Session::open(&client, options).await.unwrap();
    let first = session.deadline();
    locks.until(|locks| locks.keep_alives() >= 4).await;
    assert!(session.is_valid() && session.deadline() > first);
}

#[tokio::test]
async fn an_expired_session_says_so() {
    let (locks, _server, client) = start().await;
    let options = SessionOptions::new("a").ttl(Duration::from_millis(1_500));
    let session = Session::open(&client, options).await.unwrap();
    let guard = session.acquire("x", &exclusive()).await.unwrap();
    locks.expire_all();
    tokio::time::timeout(LONG, session.lost()).await.unwrap();
    assert!(!session.is_valid() && !guard.is_valid());
    let error = session.acquire("y", &exclusive()).await.unwrap_err();
    assert_eq!(error, LockError::SessionLost);
}

/// Nothing is acknowledged any more: the session gives up before the cluster may.
#[tokio::test]
async fn a_cut_off_session_gives_up_in_time() {
    let (_locks, server, client) = start().await;
    let options = SessionOptions::new("a").ttl(Duration::from_millis(1_500));
    let session = Session::open(&client, options).await.unwrap();
    drop(server);
    tokio::time::timeout(LONG, session.lost()).await.unwrap();
    assert!(!session.is_valid());
    let deadline = session.deadline();
    assert!(TcpNetwork.boot_time() >= deadline);
}

/// The lease runs while the machine sleeps, though no timer does.
#[tokio::test]
async fn a_suspended_machine_wakes_without_its_locks() {
    let (_locks, server, _) = start().await;
    let clock = Arc::new(Shifted::default());
    let network: Net = clock.clone();
    let client = client_of(&server.address, network);
    let session = open(&client, "a").await;
    assert!(session.is_valid());
    clock.slept_ms.store(3_600_000, SeqCst);
    assert!(!session.is_valid());
    tokio::time::timeout(LONG, session.lost()).await.unwrap();
}

#[tokio::test]
async fn bad_names_are_refused_here() {
    let (locks, _server, client) = start().await;
    assert!(Session::open(&client, SessionOptions::new("a\nb")).await.is_err());
    let session = open(&client, "a").await;
    for bad in ["", "a\0", &"x".repeat(256)] {
        let error = session.acquire(bad, &exclusive()).await.unwrap_err();
        assert!(matches!(error, LockError::Fault(_)), "{error}");
    }
    assert_eq!(locks.log().len(), 1);
}
