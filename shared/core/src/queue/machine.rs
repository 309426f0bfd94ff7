//! The queue machine: a batch in, outcomes out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::check::check;
use super::state::{JobNo, Queue};
use super::{Command, Happened, Outcome, QUEUES_MAX, SWEEP_MAX};
use crate::lock::At;
use crate::name::Name;

/// A command for a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The queue.
    pub queue: Name,
    /// What to do.
    pub command: Command,
}

/// One log entry of the queue service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Batch {
    /// In the order in which they are carried out.
    pub requests: Vec<Request>,
}

/// What a batch did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// One per request, in order.
    pub outcomes: Vec<Outcome>,
    /// Queues from which a pop may get more than before.
    pub woken: BTreeSet<Name>,
    /// What became of jobs.
    pub happened: Happened,
}

/// All queues: deterministic, so that every node that applies the same log has the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueMachine {
    pub(super) queues: BTreeMap<Name, Queue>,
    pub(super) now_ms: u64,
    pub(super) index: u64,
    /// The token given last, over all queues: a queue that is gone and made anew reuses none.
    pub(super) token: u64,
    /// When each queue has something to do by itself.
    pub(super) due: BTreeSet<(u64, Name)>,
    /// What `due` says of each queue.
    pub(super) due_of: BTreeMap<Name, u64>,
}

/// What carrying out one command needs beside its queue.
pub(super) struct Step<'a> {
    pub(super) now_ms: u64,
    pub(super) token: &'a mut u64,
    /// Set when a pop may get more than before.
    pub(super) woken: bool,
    /// What came to the head and is to be put in its order.
    pub(super) heads: Vec<JobNo>,
}

impl QueueMachine {
    /// No queues.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time of the last entry.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn queue(&self, name: &Name) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// Index of the last entry.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// When an empty batch would do something: a lease ends, a job is due or expires.
    pub fn next_deadline(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Applies one log entry. Time never goes back, whatever `at` says.
    pub fn apply(&mut self, at: At, batch: &Batch) -> Applied {
        self.now_ms = self.now_ms.max(at.t_ms);
        self.index = at.index;
        let mut applied = Applied::default();
        self.sweep_due(&mut applied);
        for request in &batch.requests {
            let outcome = self.carry_out(request, &mut applied);
            applied.outcomes.push(outcome);
        }
        applied
    }

    /// What ends by itself, of all queues, at most [`SWEEP_MAX`] jobs or so in one entry.
    fn sweep_due(&mut self, applied: &mut Applied) {
        let mut left = SWEEP_MAX;
        while left > 0 {
            let Some((due, name)) = self.due.first().cloned() else { return };
            if due > self.now_ms {
                return;
            }
            let Some(queue) = self.queues.get_mut(&name) else {
                self.due.remove(&(due, name));
                continue;
            };
            let mut step = Step {
                now_ms: self.now_ms,
                token: &mut self.token,
                woken: false,
                heads: Vec::new(),
            };
            let before = queue.totals;
            left = left.saturating_sub(queue.sweep(&mut step, left).max(1));
            applied.happened.add(Happened::between(&before, &queue.totals));
            if step.woken {
                applied.woken.insert(name.clone());
            }
            self.reschedule(&name);
        }
    }

    fn carry_out(&mut self, request: &Request, applied: &mut Applied) -> Outcome {
        if let Err(fault) = check(&request.command) {
            return Outcome::Invalid(fault.message);
        }
        let name = &request.queue;
        if !self.queues.contains_key(name) {
            if self.queues.len() >= QUEUES_MAX {
                return Outcome::LimitReached(format!("there are {QUEUES_MAX} queues already"));
            }
            if let Some(outcome) = of_no_queue(&request.command) {
                return outcome;
            }
        }
        let queue = self.queues.entry(name.clone()).or_default();
        let mut step =
            Step { now_ms: self.now_ms, token: &mut self.token, woken: false, heads: Vec::new() };
        let before = queue.totals;
        queue.sweep(&mut step, SWEEP_MAX);
        queue.used_ms = step.now_ms;
        let outcome = queue.carry_out(&mut step, &request.command);
        applied.happened.add(Happened::between(&before, &queue.totals));
        if step.woken {
            applied.woken.insert(name.clone());
        }
        if queue.is_unused() {
            self.queues.remove(name);
        }
        self.reschedule(name);
        outcome
    }

    /// Notes when a queue has something to do next.
    fn reschedule(&mut self, name: &Name) {
        let next = self.queues.get(name).and_then(Queue::next_due);
        let before = self.due_of.get(name).copied();
        if before == next {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, name.clone()));
            self.due_of.remove(name);
        }
        if let Some(next) = next {
            self.due.insert((next, name.clone()));
            self.due_of.insert(name.clone(), next);
        }
    }

    /// Puts together what is not stored.
    pub(super) fn rebuild(&mut self) {
        self.due.clear();
        self.due_of.clear();
        for queue in self.queues.values_mut() {
            queue.rebuild();
        }
        let names: Vec<Name> = self.queues.keys().cloned().collect();
        for name in &names {
            self.reschedule(name);
        }
    }
}

/// What a command does to a queue that is not there, if that needs no queue.
fn of_no_queue(command: &Command) -> Option<Outcome> {
    match command {
        Command::Push { .. } | Command::Pause { .. } | Command::Limit { .. } => None,
        Command::Pop { .. } => Some(Outcome::Popped(super::Popped::default())),
        Command::Ack { receipts }
        | Command::Nack { receipts, .. }
        | Command::Reject { receipts, .. }
        | Command::Release { receipts }
        | Command::Extend { receipts, .. } => {
            Some(Outcome::Settled(vec![super::Settled::Stale; receipts.len()]))
        }
        Command::Resume => Some(Outcome::Set),
        Command::Purge
        | Command::Delete
        | Command::Redrive { .. }
        | Command::PurgeDead { .. }
        | Command::GiveBack { .. } => Some(Outcome::Moved(0)),
    }
}

impl Queue {
    fn carry_out(&mut self, step: &mut Step<'_>, command: &Command) -> Outcome {
        match command {
            Command::Push { jobs } => Outcome::Pushed(self.push(step, jobs)),
            Command::Pop { request, max, lease_ms, ack, consumer } => {
                let wish = super::pop::Wish {
                    request: *request,
                    max: *max,
                    lease_ms: *lease_ms,
                    ack: *ack,
                    consumer,
                };
                Outcome::Popped(self.pop(step, &wish))
            }
            Command::Ack { receipts } => self.settle(step, receipts, Self::ack),
            Command::Nack { receipts, delay_ms, error } => {
                self.settle(step, receipts, |queue, step, r| queue.nack(step, r, *delay_ms, error))
            }
            Command::Reject { receipts, error } => {
                self.settle(step, receipts, |queue, step, r| queue.reject(step, r, error))
            }
            Command::Release { receipts } => self.settle(step, receipts, Self::release),
            Command::Extend { receipts, lease_ms } => {
                self.settle(step, receipts, |queue, step, r| queue.extend(step, r, *lease_ms))
            }
            Command::Pause { reason } => {
                self.paused = Some(reason.clone());
                Outcome::Set
            }
            Command::Resume => {
                step.woken |= self.paused.take().is_some();
                Outcome::Set
            }
            Command::Limit { limits } => {
                step.woken = true;
                self.limits = limits.clone();
                Outcome::Set
            }
            Command::Purge => Outcome::Moved(self.purge()),
            Command::Delete => {
                let jobs = std::mem::take(self).jobs.len();
                Outcome::Moved(u64::try_from(jobs).unwrap_or(u64::MAX))
            }
            Command::Redrive { ids, max } => Outcome::Moved(self.redrive(step, ids, *max)),
            Command::PurgeDead { ids, max } => Outcome::Moved(self.purge_dead(ids, *max)),
            Command::GiveBack { request } => Outcome::Moved(self.give_back(step, *request)),
        }
    }

    /// Nothing is in it, and nothing is known of it that a later command would need.
    fn is_unused(&self) -> bool {
        self.jobs.is_empty()
            && self.done.is_empty()
            && self.pops.is_empty()
            && self.paused.is_none()
            && self.limits == super::Limits::default()
            && self.totals == super::Totals::default()
    }
}
