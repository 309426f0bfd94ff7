//! One queue's jobs, each in exactly one place, and the orders that are kept of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::id::JobId;
use super::limits::Limits;
use super::view::Totals;
use super::{Backoff, NewJob, PRIORITY_MAX};
use crate::name::Name;

/// A job's number in its queue, in the order of pushes.
pub(super) type JobNo = u64;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: JobId,
    #[serde(with = "super::bytes")]
    pub(super) payload: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) priority: u8,
    pub(super) max_attempts: u32,
    pub(super) backoff: Backoff,
    pub(super) pushed_ms: u64,
    /// Length of its life from the push, kept for a redrive; 0: no end.
    pub(super) ttl_ms: u64,
    /// When its life ends; `u64::MAX`: never.
    pub(super) expires_ms: u64,
    /// Deliveries that began and were not released.
    pub(super) attempts: u32,
    /// The last failures, oldest first.
    pub(super) errors: Vec<String>,
    /// Who has it, or had it last.
    pub(super) consumer: Option<Name>,
    /// The command that ended its last lease, and that lease's token: a repetition is recognised.
    pub(super) ended: Option<(u64, Ended)>,
    pub(super) place: Place,
}

/// What ended a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ended {
    Acked,
    Nacked,
    Rejected,
    Released,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// At that place of its priority; smaller goes first.
    Ready { order: i64 },
    /// Until then; a failed one goes to the head.
    Delayed { due_ms: u64, head: bool },
    /// Under that token, until then.
    Leased { token: u64, until_ms: u64 },
    /// Since then, for that reason.
    Dead { since_ms: u64, cause: String },
}

/// An acknowledged job's id, remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) token: u64,
    pub(super) until_ms: u64,
}

/// What a pop gave, remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) until_ms: u64,
    pub(super) jobs: Vec<(JobNo, u64)>,
    /// It was asked for again: whoever did has the jobs.
    pub(super) claimed: bool,
}

/// Deliveries that the rate allows, in thousandths, as of then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub(super) level: u64,
    pub(super) at_ms: u64,
}

/// A queue: what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    pub(super) jobs: BTreeMap<JobNo, Job>,
    pub(super) done: BTreeMap<JobId, Done>,
    pub(super) pops: BTreeMap<u128, Remembered>,
    pub(super) limits: Limits,
    pub(super) paused: Option<String>,
    pub(super) totals: Totals,
    pub(super) bucket: Bucket,
    pub(super) next_no: JobNo,
    /// Next places at the tail and, going down, at the head.
    pub(super) tail: i64,
    pub(super) head: i64,
    /// When it was last asked to change.
    pub(super) used_ms: u64,
    #[serde(skip)]
    pub(super) order: Orders,
}

/// What follows from the jobs, kept so that nothing is searched for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Orders {
    pub(super) ids: BTreeMap<JobId, JobNo>,
    /// By rank (0 for the highest priority) and place.
    pub(super) ready: BTreeMap<(u8, i64), JobNo>,
    pub(super) delayed: BTreeSet<(u64, JobNo)>,
    /// By end and token.
    pub(super) leases: BTreeSet<(u64, u64, JobNo)>,
    pub(super) dead: BTreeSet<(u64, JobNo)>,
    /// Ends of lives of ready and delayed jobs.
    pub(super) lives: BTreeSet<(u64, JobNo)>,
    pub(super) done: BTreeSet<(u64, JobId)>,
    pub(super) pops: BTreeSet<(u64, u128)>,
    pub(super) bytes: u64,
}

/// Where a job goes that becomes ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Head,
    Tail,
}

pub(super) fn rank(priority: u8) -> u8 {
    PRIORITY_MAX - priority.min(PRIORITY_MAX)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Orders {
    pub(super) fn enter(&mut self, no: JobNo, job: &Job) {
        match &job.place {
            Place::Ready { order } => {
                self.ready.insert((rank(job.priority), *order), no);
            }
            Place::Delayed { due_ms, .. } => {
                self.delayed.insert((*due_ms, no));
            }
            Place::Leased { token, until_ms } => {
                self.leases.insert((*until_ms, *token, no));
            }
            Place::Dead { since_ms, .. } => {
                self.dead.insert((*since_ms, no));
            }
        }
        if job.may_expire() {
            self.lives.insert((job.expires_ms, no));
        }
    }

    pub(super) fn leave(&mut self, no: JobNo, job: &Job) {
        match &job.place {
            Place::Ready { order } => {
                self.ready.remove(&(rank(job.priority), *order));
            }
            Place::Delayed { due_ms, .. } => {
                self.delayed.remove(&(*due_ms, no));
            }
            Place::Leased { token, until_ms } => {
                self.leases.remove(&(*until_ms, *token, no));
            }
            Place::Dead { since_ms, .. } => {
                self.dead.remove(&(*since_ms, no));
            }
        }
        if job.may_expire() {
            self.lives.remove(&(job.expires_ms, no));
        }
    }
}

impl Job {
    pub(super) fn may_expire(&self) -> bool {
        self.expires_ms != u64::MAX
            && matches!(self.place, Place::Ready { .. } | Place::Delayed { .. })
    }
}

impl Queue {
    /// Puts the orders together that are not stored.
    pub(super) fn rebuild(&mut self) {
        let mut order = Orders::default();
        for (no, job) in &self.jobs {
            order.ids.insert(job.id.clone(), *no);
            order.bytes += length(&job.payload);
            order.enter(*no, job);
        }
        order.done = self.done.iter().map(|(id, done)| (done.until_ms, id.clone())).collect();
        order.pops = self.pops.iter().map(|(id, pop)| (pop.until_ms, *id)).collect();
        self.order = order;
    }

    /// Takes a new job in.
    pub(super) fn add(&mut self, now: u64, new: NewJob) {
        let no = self.next_no;
        self.next_no += 1;
        let due_ms = now.saturating_add(new.delay_ms);
        let place = if new.delay_ms > 0 {
            Place::Delayed { due_ms, head: false }
        } else {
            self.ready_at(End::Tail)
        };
        let expires_ms = if new.ttl_ms == 0 { u64::MAX } else { now.saturating_add(new.ttl_ms) };
        let job = Job {
            id: new.id,
            payload: new.payload,
            headers: new.headers,
            priority: new.priority,
            max_attempts: new.max_attempts,
            backoff: new.backoff,
            pushed_ms: now,
            ttl_ms: new.ttl_ms,
            expires_ms,
            attempts: 0,
            errors: Vec::new(),
            consumer: None,
            ended: None,
            place,
        };
        self.order.ids.insert(job.id.clone(), no);
        self.order.bytes += length(&job.payload);
        self.order.enter(no, &job);
        self.jobs.insert(no, job);
    }

    /// The next place at that end.
    pub(super) fn ready_at(&mut self, end: End) -> Place {
        let order = match end {
            End::Head => {
                self.head -= 1;
                self.head
            }
            End::Tail => {
                self.tail += 1;
                self.tail
            }
        };
        Place::Ready { order }
    }

    /// Changes a job, its place and whatever else orders it, and keeps the orders right.
    pub(super) fn change(&mut self, no: JobNo, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.jobs.get_mut(&no) else { return };
        self.order.leave(no, job);
        change(job);
        self.order.enter(no, job);
    }

    /// Removes a job.
    pub(super) fn remove(&mut self, no: JobNo) -> Option<Job> {
        let job = self.jobs.remove(&no)?;
        self.order.leave(no, &job);
        self.order.ids.remove(&job.id);
        self.order.bytes -= length(&job.payload);
        Some(job)
    }

    /// Remembers that a job is done.
    pub(super) fn remember_done(&mut self, id: JobId, token: u64, until_ms: u64) {
        self.order.done.insert((until_ms, id.clone()));
        if let Some(before) = self.done.insert(id.clone(), Done { token, until_ms })
            && before.until_ms != until_ms
        {
            self.order.done.remove(&(before.until_ms, id));
        }
    }

    /// Remembers what a pop gave.
    pub(super) fn remember_pop(&mut self, request: u128, pop: Remembered) {
        self.order.pops.insert((pop.until_ms, request));
        self.pops.insert(request, pop);
    }

    /// Forgets what a pop gave.
    pub(super) fn forget_pop(&mut self, request: u128) -> Option<Remembered> {
        let pop = self.pops.remove(&request)?;
        self.order.pops.remove(&(pop.until_ms, request));
        Some(pop)
    }

    /// Forgets what need not be remembered any more, at most so many of each.
    pub(super) fn forget(&mut self, now: u64, most: usize) {
        for _ in 0..most {
            let Some((until, _)) = self.order.done.first() else { break };
            if *until > now {
                break;
            }
            if let Some((_, id)) = self.order.done.pop_first() {
                self.done.remove(&id);
            }
        }
        for _ in 0..most {
            let Some((until, _)) = self.order.pops.first() else { break };
            if *until > now {
                break;
            }
            if let Some((_, id)) = self.order.pops.pop_first() {
                self.pops.remove(&id);
            }
        }
    }

    /// Jobs that count against `max_jobs`.
    pub(super) fn live(&self) -> u64 {
        u64::try_from(self.jobs.len() - self.order.dead.len()).unwrap_or(u64::MAX)
    }

    /// When something happens by itself: a lease ends, a job is due or expires.
    pub(super) fn next_due(&self) -> Option<u64> {
        let first = |set: &BTreeSet<(u64, JobNo)>| set.first().map(|(at, _)| *at);
        let order = &self.order;
        let lease = order.leases.first().map(|(at, ..)| *at);
        [lease, first(&order.delayed), first(&order.lives)].into_iter().flatten().min()
    }
}
