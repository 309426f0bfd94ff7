//! Dead letters and what removes jobs by name.

use std::collections::BTreeSet;

use super::JobId;
use super::machine::Step;
use super::state::{End, JobNo, Place, Queue};

impl Queue {
    /// Removes all that is ready, delayed or leased.
    pub(super) fn purge(&mut self) -> u64 {
        let live: Vec<JobNo> = self
            .jobs
            .iter()
            .filter(|(_, job)| !matches!(job.place, Place::Dead { .. }))
            .map(|(no, _)| *no)
            .collect();
        for no in &live {
            self.remove(*no);
        }
        let count = u64::try_from(live.len()).unwrap_or(u64::MAX);
        self.totals.purged += count;
        count
    }

    /// Dead letters by id, or the oldest.
    fn dead(&self, ids: &[JobId], max: u32) -> Vec<JobNo> {
        let most = usize::try_from(max).unwrap_or(usize::MAX);
        if ids.is_empty() {
            return self.order.dead.iter().take(most).map(|(_, no)| *no).collect();
        }
        let dead = |no: &&JobNo| {
            matches!(self.jobs.get(no).map(|job| &job.place), Some(Place::Dead { .. }))
        };
        ids.iter()
            .filter_map(|id| self.order.ids.get(id))
            .filter(dead)
            .take(most)
            .copied()
            .collect()
    }

    pub(super) fn redrive(&mut self, step: &mut Step<'_>, ids: &[JobId], max: u32) -> u64 {
        // The same id twice is one job.
        let mut chosen = self.dead(ids, max);
        let mut seen = BTreeSet::new();
        chosen.retain(|no| seen.insert(*no));
        for no in &chosen {
            let place = self.ready_at(End::Tail);
            let now = step.now_ms;
            self.change(*no, |job| {
                job.attempts = 0;
                job.errors.clear();
                job.ended = None;
                if job.ttl_ms > 0 {
                    job.expires_ms = now.saturating_add(job.ttl_ms);
                }
                job.place = place;
            });
        }
        step.woken |= !chosen.is_empty();
        let count = u64::try_from(chosen.len()).unwrap_or(u64::MAX);
        self.totals.redriven += count;
        count
    }

    pub(super) fn purge_dead(&mut self, ids: &[JobId], max: u32) -> u64 {
        // The same id twice is one job: count what was there.
        let mut count = 0;
        for no in self.dead(ids, max) {
            count += u64::from(self.remove(no).is_some());
        }
        self.totals.purged += count;
        count
    }
}
