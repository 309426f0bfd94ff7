//! The machine: time first, then keep-alives, then what is due, then the requests.

use std::collections::{BTreeMap, BTreeSet};

use super::acquire::Ask;
use super::check::{check_command, check_key};
use super::deadlines::{Deadlines, Due};
use super::state::{State, TicketId};
use super::{
    Applied, At, Batch, Command, Event, EventKind, Outcome, Request, RequestKey, SessionId,
    Settings, Token,
};
use crate::fault::{Code, Fault};
use crate::name::Name;

/// The replicated state of the lock service.
///
/// A pure function of the log: equal entries give equal states, byte for byte in a
/// [`Snapshot`](super::Snapshot), on every node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockMachine {
    pub(super) state: State,
    /// Tickets by the key of their request.
    pub(super) pending: BTreeMap<RequestKey, TicketId>,
    pub(super) deadlines: Deadlines,
    /// Number of all grants.
    pub(super) grants: usize,
}

/// What one entry does on its way.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) index: u64,
    pub(super) now_ms: u64,
    pub(super) settings: Settings,
    pub(super) applied: Applied,
    /// Locks that something was given back to.
    pub(super) touched: BTreeSet<Name>,
    /// Ephemeral sessions that lost something.
    pub(super) maybe_idle: BTreeSet<SessionId>,
}

impl Step {
    /// Tells watchers.
    pub(super) fn event(&mut self, kind: EventKind) {
        self.applied.events.push(Event { index: self.index, at_ms: self.now_ms, kind });
    }
}

impl LockMachine {
    /// An empty machine, as before the first log entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one log entry. Never panics, whatever the entry says.
    ///
    /// An empty batch is a tick, and the no-op with which a term begins: it moves time on and ends
    /// what is due.
    pub fn apply(&mut self, at: At, batch: &Batch) -> Applied {
        self.advance(at, &batch.settings);
        let mut step = Step {
            index: at.index,
            now_ms: self.state.now_ms,
            settings: batch.settings,
            applied: Applied::default(),
            touched: BTreeSet::new(),
            maybe_idle: BTreeSet::new(),
        };
        step.applied.keep_alives = batch.keep_alives.iter().map(|s| self.keep_alive(*s)).collect();
        self.end_what_is_due(&mut step, at);
        for request in &batch.requests {
            let outcome = self.request(&mut step, request);
            step.applied.outcomes.push(outcome);
        }
        self.state.remembered.prune(self.state.now_ms);
        step.applied
    }

    /// Log index of the last entry; 0 before the first and after a backup was restored.
    pub fn index(&self) -> u64 {
        self.state.index
    }

    /// Cluster time of the last entry.
    pub fn now_ms(&self) -> u64 {
        self.state.now_ms
    }

    /// Cluster time at which an empty batch would next do something; `None`: never.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next(self.state.no_expiry_before_ms)
    }

    /// T2, T3: time never goes back, and a new term begins with a grace.
    fn advance(&mut self, at: At, settings: &Settings) {
        if self.state.index == 0 {
            self.begin_at(at.t_ms);
        }
        let state = &mut self.state;
        state.index = state.index.max(at.index);
        state.now_ms = state.now_ms.max(at.t_ms);
        if at.term > state.term {
            state.term = at.term;
            if !super::mutant!(NoNewTermGrace) {
                let until = state.now_ms.saturating_add(settings.new_term_grace_ms);
                state.no_expiry_before_ms = state.no_expiry_before_ms.max(until);
            }
        }
    }

    /// Ends all that is due, then serves the queues: nothing is granted to one who ends now.
    fn end_what_is_due(&mut self, step: &mut Step, at: At) {
        let mut clock = self.state.now_ms;
        if super::mutant!(ExpiryByLocalClock) {
            clock = at.t_ms.saturating_add((at.term % 2) * 60 * 60 * 1000);
        }
        while let Some(due) = self.deadlines.pop(clock, self.state.no_expiry_before_ms) {
            match due {
                Due::Session(session) => self.expire_session(step, session),
                Due::Hold(lock, token) => self.end_hold(step, &lock, token),
                Due::Wound(lock, token) => self.end_wound(step, &lock, token),
                Due::Delay(lock, token) => self.end_delay(step, lock, token),
                Due::Wait(ticket) => self.settle(step, ticket, Outcome::Timeout),
            }
        }
        self.finish(step);
    }

    /// Carries one request out, once (L8).
    fn request(&mut self, step: &mut Step, request: &Request) -> Outcome {
        if let Err(fault) = check_key(request) {
            return refused(fault);
        }
        if let Some(known) = self.recall(request) {
            return known;
        }
        let outcome = match check_command(&request.command) {
            Ok(()) => self.execute(step, request.key, &request.command),
            Err(fault) => refused(fault),
        };
        if !matches!(outcome, Outcome::Queued { .. }) {
            self.save(request.key, outcome.clone());
        }
        self.finish(step);
        outcome
    }

    /// Serves the queues of what was given back and ends sessions that have nothing left.
    fn finish(&mut self, step: &mut Step) {
        self.serve(step);
        self.end_idle(step);
    }

    fn execute(&mut self, step: &mut Step, key: RequestKey, command: &Command) -> Outcome {
        match command {
            Command::OpenSession { ttl_ms, owner, meta, ephemeral } => {
                self.open_session(step, *ttl_ms, owner, meta, *ephemeral)
            }
            Command::CloseSession => self.close_session(step, key),
            Command::Acquire { wants, owner, wait_ms, policy, age, max_hold_ms } => {
                let RequestKey::Session { session, .. } = key else {
                    return Outcome::SessionExpired;
                };
                let age = if *age == 0 { session.0 } else { *age };
                self.acquire(
                    step,
                    &Ask {
                        key,
                        session,
                        owner,
                        wants,
                        wait_ms: *wait_ms,
                        policy: *policy,
                        age,
                        max_hold_ms: *max_hold_ms,
                    },
                )
            }
            Command::Cancel { target } => self.cancel(step, key, *target),
            Command::Release { lock, token, owner, all } => {
                self.release(step, key, lock, (*token, owner.as_ref()), *all)
            }
            Command::Renew { lock, token, ttl_ms } => {
                self.renew(step, key, (lock, *token), *ttl_ms)
            }
            Command::Convert { lock, token, to, wait_ms } => {
                self.convert(step, key, (lock, *token), *to, *wait_ms)
            }
            Command::ForceRelease { lock, token, actor, reason } => {
                self.force_release(step, (lock, *token), actor, reason)
            }
        }
    }

    /// The next fencing token: larger than every one before (L1).
    pub(super) fn new_token(&mut self) -> Token {
        if super::mutant!(TokenFromClock) {
            return Token(self.state.now_ms);
        }
        self.state.last_token = Token(self.state.last_token.0.saturating_add(1));
        self.state.last_token
    }
}

/// A broken rule as the outcome of the request.
fn refused(fault: Fault) -> Outcome {
    let text = match fault.hint {
        Some(hint) => format!("{}: {hint}", fault.message),
        None => fault.message,
    };
    if fault.code == Code::LimitReached {
        Outcome::LimitReached(text)
    } else {
        Outcome::Invalid(text)
    }
}
