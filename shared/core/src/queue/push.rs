//! Push: in, a duplicate, or refused.

use super::machine::Step;
use super::state::{JobNo, Place, Queue};
use super::{NewJob, Overflow, Pushed, State};

impl Queue {
    pub(super) fn push(&mut self, step: &mut Step<'_>, jobs: &[NewJob]) -> Vec<Pushed> {
        jobs.iter().map(|job| self.push_one(step, job)).collect()
    }

    fn push_one(&mut self, step: &mut Step<'_>, job: &NewJob) -> Pushed {
        if let Some(state) = self.state_of(&job.id) {
            self.totals.duplicates += 1;
            return Pushed::Duplicate { state };
        }
        let full = self.limits.max_jobs > 0 && self.live() >= self.limits.max_jobs;
        if full && !self.make_room(step) {
            self.totals.refused += 1;
            return Pushed::Refused(full_text(&self.limits.max_jobs.to_string()));
        }
        self.totals.pushed += 1;
        self.add(step.now_ms, job.clone());
        step.woken = true;
        Pushed::Created
    }

    /// Where the job of that id is; `None`: nowhere.
    pub(super) fn state_of(&self, id: &super::JobId) -> Option<State> {
        match self.order.ids.get(id).and_then(|no| self.jobs.get(no)) {
            Some(job) => Some(job.place.state()),
            None => self.done.contains_key(id).then_some(State::Done),
        }
    }

    /// Sends the next job of the lowest priority to the dead letters, if that is wanted.
    fn make_room(&mut self, step: &Step<'_>) -> bool {
        if self.limits.overflow == Overflow::Reject {
            return false;
        }
        let Some(((lowest, _), _)) = self.order.ready.last_key_value() else { return false };
        let first = self.order.ready.range((*lowest, i64::MIN)..).next();
        let Some(no) = first.map(|(_, no)| *no) else { return false };
        self.bury(
            step,
            no,
            format!("dropped: the queue was full at {} jobs", self.limits.max_jobs),
        );
        true
    }

    /// To the dead letters.
    pub(super) fn bury(&mut self, step: &Step<'_>, no: JobNo, cause: String) {
        self.totals.died += 1;
        let since_ms = step.now_ms;
        self.change(no, |job| job.place = Place::Dead { since_ms, cause });
    }
}

impl Place {
    pub(super) fn state(&self) -> State {
        match self {
            Self::Ready { .. } => State::Ready,
            Self::Delayed { .. } => State::Delayed,
            Self::Leased { .. } => State::Leased,
            Self::Dead { .. } => State::Dead,
        }
    }
}

/// Why a push was refused, in both stores.
pub(super) fn full_text(limit: &str) -> String {
    let jobs = if limit == "1" { "job" } else { "jobs" };
    format!("the queue is full: {limit} {jobs}")
}
