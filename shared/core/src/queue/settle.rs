//! Receipts: what ends a lease or prolongs it, and what an expired one leads to.

use super::machine::Step;
use super::state::{End, Ended, Job, JobNo, Place, Queue};
use super::{ERROR_MAX, ERRORS_KEPT, Outcome, Receipt, Settled, backoff_ms};

impl Queue {
    pub(super) fn settle(
        &mut self,
        step: &mut Step<'_>,
        receipts: &[Receipt],
        mut one: impl FnMut(&mut Self, &mut Step<'_>, &Receipt) -> Settled,
    ) -> Outcome {
        let settled = receipts.iter().map(|receipt| one(self, step, receipt)).collect();
        self.in_order(step);
        Outcome::Settled(settled)
    }

    /// The job that is leased under that receipt.
    fn leased(&self, receipt: &Receipt) -> Option<JobNo> {
        let no = *self.order.ids.get(&receipt.id)?;
        self.jobs.get(&no)?.leased_until(receipt.token).map(|_| no)
    }

    /// The answer for a receipt that holds no lease: as before when the same was done with it.
    fn not_leased(&self, receipt: &Receipt, wanted: Ended) -> Settled {
        let job = self.order.ids.get(&receipt.id).and_then(|no| self.jobs.get(no));
        let known = match job {
            Some(job) => job.ended,
            None => self.done.get(&receipt.id).map(|done| (done.token, Ended::Acked)),
        };
        if known != Some((receipt.token, wanted)) {
            return Settled::Stale;
        }
        match job.map(|job| &job.place) {
            Some(Place::Dead { .. }) => Settled::Dead,
            _ => Settled::Done,
        }
    }

    pub(super) fn ack(&mut self, step: &mut Step<'_>, receipt: &Receipt) -> Settled {
        let Some(no) = self.leased(receipt) else {
            return self.not_leased(receipt, Ended::Acked);
        };
        self.finish(step.now_ms, no, receipt.token);
        // A place in flight is free.
        step.woken |= self.limits.max_in_flight > 0;
        Settled::Done
    }

    /// The job is done: gone, its id remembered.
    pub(super) fn finish(&mut self, now: u64, no: JobNo, token: u64) {
        if let Some(job) = self.remove(no) {
            self.totals.acked += 1;
            if self.limits.dedup_ms > 0 {
                let until = now.saturating_add(self.limits.dedup_ms);
                self.remember_done(job.id, token, until);
            }
        }
    }

    pub(super) fn nack(
        &mut self,
        step: &mut Step<'_>,
        receipt: &Receipt,
        delay_ms: Option<u64>,
        error: &str,
    ) -> Settled {
        let Some(no) = self.leased(receipt) else {
            return self.not_leased(receipt, Ended::Nacked);
        };
        self.ended(no, receipt.token, Ended::Nacked);
        let pause = delay_ms.or_else(|| {
            self.jobs.get(&no).map(|job| backoff_ms(job.backoff, &job.id, job.attempts))
        });
        self.failed(step, no, error, pause.unwrap_or(0))
    }

    pub(super) fn reject(
        &mut self,
        step: &mut Step<'_>,
        receipt: &Receipt,
        error: &str,
    ) -> Settled {
        let Some(no) = self.leased(receipt) else {
            return self.not_leased(receipt, Ended::Rejected);
        };
        self.ended(no, receipt.token, Ended::Rejected);
        self.totals.failed += 1;
        self.change(no, |job| job.note(error));
        self.bury(step, no, "rejected".to_owned());
        step.woken |= self.limits.max_in_flight > 0;
        Settled::Dead
    }

    pub(super) fn release(&mut self, step: &mut Step<'_>, receipt: &Receipt) -> Settled {
        let Some(no) = self.leased(receipt) else {
            return self.not_leased(receipt, Ended::Released);
        };
        self.ended(no, receipt.token, Ended::Released);
        self.change(no, |job| job.attempts = job.attempts.saturating_sub(1));
        if self.jobs.get(&no).is_some_and(|job| job.expires_ms <= step.now_ms) {
            self.bury(step, no, job_expired());
            step.woken |= self.limits.max_in_flight > 0;
            return Settled::Dead;
        }
        self.back_to_head(step, no);
        Settled::Done
    }

    pub(super) fn extend(
        &mut self,
        step: &mut Step<'_>,
        receipt: &Receipt,
        lease_ms: u64,
    ) -> Settled {
        let Some(no) = self.leased(receipt) else { return Settled::Stale };
        let until_ms = step.now_ms.saturating_add(lease_ms);
        let token = receipt.token;
        self.change(no, |job| job.place = Place::Leased { token, until_ms });
        Settled::Done
    }

    fn ended(&mut self, no: JobNo, token: u64, how: Ended) {
        if let Some(job) = self.jobs.get_mut(&no) {
            job.ended = Some((token, how));
        }
    }

    /// A delivery failed: another try after a pause, or the dead letters.
    fn failed(&mut self, step: &mut Step<'_>, no: JobNo, error: &str, pause: u64) -> Settled {
        self.totals.failed += 1;
        step.woken |= self.limits.max_in_flight > 0;
        self.change(no, |job| job.note(error));
        let Some(job) = self.jobs.get(&no) else { return Settled::Stale };
        if job.expires_ms <= step.now_ms {
            self.bury(step, no, job_expired());
            return Settled::Dead;
        }
        if job.max_attempts > 0 && job.attempts >= job.max_attempts {
            let times = if job.attempts == 1 { "time" } else { "times" };
            let cause = format!("failed {} {times}", job.attempts);
            self.bury(step, no, cause);
            return Settled::Dead;
        }
        if pause == 0 {
            self.back_to_head(step, no);
        } else {
            let due_ms = step.now_ms.saturating_add(pause);
            self.change(no, |job| job.place = Place::Delayed { due_ms, head: true });
        }
        Settled::Done
    }

    pub(super) fn back_to_head(&mut self, step: &mut Step<'_>, no: JobNo) {
        let place = self.ready_at(End::Head);
        self.change(no, |job| job.place = place);
        step.heads.push(no);
        step.woken = true;
    }

    /// What came back to the head together stands there as it came, not the other way round.
    fn in_order(&mut self, step: &mut Step<'_>) {
        let heads = std::mem::take(&mut step.heads);
        // Each leaves its place before another one takes it.
        let leave = |queue: &mut Self, no| {
            let job = queue.jobs.get(no)?;
            queue.order.leave(*no, job);
            Some(job.place.clone())
        };
        let places: Vec<Option<Place>> = heads.iter().rev().map(|no| leave(self, no)).collect();
        for (no, place) in heads.into_iter().zip(places) {
            if let (Some(job), Some(place)) = (self.jobs.get_mut(&no), place) {
                job.place = place;
                self.order.enter(no, job);
            }
        }
    }

    /// Carries out what ends by itself by now, at most `most` of it; gives how much that was.
    pub(super) fn sweep(&mut self, step: &mut Step<'_>, most: usize) -> usize {
        let mut count = 0;
        for end in [Self::end_lease, Self::end_life, Self::end_delay] {
            while count < most && end(self, step) {
                count += 1;
            }
            self.in_order(step);
        }
        self.forget(step.now_ms, most);
        count
    }

    fn end_lease(&mut self, step: &mut Step<'_>) -> bool {
        let Some((until, _, no)) = self.order.leases.first().copied() else { return false };
        if until > step.now_ms {
            return false;
        }
        self.totals.expired += 1;
        let who = self.jobs.get(&no).and_then(|job| job.consumer.clone());
        let who = who.map_or_else(String::new, |name| format!(" of {name}"));
        self.failed(step, no, &format!("the lease{who} ran out"), 0);
        true
    }

    fn end_life(&mut self, step: &mut Step<'_>) -> bool {
        let Some((until, no)) = self.order.lives.first().copied() else { return false };
        if until > step.now_ms {
            return false;
        }
        self.bury(step, no, job_expired());
        true
    }

    fn end_delay(&mut self, step: &mut Step<'_>) -> bool {
        let Some((due, no)) = self.order.delayed.first().copied() else { return false };
        if due > step.now_ms {
            return false;
        }
        let head = matches!(
            self.jobs.get(&no).map(|job| &job.place),
            Some(Place::Delayed { head: true, .. })
        );
        if head {
            self.back_to_head(step, no);
        } else {
            let place = self.ready_at(End::Tail);
            self.change(no, |job| job.place = place);
            step.woken = true;
        }
        true
    }
}

fn job_expired() -> String {
    "expired: its time to live was over".to_owned()
}

/// What is kept of an error's text.
pub(crate) fn kept_error(error: &str) -> &str {
    let mut end = error.len().min(ERROR_MAX);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.get(..end).unwrap_or_default()
}

impl Job {
    /// Keeps a failure's words.
    fn note(&mut self, error: &str) {
        if self.errors.len() >= ERRORS_KEPT {
            self.errors.remove(0);
        }
        self.errors.push(kept_error(error).to_owned());
    }
}
