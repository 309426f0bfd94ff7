//! One recorded session: every request is repeated under its own name until its outcome is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::{
    Command, Lookup, Mode, Outcome, Policy, Request, RequestKey, SessionId, Want,
};
use dsync_core::name::Name;
use dsync_core::{Effect, Fault};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::history::{Action, Answer, Asked, Pending, SharedHistory, Us};

/// Longest time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// A request whose outcome is unknown for so long is given up, and its session with it.
const GIVE_UP: Duration = Duration::from_secs(40);
/// Longest time to open a session.
const OPENING: Duration = Duration::from_secs(60);

/// How to ask for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Alone.
    pub exclusive: bool,
    /// Longest wait; 0: do not wait.
    pub wait_ms: u64,
}

/// A lock that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its name.
    pub lock: String,
    /// The token.
    pub token: u64,
}

/// A session with its keep-alives. Dropping it stops them, as a client that dies does.
#[derive(Debug)]
pub struct Session {
    client: Client,
    recorder: SharedHistory,
    number: u32,
    id: SessionId,
    seq: AtomicU64,
    /// Names requests: seeded, so that a simulated run can be repeated.
    random: Mutex<SmallRng>,
    keeping: JoinHandle<()>,
}

impl Session {
    /// Opens a session, trying until it is open or a minute is over. `seed` names its requests.
    pub async fn open(
        client: Client,
        recorder: SharedHistory,
        number: u32,
        ttl_ms: u64,
        seed: u64,
    ) -> Option<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        let key = RequestKey::Detached(random.random());
        let owner = name(&format!("client-{number}"));
        let meta = "recorded".to_owned();
        let command = Command::OpenSession { ttl_ms, owner, meta, ephemeral: false };
        let request = LockRequest::Do(Request { key, first_outstanding: 0, command });
        let sent = recorder.now();
        let reply = insist(&client, &request, OPENING, random.random()).await?;
        let LockReply::Outcome(Outcome::SessionOpened { session, ttl_ms }) = reply else {
            panic!("opening a session was answered by {reply:?}");
        };
        recorder.opened(number, session.0, ttl_ms, sent);
        let keep = keep_alive(client.clone(), Arc::clone(&recorder), session, ttl_ms);
        let keeping = tokio::spawn(keep);
        let (seq, random) = (AtomicU64::new(0), Mutex::new(random));
        Some(Self { client, recorder, number, id: session, seq, random, keeping })
    }

    /// Its id.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// True once the client was told that the session is over.
    pub fn is_over(&self) -> bool {
        self.keeping.is_finished()
    }

    /// Asks for a lock and waits for the outcome.
    ///
    /// # Errors
    /// When the session is of no more use: it is over, or an outcome stayed unknown.
    pub async fn acquire(&self, lock: &str, way: Way) -> Result<Option<Held>, ()> {
        let seq = self.next_seq();
        let owner = format!("client-{}/{}.{seq}", self.number, self.id.0);
        let action = Action::Acquire { exclusive: way.exclusive };
        let pending = self.recorder.called(&self.asked(seq, &owner, lock, action));
        let mode = if way.exclusive { Mode::Exclusive } else { Mode::Shared };
        let request = self.request(
            seq,
            Command::Acquire {
                wants: vec![Want { lock: name(lock), mode }],
                owner: name(&owner),
                wait_ms: way.wait_ms,
                policy: Policy::Detect,
                age: 0,
                max_hold_ms: 0,
            },
        );
        let outcome = self.decide(pending, request, way.wait_ms).await;
        let (answer, result) = match outcome {
            Some(Outcome::Granted(grants)) => {
                let token = grants.first().expect("one lock was asked for").token.0;
                (Answer::Granted(token), Ok(Some(Held { lock: lock.to_owned(), token })))
            }
            Some(Outcome::WouldBlock { holders, .. }) if !holders.is_empty() => {
                (Answer::WouldBlock, Ok(None))
            }
            Some(
                Outcome::WouldBlock { .. }
                | Outcome::Timeout
                | Outcome::Deadlock(_)
                | Outcome::Wounded { .. }
                | Outcome::Cancelled
                | Outcome::LimitReached(_),
            ) => (Answer::NotGranted, Ok(None)),
            Some(Outcome::SessionExpired) => {
                self.told_expired();
                (Answer::NotGranted, Err(()))
            }
            None => (Answer::Unknown, Err(())),
            Some(other) => panic!("an acquire was answered by {other:?}"),
        };
        self.recorder.returned(pending, answer);
        result
    }

    /// Gives a lock up.
    ///
    /// # Errors
    /// When the session is of no more use.
    pub async fn release(&self, held: &Held) -> Result<(), ()> {
        let seq = self.next_seq();
        let action = Action::Release { token: held.token };
        let owner = format!("client-{}/release.{seq}", self.number);
        let pending = self.recorder.called(&self.asked(seq, &owner, &held.lock, action));
        let token = Some(dsync_core::lock::Token(held.token));
        let command = Command::Release { lock: name(&held.lock), token, owner: None, all: true };
        let reply = self.insist(&self.request(seq, command), GIVE_UP).await;
        let (answer, result) = match reply {
            Some(LockReply::Outcome(Outcome::Released { .. })) => (Answer::Released, Ok(())),
            Some(LockReply::Outcome(Outcome::NotHolder { .. })) => (Answer::NotHolder, Err(())),
            Some(LockReply::Outcome(Outcome::SessionExpired)) => {
                self.told_expired();
                (Answer::NotHolder, Err(()))
            }
            None => (Answer::Unknown, Err(())),
            Some(other) => panic!("a release was answered by {other:?}"),
        };
        self.recorder.returned(pending, answer);
        result
    }

    /// Looks who holds a lock.
    pub async fn get(&self, lock: &str) {
        let asked = self.asked(self.next_seq(), "reader", lock, Action::Get);
        let pending = self.recorder.called(&asked);
        let reply = self.insist(&LockRequest::Get { lock: name(lock) }, GIVE_UP).await;
        let answer = match reply {
            Some(LockReply::Lock(view)) => {
                let holders = view.map(|v| v.holders).unwrap_or_default();
                Answer::Holders(holders.iter().map(|h| h.owner.to_string()).collect())
            }
            None => Answer::Unknown,
            Some(other) => panic!("a look at a lock was answered by {other:?}"),
        };
        self.recorder.returned(pending, answer);
    }

    /// A holder's write to the resource that the lock guards; true when let in.
    pub fn write(&self, held: &Held) -> bool {
        self.recorder.write(resource(&held.lock), held.token)
    }

    /// Closes the session; everything it holds is free when this returns.
    pub async fn close(self) {
        self.keeping.abort();
        let id = self.id.0;
        self.recorder.lease(id, |lease, now| lease.ended = Some(now));
        let request = self.request(self.next_seq(), Command::CloseSession);
        if self.insist(&request, GIVE_UP).await.is_some() {
            self.recorder.lease(id, |lease, now| lease.closed = Some(now));
        }
    }

    /// Leaves without a word, as a process that is killed does.
    pub fn die(self) {
        self.recorder.lease(self.id.0, |lease, now| {
            lease.ended.get_or_insert(now);
        });
    }

    fn told_expired(&self) {
        self.recorder.lease(self.id.0, |lease, now| {
            lease.told_expired.get_or_insert(now);
        });
    }

    fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn asked<'a>(&self, seq: u64, owner: &'a str, lock: &'a str, action: Action) -> Asked<'a> {
        let (client, session) = (self.number, self.id.0);
        Asked { client, session, request: seq, owner, lock, action }
    }

    fn request(&self, seq: u64, command: Command) -> LockRequest {
        let key = RequestKey::Session { session: self.id, seq };
        // One request at a time: all before this one are answered or given up.
        LockRequest::Do(Request { key, first_outstanding: seq, command })
    }

    async fn insist(&self, request: &LockRequest, patience: Duration) -> Option<LockReply> {
        let request_id = self.random.lock().random();
        insist(&self.client, request, patience, request_id).await
    }

    /// Repeats and awaits until the request is decided; `None` when that stays unknown.
    async fn decide(
        &self,
        pending: Pending,
        request: LockRequest,
        wait_ms: u64,
    ) -> Option<Outcome> {
        let patience = GIVE_UP + Duration::from_millis(wait_ms);
        let deadline = Instant::now() + patience;
        let LockRequest::Do(Request { key, .. }) = &request else { return None };
        let await_it = LockRequest::Await { key: *key, wait_ms: wait_ms.clamp(1, 2_000) };
        let mut ask = &request;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.insist(ask, left).await? {
                LockReply::Outcome(Outcome::Queued { .. })
                | LockReply::Lookup(Lookup::Pending { .. }) => {
                    self.recorder.queued(pending);
                    ask = &await_it;
                }
                LockReply::Outcome(outcome) | LockReply::Lookup(Lookup::Done(outcome)) => {
                    return Some(outcome);
                }
                LockReply::Lookup(Lookup::Unknown) => ask = &request,
                other => panic!("an acquire was answered by {other:?}"),
            }
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// Renews every third of the lease until told that the session is over.
async fn keep_alive(client: Client, recorder: SharedHistory, session: SessionId, ttl_ms: u64) {
    let period = Duration::from_millis(ttl_ms / 3);
    let attempt = period.min(ATTEMPT);
    loop {
        sleep(period).await;
        let sent: Us = recorder.now();
        recorder.lease(session.0, |lease, now| lease.last_sent = now);
        let options = CallOptions { timeout: attempt, ..CallOptions::default() };
        let answer = client.lock(LockRequest::KeepAlive { session }, options).await;
        // The attempt may still be carried out until it is given up.
        recorder.lease(session.0, |lease, now| lease.last_sent = now);
        match answer.and_then(|a| a.result) {
            Ok(_) => recorder.lease(session.0, |lease, now| lease.renewals.push((sent, now))),
            Err(fault) if fault.code == dsync_core::Code::SessionExpired => {
                recorder.lease(session.0, |lease, now| {
                    lease.told_expired.get_or_insert(now);
                });
                return;
            }
            Err(_) => {}
        }
    }
}

/// Sends the same request until there is an answer, at most `patience`.
async fn insist(
    client: &Client,
    request: &LockRequest,
    patience: Duration,
    request_id: u128,
) -> Option<LockReply> {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let options = CallOptions { timeout: ATTEMPT, request_id, ..CallOptions::default() };
        let call = timeout_at(deadline, client.lock(request.clone(), options)).await.ok()?;
        match call.and_then(|answer| answer.result) {
            Ok(reply) => return Some(reply),
            Err(Fault { code: dsync_core::Code::SessionExpired, .. }) => {
                return Some(LockReply::Outcome(Outcome::SessionExpired));
            }
            Err(fault) if fault.retryable || fault.effect == Effect::Unknown => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(fault) => panic!("{request:?} was refused: {fault:?}"),
        }
    }
    None
}

fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a test's own name")
}

/// The number of the resource that a lock guards.
fn resource(lock: &str) -> u64 {
    lock.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
