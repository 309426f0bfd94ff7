//! Pop: deliveries on a lease, as limits allow, and the same again for the same request.

use super::machine::Step;
use super::state::{Bucket, Job, JobNo, Place, Queue, Remembered};
use super::{BATCH_BYTES_MAX, Delivery, Limits, Popped, Receipt};
use crate::name::Name;

/// What a consumer wants.
pub(super) struct Wish<'a> {
    pub(super) request: u128,
    pub(super) max: u32,
    pub(super) lease_ms: u64,
    pub(super) ack: bool,
    pub(super) consumer: &'a Name,
}

/// Thousandths of a delivery in the bucket for one delivery.
const ONE: u64 = 1_000;

impl Queue {
    pub(super) fn pop(&mut self, step: &mut Step<'_>, wish: &Wish<'_>) -> Popped {
        if let Some(before) = self.pops.get_mut(&wish.request) {
            before.claimed = true;
            let before = before.clone();
            return self.again(step, &before);
        }
        if self.paused.is_some() {
            return Popped { paused: self.paused.clone(), ..Popped::default() };
        }
        let allowed = self.allowed(step.now_ms).min(u64::from(wish.max));
        let mut popped = Popped::default();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while u64::try_from(taken.len()).unwrap_or(u64::MAX) < allowed {
            let Some((_, no)) = self.order.ready.first_key_value() else { break };
            let no = *no;
            let size = self.jobs.get(&no).map_or(0, Job::bytes);
            if !taken.is_empty() && bytes + size > BATCH_BYTES_MAX {
                break;
            }
            bytes += size;
            let Some((delivery, token)) = self.deliver(step, no, wish) else { break };
            popped.jobs.push(delivery);
            taken.push((no, token));
        }
        if taken.is_empty() {
            popped.next_ms = self.next_try(step.now_ms);
            return popped;
        }
        self.spend(u64::try_from(taken.len()).unwrap_or(0));
        if wish.ack {
            for (no, token) in taken {
                self.finish(step.now_ms, no, token);
            }
        } else {
            let until_ms = step.now_ms.saturating_add(wish.lease_ms);
            self.remember_pop(wish.request, Remembered { until_ms, jobs: taken, claimed: false });
        }
        popped
    }

    /// What is left of an earlier answer.
    fn again(&self, step: &Step<'_>, before: &Remembered) -> Popped {
        let jobs = before.jobs.iter().filter_map(|(no, token)| {
            let job = self.jobs.get(no)?;
            let until_ms = job.leased_until(*token)?;
            Some(job.delivery(*token, until_ms.saturating_sub(step.now_ms), step.now_ms))
        });
        Popped { jobs: jobs.collect(), ..Popped::default() }
    }

    /// What nobody received goes back to the head, in its old order.
    pub(super) fn give_back(&mut self, step: &mut Step<'_>, request: u128) -> u64 {
        if self.pops.get(&request).is_none_or(|pop| pop.claimed) {
            return 0;
        }
        let jobs = self.forget_pop(request).map(|pop| pop.jobs).unwrap_or_default();
        let mut count = 0;
        for (no, token) in jobs.into_iter().rev() {
            let held = self.jobs.get(&no).filter(|job| job.leased_until(token).is_some());
            let Some(id) = held.map(|job| job.id.clone()) else { continue };
            self.release(step, &Receipt { id, token });
            count += 1;
        }
        count
    }

    fn deliver(
        &mut self,
        step: &mut Step<'_>,
        no: JobNo,
        wish: &Wish<'_>,
    ) -> Option<(Delivery, u64)> {
        *step.token += 1;
        let token = *step.token;
        let until_ms = step.now_ms.saturating_add(wish.lease_ms);
        self.change(no, |job| {
            job.place = Place::Leased { token, until_ms };
            job.attempts = job.attempts.saturating_add(1);
            job.consumer = Some(wish.consumer.clone());
        });
        self.totals.delivered += 1;
        let lease_ms = if wish.ack { 0 } else { wish.lease_ms };
        Some((self.jobs.get(&no)?.delivery(token, lease_ms, step.now_ms), token))
    }

    /// Deliveries that limits allow now.
    fn allowed(&mut self, now: u64) -> u64 {
        let mut allowed = u64::MAX;
        if self.limits.max_in_flight > 0 {
            let leased = u64::try_from(self.order.leases.len()).unwrap_or(u64::MAX);
            allowed = u64::from(self.limits.max_in_flight).saturating_sub(leased);
        }
        if self.limits.rate_per_s > 0 {
            self.bucket.fill(now, &self.limits);
            allowed = allowed.min(self.bucket.level / ONE);
        }
        allowed
    }

    fn spend(&mut self, deliveries: u64) {
        if self.limits.rate_per_s > 0 {
            self.bucket.level = self.bucket.level.saturating_sub(deliveries.saturating_mul(ONE));
        }
    }

    /// When asking again may give something that does not come by a push.
    fn next_try(&self, now: u64) -> Option<u64> {
        let by_rate = (self.limits.rate_per_s > 0 && !self.order.ready.is_empty()).then(|| {
            let missing = ONE.saturating_sub(self.bucket.level);
            missing.div_ceil(u64::from(self.limits.rate_per_s)).max(1)
        });
        let by_time = self.next_due().map(|due| due.saturating_sub(now));
        [by_rate, by_time].into_iter().flatten().min()
    }
}

impl Bucket {
    fn fill(&mut self, now: u64, limits: &Limits) {
        let room = u64::from(limits.burst.max(1)) * ONE;
        let came = now.saturating_sub(self.at_ms).saturating_mul(u64::from(limits.rate_per_s));
        self.level = self.level.saturating_add(came).min(room);
        self.at_ms = now;
    }
}

impl Job {
    /// When the lease under that token ends, if it is the one in force.
    pub(super) fn leased_until(&self, token: u64) -> Option<u64> {
        let Place::Leased { token: now, until_ms } = self.place else { return None };
        (now == token).then_some(until_ms)
    }

    pub(super) fn bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.payload.len() + headers
    }

    fn delivery(&self, token: u64, lease_ms: u64, now: u64) -> Delivery {
        Delivery {
            receipt: Receipt { id: self.id.clone(), token },
            payload: self.payload.clone(),
            priority: self.priority,
            attempt: self.attempts,
            max_attempts: self.max_attempts,
            lease_ms,
            age_ms: now.saturating_sub(self.pushed_ms),
            headers: self.headers.clone(),
            last_error: self.errors.last().cloned(),
        }
    }
}
