//! A small lock service: exclusive and shared grants, first come first served, requests known by
//! their key. Enough for what the client library promises; the real one is in the core.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dsd::server::{Call, NodeHandler};
use dsync::api::{
    AdminReply, AdminRequest, Answer, CacheReply, CacheRequest, Head, LockReply, LockRequest,
    QueueReply, QueueRequest,
};
use dsync_core::lock::{
    Command, Grant, Holder, Lookup, Mode, Outcome, Request, RequestKey, SessionId, Token, Want,
};
use dsync_core::name::Name;
use dsync_core::{Code, Fault};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The service; clones share its state.
#[derive(Debug, Clone, Default)]
pub struct Locks {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeSet<SessionId>,
    held: Vec<Held>,
    waiting: Vec<(RequestKey, Command)>,
    outcomes: BTreeMap<RequestKey, Outcome>,
    /// Per session the lowest number whose outcome is kept.
    floors: BTreeMap<SessionId, u64>,
    log: Vec<Request>,
    repeated: u64,
    tokens: u64,
    keep_alives: u64,
    lose_replies: u32,
}

#[derive(Debug, Clone)]
struct Held {
    session: SessionId,
    owner: Name,
    grant: Grant,
}

fn session_of(key: RequestKey) -> SessionId {
    match key {
        RequestKey::Session { session, .. } => session,
        RequestKey::Detached(_) => SessionId(0),
    }
}

impl State {
    fn free(&self, want: &Want) -> bool {
        let shared = |mode| mode == Mode::Shared;
        self.held
            .iter()
            .filter(|held| held.grant.lock == want.lock)
            .all(|held| shared(held.grant.mode) && shared(want.mode))
    }

    fn grant(&mut self, session: SessionId, owner: &Name, want: &Want) -> Grant {
        self.tokens += 1;
        let (lock, mode, token) = (want.lock.clone(), want.mode, Token(self.tokens));
        let grant = Grant { lock, mode, token, count: 1 };
        self.held.push(Held { session, owner: owner.clone(), grant: grant.clone() });
        grant
    }

    /// Decides a command if that is possible now.
    fn decide(&mut self, key: RequestKey, command: &Command) -> Option<Outcome> {
        let session = session_of(key);
        Some(match command {
            Command::OpenSession { ttl_ms, .. } => {
                self.tokens += 1;
                let session = SessionId(self.tokens);
                self.sessions.insert(session);
                Outcome::SessionOpened { session, ttl_ms: *ttl_ms }
            }
            _ if !self.sessions.contains(&session) => Outcome::SessionExpired,
            Command::CloseSession => {
                self.end(session);
                Outcome::SessionClosed
            }
            Command::Acquire { wants, owner, wait_ms, .. } => {
                if wants.iter().all(|want| self.free(want)) {
                    let grants = wants.iter().map(|want| self.grant(session, owner, want));
                    return Some(Outcome::Granted(grants.collect()));
                }
                if *wait_ms > 0 {
                    return None;
                }
                Outcome::WouldBlock { holders: Vec::new(), delay: None }
            }
            Command::Convert { lock, token, to, .. } => {
                let alone = self.held.iter().filter(|held| held.grant.lock == *lock).count() == 1;
                if *to == Mode::Exclusive && !alone {
                    return None;
                }
                self.tokens += 1;
                let new = Token(self.tokens);
                let held = self.held.iter_mut().find(|held| held.grant.token == *token);
                held.map_or(Outcome::NotHolder { current: Vec::new() }, |held| {
                    held.grant.mode = *to;
                    held.grant.token = new;
                    Outcome::Converted(held.grant.clone())
                })
            }
            Command::Release { token, .. } => {
                let before = self.held.len();
                self.held.retain(|held| Some(held.grant.token) != *token);
                match token {
                    Some(token) if self.held.len() < before => {
                        Outcome::Released { token: *token, remaining: 0 }
                    }
                    _ => Outcome::NotHolder { current: Vec::new() },
                }
            }
            Command::Cancel { target } if self.is_forgotten(*target) => Outcome::StaleSeq,
            Command::Cancel { target } => {
                self.waiting.retain(|(key, _)| key != target);
                if let Some(Outcome::Granted(grants)) = self.outcomes.get(target) {
                    let tokens: Vec<_> = grants.iter().map(|grant| grant.token).collect();
                    self.held.retain(|held| !tokens.contains(&held.grant.token));
                }
                self.outcomes.insert(*target, Outcome::Cancelled);
                Outcome::Cancelled
            }
            Command::Renew { .. } | Command::ForceRelease { .. } => {
                Outcome::Invalid("not in this test".into())
            }
        })
    }

    fn end(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.held.retain(|held| held.session != session);
        self.waiting.retain(|(key, _)| session_of(*key) != session);
    }

    /// Forgets what the session waits for no more.
    fn forget(&mut self, session: SessionId, first_outstanding: u64) {
        let floor = self.floors.entry(session).or_default();
        *floor = (*floor).max(first_outstanding);
        let below = RequestKey::Session { session, seq: *floor };
        self.outcomes.retain(|key, _| session_of(*key) != session || *key >= below);
    }

    fn is_forgotten(&self, key: RequestKey) -> bool {
        let RequestKey::Session { session, seq } = key else { return false };
        let waits = self.waiting.iter().any(|(waiting, _)| *waiting == key);
        !waits && self.floors.get(&session).is_some_and(|floor| seq < *floor)
    }

    fn run(&mut self, request: &Request) -> Outcome {
        if let RequestKey::Session { session, .. } = request.key {
            self.forget(session, request.first_outstanding);
        }
        if let Some(known) = self.outcomes.get(&request.key) {
            self.repeated += 1;
            return known.clone();
        }
        if self.waiting.iter().any(|(key, _)| *key == request.key) {
            self.repeated += 1;
            return Outcome::Queued { position: 1, blockers: Vec::new() };
        }
        self.log.push(request.clone());
        let outcome = self.decide(request.key, &request.command);
        let Some(outcome) = outcome else {
            self.waiting.push((request.key, request.command.clone()));
            return Outcome::Queued { position: 1, blockers: Vec::new() };
        };
        self.outcomes.insert(request.key, outcome.clone());
        self.settle();
        outcome
    }

    fn settle(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (key, command) in waiting {
            match self.decide(key, &command) {
                Some(outcome) => {
                    self.outcomes.insert(key, outcome);
                }
                None => self.waiting.push((key, command)),
            }
        }
    }
}

impl Locks {
    /// Names of the locks that are held.
    pub fn held(&self) -> Vec<String> {
        self.state.lock().held.iter().map(|held| held.grant.lock.to_string()).collect()
    }

    /// Requests that wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Live sessions.
    pub fn sessions(&self) -> usize {
        self.state.lock().sessions.len()
    }

    /// Keep-alives acknowledged.
    pub fn keep_alives(&self) -> u64 {
        self.state.lock().keep_alives
    }

    /// Every request carried out, in order.
    pub fn log(&self) -> Vec<Request> {
        self.state.lock().log.clone()
    }

    /// Requests that came again.
    pub fn repeated(&self) -> u64 {
        self.state.lock().repeated
    }

    /// The next replies get lost after their command was carried out.
    pub fn lose_replies(&self, count: u32) {
        self.state.lock().lose_replies = count;
    }

    /// Ends every session as an expiry does.
    pub fn expire_all(&self) {
        let mut state = self.state.lock();
        for session in std::mem::take(&mut state.sessions) {
            state.end(session);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until `done` holds.
    pub async fn until(&self, done: impl Fn(&Self) -> bool) {
        let check = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), check).await.expect("not in 30 s");
    }

    fn command(&self, request: &Request) -> Result<LockReply, Fault> {
        let mut state = self.state.lock();
        let outcome = state.run(request);
        let lost = state.lose_replies > 0;
        state.lose_replies = state.lose_replies.saturating_sub(1);
        drop(state);
        self.changed.notify_waiters();
        if lost {
            Err(Fault::unknown("the reply got lost"))
        } else {
            Ok(LockReply::Outcome(outcome))
        }
    }

    async fn wait(&self, key: RequestKey, wait_ms: u64) -> LockReply {
        let end = tokio::time::Instant::now() + Duration::from_millis(wait_ms);
        loop {
            let changed = self.changed.notified();
            {
                let state = self.state.lock();
                if let Some(outcome) = state.outcomes.get(&key) {
                    return LockReply::Lookup(Lookup::Done(outcome.clone()));
                }
                if !state.waiting.iter().any(|(waiting, _)| *waiting == key) {
                    return LockReply::Lookup(Lookup::Unknown);
                }
            }
            if tokio::time::timeout_at(end, changed).await.is_err() {
                return LockReply::Lookup(Lookup::Pending { position: 1 });
            }
        }
    }

    fn keep_alive(&self, session: SessionId) -> Result<LockReply, Fault> {
        let mut state = self.state.lock();
        if !state.sessions.contains(&session) {
            return Err(Fault::new(Code::SessionExpired, "the session is over"));
        }
        state.keep_alives += 1;
        // The whole lease: a client counts on no more than it has.
        Ok(LockReply::KeptAlive { expires_in_ms: u64::MAX })
    }

    fn validate(&self, lock: &Name, token: Token) -> LockReply {
        let state = self.state.lock();
        let held = state.held.iter().find(|h| h.grant.lock == *lock && h.grant.token == token);
        LockReply::Valid(held.map(|held| Holder {
            owner: held.owner.clone(),
            session: held.session,
            mode: held.grant.mode,
            token,
            count: 1,
            expires_in_ms: 1,
        }))
    }
}

impl NodeHandler for Locks {
    async fn lock(&self, _: Call, _: Head, request: LockRequest) -> Answer<LockReply> {
        let result = match request {
            LockRequest::Do(request) => self.command(&request),
            LockRequest::Await { key, wait_ms } => Ok(self.wait(key, wait_ms).await),
            LockRequest::KeepAlive { session } => self.keep_alive(session),
            LockRequest::Validate { lock, token } => Ok(self.validate(&lock, token)),
            LockRequest::Get { .. }
            | LockRequest::List { .. }
            | LockRequest::WaitGraph
            | LockRequest::Sessions { .. }
            | LockRequest::Events { .. }
            | LockRequest::Holding { .. } => {
                Err(Fault::new(Code::InvalidArgument, "not in this test"))
            }
        };
        Answer { served_by: "node-1".into(), address: String::new(), result }
    }

    async fn admin(&self, _: Call, _: Head, _: AdminRequest) -> Answer<AdminReply> {
        let result = Ok(AdminReply::Pong);
        Answer { served_by: "node-1".into(), address: String::new(), result }
    }

    async fn queue(&self, _: Call, _: Head, _: QueueRequest) -> Answer<QueueReply> {
        let result = Err(Fault::new(Code::InvalidArgument, "not in this test"));
        Answer { served_by: "node-1".into(), address: String::new(), result }
    }

    async fn cache(&self, _: Call, _: Head, _: CacheRequest) -> Answer<CacheReply> {
        let result = Err(Fault::new(Code::InvalidArgument, "not in this test"));
        Answer { served_by: "node-1".into(), address: String::new(), result }
    }
}
