//! What a recorded session does with locks.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Command, Lookup, Mode, Outcome, Policy, Token, Want};
use tokio::time::Instant;

use super::session::{GIVE_UP, Session, name};
use crate::history::{Action, Answer, Asked, Edge, Granted, Pending, Seen};

/// Longest slice of a wait.
const SLICE_MS: u64 = 2_000;

/// How to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Longest wait; 0: do not wait.
    pub wait_ms: u64,
    /// Withdraw the request when it has waited for so long.
    pub cancel_after_ms: Option<u64>,
    /// Ask again once it is answered, to see that the answer is the same.
    pub ask_again: bool,
}

/// The session is of no more use: it is over, or an outcome stayed unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Useless;

/// What became of a request that was decided.
type Decided = Result<Option<Vec<Granted>>, Useless>;

impl Session {
    /// An owner label that nobody else has.
    pub fn new_owner(&self) -> String {
        format!("client-{}/{}.{}", self.number, self.id.0, self.next_seq())
    }

    /// Asks for locks, all at once, and waits for the outcome; `None`: not granted.
    ///
    /// # Errors
    /// When the session is of no more use.
    pub async fn acquire(
        &self,
        owner: &str,
        wants: &[(String, Mode)],
        way: Way,
    ) -> Result<Option<Vec<Granted>>, Useless> {
        let want = |(lock, mode): &(String, Mode)| Want { lock: name(lock), mode: *mode };
        let command = Command::Acquire {
            wants: wants.iter().map(want).collect(),
            owner: name(owner),
            wait_ms: way.wait_ms,
            policy: Policy::Detect,
            age: 0,
            max_hold_ms: 0,
        };
        let asked = |(lock, mode): &(String, Mode)| crate::history::Want {
            lock: lock.clone(),
            mode: *mode,
        };
        let action = Action::Acquire(wants.iter().map(asked).collect());
        self.ask(owner, action, command, way).await
    }

    /// Changes how a grant is held; `None`: it stays as it is.
    ///
    /// # Errors
    /// When the session is of no more use, or holds the lock no more.
    pub async fn convert(
        &self,
        owner: &str,
        held: &Granted,
        to: Mode,
        way: Way,
    ) -> Result<Option<Granted>, Useless> {
        let lock = name(&held.lock);
        let command = Command::Convert { lock, token: Token(held.token), to, wait_ms: way.wait_ms };
        let action = Action::Convert { lock: held.lock.clone(), token: held.token, to };
        let granted = self.ask(owner, action, command, way).await?;
        Ok(granted.and_then(|grants| grants.into_iter().next()))
    }

    /// Gives a lock up, or one level of it; gives the levels left.
    ///
    /// # Errors
    /// When the session is of no more use.
    pub async fn release(&self, owner: &str, held: &Granted, all: bool) -> Result<u32, Useless> {
        let seq = self.next_seq();
        let action = Action::Release { lock: held.lock.clone(), token: held.token, all };
        let pending = self.called(seq, owner, action);
        let (lock, token) = (name(&held.lock), Some(Token(held.token)));
        let command = Command::Release { lock, token, owner: None, all };
        let reply = self.insist(&self.request(seq, seq, command), GIVE_UP).await;
        let (answer, result) = match reply {
            Some(LockReply::Outcome(Outcome::Released { remaining, .. })) => {
                (Answer::Released { remaining }, Ok(remaining))
            }
            Some(LockReply::Outcome(Outcome::NotHolder { .. })) => {
                (Answer::NotHolder, Err(Useless))
            }
            Some(LockReply::Outcome(Outcome::SessionExpired)) => {
                self.told_expired();
                (Answer::NotHolder, Err(Useless))
            }
            None => (Answer::Unknown, Err(Useless)),
            Some(other) => panic!("a release was answered by {other:?}"),
        };
        self.recorder.returned(pending, answer);
        result
    }

    /// Looks who holds a lock and who waits for it.
    pub async fn get(&self, lock: &str) {
        let action = Action::Get { lock: lock.to_owned() };
        let pending = self.called(self.next_seq(), "reader", action);
        let reply = self.insist(&LockRequest::Get { lock: name(lock) }, GIVE_UP).await;
        let answer = match reply {
            Some(LockReply::Lock(view)) => {
                let (holders, waiters) = view.map(|v| (v.holders, v.waiters)).unwrap_or_default();
                let seen = holders.iter().map(|h| Seen {
                    owner: h.owner.to_string(),
                    mode: h.mode,
                    count: h.count,
                });
                let waiting = waiters.iter().map(|w| w.owner.to_string()).collect();
                Answer::Holders(seen.collect(), waiting)
            }
            None => Answer::Unknown,
            Some(other) => panic!("a look at a lock was answered by {other:?}"),
        };
        self.recorder.returned(pending, answer);
    }

    /// A holder's write to the resource that the lock guards; true when let in.
    pub fn write(&self, held: &Granted) -> bool {
        self.recorder.write(resource(&held.lock), held.token)
    }

    fn called(&self, seq: u64, owner: &str, action: Action) -> Pending {
        let (client, session) = (self.number, self.id.0);
        self.recorder.called(Asked { client, session, request: seq, owner, action })
    }

    /// Sends what may have to wait, sees it decided, and writes down what it was told.
    async fn ask(&self, owner: &str, action: Action, command: Command, way: Way) -> Decided {
        let seq = self.next_seq();
        let pending = self.called(seq, owner, action);
        let request = self.request(seq, seq, command);
        let Some(outcome) = self.decide(pending, seq, &request, way).await else {
            self.recorder.returned(pending, Answer::Unknown);
            return Err(Useless);
        };
        let over = matches!(outcome, Outcome::SessionExpired);
        if over {
            self.told_expired();
        }
        let answer = answer_of(outcome);
        let granted =
            if let Answer::Granted(grants) = &answer { Some(grants.clone()) } else { None };
        let lost = over || answer == Answer::NotHolder;
        self.recorder.returned(pending, answer);
        if lost {
            return Err(Useless);
        }
        if way.ask_again
            && let Some(LockReply::Outcome(again)) = self.insist(&request, GIVE_UP).await
            && again != Outcome::SessionExpired
        {
            self.recorder.told_again(pending, answer_of(again));
        }
        Ok(granted)
    }

    /// Repeats and awaits until the request is decided; `None` when that stays unknown.
    async fn decide(
        &self,
        pending: Pending,
        seq: u64,
        request: &LockRequest,
        way: Way,
    ) -> Option<Outcome> {
        let deadline = Instant::now() + GIVE_UP + Duration::from_millis(way.wait_ms);
        let mut cancel_at = None;
        let mut waits = false;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return None;
            }
            if waits && cancel_at.is_some_and(|at| at <= now) {
                return self.cancel(pending, seq).await;
            }
            let slice = cancel_at.map_or(SLICE_MS, |at| millis(at - now).min(SLICE_MS));
            let wait_ms = way.wait_ms.min(slice).max(1);
            let await_it = LockRequest::Await { key: self.key(seq), wait_ms };
            let ask = if waits { &await_it } else { request };
            match self.insist(ask, deadline - now).await? {
                LockReply::Outcome(Outcome::Queued { .. })
                | LockReply::Lookup(Lookup::Pending { .. }) => {
                    self.recorder.queued(pending);
                    waits = true;
                    if let (None, Some(after)) = (cancel_at, way.cancel_after_ms) {
                        cancel_at = Some(Instant::now() + Duration::from_millis(after));
                    }
                }
                LockReply::Outcome(outcome) | LockReply::Lookup(Lookup::Done(outcome)) => {
                    return Some(outcome);
                }
                LockReply::Lookup(Lookup::Unknown) => waits = false,
                other => panic!("{request:?} was answered by {other:?}"),
            }
        }
    }

    /// Withdraws the request `target`; gives what became of it.
    async fn cancel(&self, pending: Pending, target: u64) -> Option<Outcome> {
        self.recorder.withdrawing(pending);
        let command = Command::Cancel { target: self.key(target) };
        let request = self.request(self.next_seq(), target, command);
        match self.insist(&request, GIVE_UP).await? {
            LockReply::Outcome(outcome) => Some(outcome),
            other => panic!("a withdrawal was answered by {other:?}"),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The outcome of an acquire or a conversion as a history tells it.
fn answer_of(outcome: Outcome) -> Answer {
    let granted = |grant: dsync_core::lock::Grant| Granted {
        lock: grant.lock.to_string(),
        mode: grant.mode,
        token: grant.token.0,
        count: grant.count,
    };
    match outcome {
        Outcome::Granted(grants) => Answer::Granted(grants.into_iter().map(granted).collect()),
        Outcome::Converted(grant) => Answer::Granted(vec![granted(grant)]),
        Outcome::WouldBlock { holders, .. } => {
            Answer::WouldBlock(sorted(holders.iter().map(|h| h.owner.to_string()).collect()))
        }
        Outcome::Deadlock(steps) => {
            let edge = |step: &dsync_core::lock::CycleStep| Edge {
                waiter: step.waiter.to_string(),
                lock: step.lock.to_string(),
                holder: step.holder.to_string(),
            };
            Answer::Deadlock(steps.iter().map(edge).collect())
        }
        Outcome::Timeout => Answer::Timeout,
        Outcome::Cancelled => Answer::Cancelled,
        Outcome::Queued { .. } => Answer::Waits,
        Outcome::NotHolder { .. } => Answer::NotHolder,
        Outcome::Wounded { .. } | Outcome::LimitReached(_) | Outcome::SessionExpired => {
            Answer::NotGranted
        }
        other => panic!("a request for a lock was answered by {other:?}"),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// The number of the resource that a lock guards.
fn resource(lock: &str) -> u64 {
    lock.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}
