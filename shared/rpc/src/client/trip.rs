//! One call on its way, over all of its attempts.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::{Code, Effect, Fault};
use tokio::time::Instant;

use super::ask::{Ask, Failed, Place};
use super::link::Link;
use super::route::Routes;
use super::{Client, DEFAULT_TIMEOUT};
use crate::api::{Answer, Head};
use crate::connection::CallError;
use crate::dial::{Class, ConnectError, whole_ms};

/// Pause before the first repetition; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(250);
/// No attempt but the first begins with less time than this.
const LAST_ATTEMPT: Duration = Duration::from_millis(100);

/// What to do with an answer.
pub(super) enum Verdict<T> {
    Final(Answer<T>),
    Again(Answer<T>),
}

/// One call on its way, over all of its attempts.
pub(super) struct Trip<'a> {
    client: &'a Client,
    head: Head,
    timeout: Duration,
    deadline: Instant,
    /// Which link is next, counted in failures.
    pub(super) turn: usize,
    /// Time to wait before the next attempt once every link had its turn.
    pause: Duration,
    /// The last failure to connect, per endpoint.
    failures: Vec<ConnectError>,
    /// What a node that was reached said last, why it cannot serve this now.
    refusal: Option<Fault>,
    /// An attempt that may have been executed: where, and what happened.
    in_doubt: Option<String>,
}

impl<'a> Trip<'a> {
    pub(super) fn new<A: Ask>(client: &'a Client, ask: &A, head: Head, timeout: Duration) -> Self {
        let timeout = if timeout.is_zero() { DEFAULT_TIMEOUT + ask.wait() } else { timeout };
        Self {
            client,
            head,
            timeout,
            deadline: Instant::now() + timeout,
            turn: 0,
            pause: PAUSE_MIN,
            failures: Vec::new(),
            refusal: None,
            in_doubt: None,
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Finds an endpoint that greets, if none is at hand; else why each did not.
    pub(super) async fn meet(&self, place: Option<Place>) -> Result<(), Vec<ConnectError>> {
        let routes = &self.client.routes;
        routes.meet(place, routes.config.connect_timeout.min(self.left())).await
    }

    pub(super) async fn attempt<A: Ask>(
        &self,
        link: &Arc<Link>,
        ask: &A,
    ) -> Result<Answer<A::Told>, Failed> {
        let routes = &self.client.routes;
        let limit = routes.config.connect_timeout.min(self.left());
        let lane = link.lane(routes, ask.is_wait(), limit).await.map_err(Failed::Connect)?;
        let left = self.left();
        // With other ways to go, a node that says nothing does not get all of the time.
        let share = ask.patience().map_or(left, |patience| patience.min(left));
        let limit = if routes.has_choice(ask.place()) { share } else { left };
        let result = ask.send(&lane.connection, self.head.clone(), limit).await;
        match result {
            Ok(answer) => {
                let asked = lane.connection.greeting().id.as_str();
                if let Some(place) = ask.place()
                    && self.head.target.is_none()
                    && answer.served_by != asked
                {
                    Routes::follow(routes, place, &answer.served_by, &answer.address);
                }
                Ok(answer)
            }
            Err(error) => {
                if matches!(error, CallError::TimedOut(_)) {
                    // It may be dead without a word; others finish on it, no new call begins.
                    link.retire(&lane);
                }
                Err(Failed::Call(error))
            }
        }
    }

    pub(super) fn judge<T>(&mut self, answer: Answer<T>, may_repeat: bool) -> Verdict<T> {
        let Err(fault) = &answer.result else { return Verdict::Final(answer) };
        let settled = fault.effect == Effect::Done;
        if !fault.retryable || settled || (fault.effect == Effect::Unknown && !may_repeat) {
            return Verdict::Final(answer);
        }
        if fault.effect == Effect::Unknown {
            self.in_doubt = Some(format!("{}: {fault}", answer.served_by));
        }
        self.refusal = Some(fault.clone());
        Verdict::Again(answer)
    }

    /// The last answer, which must not claim that nothing happened when an earlier attempt may have
    /// been executed.
    pub(super) fn own_up<T>(&self, mut answer: Answer<T>) -> Answer<T> {
        if let (Err(fault), Some(doubt)) = (&mut answer.result, &self.in_doubt)
            && fault.effect == Effect::None
        {
            fault.effect = Effect::Unknown;
            let id = self.head.request_id;
            write!(fault.message, " (an earlier attempt of request {id:032x}: {doubt})")
                .unwrap_or_default();
        }
        answer
    }

    pub(super) fn note(&mut self, error: ConnectError) {
        if !self.client.routes.config.endpoints.contains(&error.address) {
            return;
        }
        match self.failures.iter_mut().find(|old| old.address == error.address) {
            Some(old) => *old = error,
            None => self.failures.push(error),
        }
    }

    /// The request was sent and nothing came back.
    pub(super) fn no_reply(&mut self, link: &Link, error: &CallError, is_read: bool) {
        let address = link.address().to_owned();
        if !is_read {
            self.in_doubt = Some(format!("{address}: {error}"));
            return;
        }
        let lost = matches!(error, CallError::Lost(_));
        let (class, detail) = (if lost { Class::Reset } else { Class::Timeout }, error.to_string());
        let elapsed = self.timeout.saturating_sub(self.left());
        self.note(ConnectError { address, class, detail, node: None, elapsed });
    }

    /// True when trying on makes no sense.
    pub(super) fn is_over<A: Ask>(&self, ask: &A) -> bool {
        if self.in_doubt.is_some() && !ask.may_repeat() {
            return true;
        }
        let all_failed = self.failures.len() >= self.client.routes.config.endpoints.len();
        let hopeless = self.failures.iter().all(|error| error.class.is_wrong());
        all_failed && self.in_doubt.is_none() && (hopeless || self.client.fail_fast)
    }

    /// Waits for the next attempt; false when there is no time for one. Another link is tried at
    /// once; when all had their turn, a pause goes before the next round.
    pub(super) async fn pause(&mut self) -> bool {
        self.turn += 1;
        // An attempt that cannot be answered any more would only make the outcome unknown.
        let left = self.left().saturating_sub(LAST_ATTEMPT);
        if left.is_zero() {
            return false;
        }
        if self.turn.is_multiple_of(self.client.routes.config.endpoints.len().max(1)) {
            if left <= self.pause {
                return false;
            }
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        true
    }

    pub(super) fn give_up(self) -> Fault {
        if let Some(doubt) = self.in_doubt {
            let id = self.head.request_id;
            return Fault::unknown(format!(
                "request {id:032x} may have been carried out ({doubt})"
            ))
            .hint("repeat it with the same request id to learn what became of it");
        }
        match self.refusal {
            Some(refusal) => refused_fault(refusal, &self.failures),
            None => unreachable_fault(&self.failures, self.timeout),
        }
    }
}

pub(super) fn no_endpoints() -> Fault {
    Fault::new(Code::InvalidArgument, "no endpoint is given").hint("name nodes as host:port")
}

/// The fault of a node that was reached, which says more than that others were not; these after it.
fn refused_fault(mut refusal: Fault, failures: &[ConnectError]) -> Fault {
    for (i, failure) in failures.iter().enumerate() {
        let sep = if i == 0 { "; not reached: " } else { "; " };
        write!(refusal.message, "{sep}{failure}").unwrap_or_default();
    }
    refusal
}

/// One fault for all endpoints, each with its reason.
fn unreachable_fault(failures: &[ConnectError], timeout: Duration) -> Fault {
    let mut text = match failures {
        [] => format!("no connection within {}", whole_ms(timeout)),
        [only] => only.to_string(),
        [..] => "no node could be reached".to_owned(),
    };
    if failures.len() > 1 {
        for (i, failure) in failures.iter().enumerate() {
            let sep = if i == 0 { ": " } else { "; " };
            write!(text, "{sep}{failure}").unwrap_or_default();
        }
    }
    let any = |class| failures.iter().any(|failure| failure.class == class);
    let all_wrong = !failures.is_empty() && failures.iter().all(|f| f.class.is_wrong());
    if !all_wrong {
        return Fault::unavailable(text)
            .hint("is a dsd running there? `dsctl cluster status` shows which nodes answer");
    }
    if any(Class::WrongCluster) {
        return Fault::new(Code::WrongCluster, text).hint("check the endpoints");
    }
    if any(Class::Version) {
        return Fault::new(Code::Incompatible, text).hint("upgrade the older side");
    }
    if any(Class::Denied) {
        return Fault::new(Code::Denied, text);
    }
    if failures.iter().all(|f| f.class == Class::Parse) {
        return Fault::new(Code::InvalidArgument, text).hint("an endpoint is host:port");
    }
    Fault::new(Code::Incompatible, text).hint("check the endpoints: host and port of a dsd")
}
