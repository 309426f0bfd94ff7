//! One recorded session: every request is repeated under its own name until its outcome is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::{Command, Outcome, Request, RequestKey, SessionId};
use dsync_core::name::Name;
use dsync_core::{Effect, Fault};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::history::{SharedHistory, Us};

/// Longest time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// A request whose outcome is unknown for so long is given up, and its session with it.
pub(super) const GIVE_UP: Duration = Duration::from_secs(40);
/// Longest time to open a session.
const OPENING: Duration = Duration::from_secs(60);

/// A session with its keep-alives. Dropping it stops them, as a client that dies does.
#[derive(Debug)]
pub struct Session {
    client: Client,
    pub(super) recorder: SharedHistory,
    pub(super) number: u32,
    pub(super) id: SessionId,
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

    /// Closes the session; everything it holds is free when this returns.
    pub async fn close(self) {
        self.keeping.abort();
        let id = self.id.0;
        self.recorder.lease(id, |lease, now| lease.ended = Some(now));
        let seq = self.next_seq();
        let request = self.request(seq, seq, Command::CloseSession);
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

    pub(super) fn told_expired(&self) {
        self.recorder.lease(self.id.0, |lease, now| {
            lease.told_expired.get_or_insert(now);
        });
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.seq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The request `seq`, by a client that still awaits the answers from `outstanding` on.
    pub(super) fn request(&self, seq: u64, outstanding: u64, command: Command) -> LockRequest {
        let key = self.key(seq);
        LockRequest::Do(Request { key, first_outstanding: outstanding, command })
    }

    pub(super) fn key(&self, seq: u64) -> RequestKey {
        RequestKey::Session { session: self.id, seq }
    }

    pub(super) async fn insist(
        &self,
        request: &LockRequest,
        patience: Duration,
    ) -> Option<LockReply> {
        let request_id = self.random.lock().random();
        insist(&self.client, request, patience, request_id).await
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

pub(super) fn name(text: &str) -> Name {
    Name::parse("name", text).expect("a test's own name")
}
