//! Reads: counts, jobs, and whether the counts are right.

use std::collections::BTreeSet;

use super::audit::Audit;
use super::machine::QueueMachine;
use super::state::{Job, JobNo, Place, Queue};
use super::{JobView, PEEK_BYTES, Query, Seen, State, Stats};
use crate::name::Name;

/// Queues of one page.
pub(crate) const QUEUES_PAGE: u32 = 1_000;
/// Jobs of one page: with their payloads' beginnings they fit in a frame.
pub(crate) const JOBS_PAGE: u32 = 100;

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn page(limit: u32, most: u32) -> usize {
    usize::try_from(limit.clamp(1, most)).unwrap_or(1)
}

impl QueueMachine {
    /// Answers a read as of `now_ms`, which may be later than the last entry.
    pub fn query(&self, now_ms: u64, query: &Query) -> Seen {
        let now = now_ms.max(self.now_ms);
        match query {
            Query::Queues { prefix, after, limit } => {
                self.list(now, prefix, after.as_ref(), *limit)
            }
            Query::Stats { queue } => {
                Seen::Stats(self.queues.get(queue).map(|found| found.stats(queue, now)))
            }
            Query::Peek { queue, state, skip, limit } => {
                let (items, more) = self
                    .queues
                    .get(queue)
                    .map(|found| found.peek(*state, *skip, page(*limit, JOBS_PAGE), now))
                    .unwrap_or_default();
                Seen::Jobs { items, more }
            }
            Query::Job { queue, id } => {
                let job = self.queues.get(queue).and_then(|found| {
                    let no = found.order.ids.get(id)?;
                    Some(found.jobs.get(no)?.view(now))
                });
                Seen::Job(job)
            }
            Query::Audit { queue } => {
                let mut audit = Audit::new(queue.clone());
                loop {
                    if let Some(found) = self.audit(&mut audit) {
                        return Seen::Audit(found);
                    }
                }
            }
        }
    }

    /// Ready jobs of a queue.
    pub fn ready(&self, queue: &Name) -> usize {
        self.queues.get(queue).map_or(0, |found| found.order.ready.len())
    }

    fn list(&self, now: u64, prefix: &str, after: Option<&Name>, limit: u32) -> Seen {
        let limit = page(limit, QUEUES_PAGE);
        let mut found = self
            .queues
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix))
            .filter(|(name, _)| after.is_none_or(|after| *name > after));
        let items =
            found.by_ref().take(limit).map(|(name, queue)| queue.stats(name, now)).collect();
        Seen::Queues { items, more: found.next().is_some() }
    }
}

impl Queue {
    pub(super) fn stats(&self, name: &Name, now: u64) -> Stats {
        let order = &self.order;
        Stats {
            queue: name.clone(),
            ready: count(order.ready.len()),
            delayed: count(order.delayed.len()),
            leased: count(order.leases.len()),
            dead: count(order.dead.len()),
            oldest_ms: self.oldest().map(|pushed| now.saturating_sub(pushed)),
            bytes: order.bytes,
            paused: self.paused.clone(),
            limits: self.limits.clone(),
            totals: self.totals,
        }
    }

    /// When the first job of a priority was pushed, of all priorities the earliest.
    fn oldest(&self) -> Option<u64> {
        let mut rank = 0;
        let mut oldest = None;
        while let Some(((found, _), no)) = self.order.ready.range((rank, i64::MIN)..).next() {
            let pushed = self.jobs.get(no).map(|job| job.pushed_ms);
            oldest = [oldest, pushed].into_iter().flatten().min();
            rank = found.saturating_add(1);
        }
        oldest
    }

    fn peek(&self, state: State, skip: u32, limit: usize, now: u64) -> (Vec<JobView>, bool) {
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let second = |set: &BTreeSet<(u64, JobNo)>| -> (Vec<JobNo>, usize) {
            (set.iter().skip(skip).take(limit).map(|(_, no)| *no).collect(), set.len())
        };
        let (numbers, all) = match state {
            State::Ready => {
                let ready = &self.order.ready;
                (ready.values().skip(skip).take(limit).copied().collect(), ready.len())
            }
            State::Delayed => second(&self.order.delayed),
            State::Leased => {
                let leases = &self.order.leases;
                let page = leases.iter().skip(skip).take(limit).map(|(.., no)| *no);
                (page.collect(), leases.len())
            }
            State::Dead => second(&self.order.dead),
            State::Done => (Vec::new(), 0),
        };
        let more = all > skip.saturating_add(numbers.len());
        let views = numbers.iter().filter_map(|no| self.jobs.get(no)).map(|job| job.view(now));
        (views.collect(), more)
    }
}

impl Job {
    fn view(&self, now: u64) -> JobView {
        let (time_ms, cause) = match &self.place {
            Place::Ready { .. } => (0, None),
            Place::Delayed { due_ms: until, .. } | Place::Leased { until_ms: until, .. } => {
                (until.saturating_sub(now), None)
            }
            Place::Dead { since_ms, cause } => (now.saturating_sub(*since_ms), Some(cause.clone())),
        };
        JobView {
            id: self.id.clone(),
            state: self.place.state(),
            priority: self.priority,
            attempts: self.attempts,
            max_attempts: self.max_attempts,
            age_ms: now.saturating_sub(self.pushed_ms),
            time_ms,
            consumer: self.consumer.clone(),
            errors: self.errors.clone(),
            cause,
            headers: self.headers.clone(),
            payload: self.payload.iter().take(PEEK_BYTES).copied().collect(),
            payload_bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
        }
    }
}
