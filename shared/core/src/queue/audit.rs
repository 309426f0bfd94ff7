//! Whether the indexes and counters of a queue agree with its jobs.

use std::ops::Bound;

use super::QueueMachine;
use super::state::{Job, JobNo, Place, Queue, rank};
use crate::name::Name;

/// Jobs that one part looks at: some milliseconds.
const PART: usize = 20_000;

/// An audit under way: part by part, so that a queue of millions holds nobody up.
#[derive(Debug, Clone)]
pub struct Audit {
    queue: Name,
    after: Option<JobNo>,
    found: Vec<String>,
    /// Sums over the jobs so far. They mean something only if nothing changed since it began.
    bytes: u64,
    lives: usize,
    index: u64,
}

impl Audit {
    /// Of that queue.
    pub fn new(queue: Name) -> Self {
        Self { queue, after: None, found: Vec::new(), bytes: 0, lives: 0, index: 0 }
    }

    fn note(&mut self, what: &str) {
        let text = format!("{what}: the index does not agree with the jobs");
        if !self.found.contains(&text) {
            self.found.push(text);
        }
    }
}

impl QueueMachine {
    /// Goes on with an audit. At its end gives what does not agree, in words: nothing if all does,
    /// or there is no such queue.
    pub fn audit(&self, audit: &mut Audit) -> Option<Vec<String>> {
        let Some(queue) = self.queue(&audit.queue) else { return Some(Vec::new()) };
        if audit.after.is_none() {
            audit.index = self.index();
            queue.audit_sizes(audit);
        }
        let from = audit.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut part = queue.jobs.range((from, Bound::Unbounded)).take(PART).peekable();
        if part.peek().is_some() {
            for (no, job) in part {
                queue.audit_job(*no, job, audit);
                audit.after = Some(*no);
            }
            return None;
        }
        if audit.index == self.index() {
            queue.audit_sums(audit);
        }
        Some(std::mem::take(&mut audit.found))
    }
}

impl Queue {
    fn audit_sizes(&self, audit: &mut Audit) {
        let order = &self.order;
        let places =
            order.ready.len() + order.delayed.len() + order.leases.len() + order.dead.len();
        for (what, is, must) in [
            ("ids", order.ids.len(), self.jobs.len()),
            ("places", places, self.jobs.len()),
            ("done ids", order.done.len(), self.done.len()),
            ("pops", order.pops.len(), self.pops.len()),
        ] {
            if is != must {
                audit.note(what);
            }
        }
        let here = u64::try_from(self.jobs.len()).unwrap_or(u64::MAX);
        let (pushed, out) = (self.totals.pushed, self.totals.acked + self.totals.purged + here);
        if pushed != out {
            audit.found.push(format!(
                "{pushed} were pushed, but {out} were acknowledged, purged or are here"
            ));
        }
    }

    fn audit_job(&self, no: JobNo, job: &Job, audit: &mut Audit) {
        let order = &self.order;
        if order.ids.get(&job.id) != Some(&no) {
            audit.note("ids");
        }
        let (what, agrees) = match &job.place {
            Place::Ready { order: place } => {
                ("ready jobs", order.ready.get(&(rank(job.priority), *place)) == Some(&no))
            }
            Place::Delayed { due_ms, .. } => {
                ("delayed jobs", order.delayed.contains(&(*due_ms, no)))
            }
            Place::Leased { token, until_ms } => {
                ("leases", order.leases.contains(&(*until_ms, *token, no)))
            }
            Place::Dead { since_ms, .. } => ("dead letters", order.dead.contains(&(*since_ms, no))),
        };
        if !agrees {
            audit.note(what);
        }
        if job.may_expire() {
            audit.lives += 1;
            if !order.lives.contains(&(job.expires_ms, no)) {
                audit.note("lives");
            }
        }
        audit.bytes += u64::try_from(job.payload.len()).unwrap_or(u64::MAX);
    }

    fn audit_sums(&self, audit: &mut Audit) {
        if audit.lives != self.order.lives.len() {
            audit.note("lives");
        }
        if audit.bytes != self.order.bytes {
            audit.note("bytes");
        }
    }
}
