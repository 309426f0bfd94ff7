//! The invariants, judged from what a client sees alone.

use std::collections::BTreeMap;

use crate::api::queue::{
    Command, Delivery, JobId, NewJob, Outcome, Popped, Pushed, Receipt, Settled,
};

/// What a client can know.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pushed: BTreeMap<JobId, (NewJob, u64)>,
    /// Leases that were given and, as far as one can tell, not ended: token and end.
    leases: BTreeMap<JobId, (u64, u64)>,
    /// Failures of each job's present life.
    failures: BTreeMap<JobId, u32>,
    /// The commands that ended leases.
    ended: BTreeMap<Receipt, &'static str>,
    /// What each pop gave last.
    pops: BTreeMap<u128, Vec<Receipt>>,
    last_token: u64,
    /// Not delivered before.
    not_before: BTreeMap<JobId, u64>,
    pub(crate) deliveries: u64,
    pub(crate) stale: u64,
}

type Verdict = Result<(), String>;

impl Judge {
    /// Judges one step.
    pub(crate) fn see(&mut self, now: u64, command: &Command, outcome: &Outcome) -> Verdict {
        match (command, outcome) {
            (Command::Push { jobs }, Outcome::Pushed(done)) => {
                jobs.iter().zip(done).try_for_each(|(job, done)| self.pushed(now, job, done))
            }
            (Command::Pop { request, lease_ms, ack, .. }, Outcome::Popped(popped)) => {
                let receipts = popped.jobs.iter().map(|job| job.receipt.clone()).collect();
                self.pops.insert(*request, receipts);
                self.popped(now, *lease_ms, *ack, popped)
            }
            (Command::Extend { receipts, lease_ms }, Outcome::Settled(done)) => {
                for (receipt, done) in receipts.iter().zip(done) {
                    self.held(now, receipt, *done)?;
                    if *done == Settled::Done {
                        self.leases.insert(receipt.id.clone(), (receipt.token, now + lease_ms));
                    }
                }
                Ok(())
            }
            (Command::Ack { receipts }, Outcome::Settled(done)) => {
                self.settled(now, receipts, done, "ack", 0)
            }
            (Command::Nack { receipts, delay_ms, .. }, Outcome::Settled(done)) => {
                self.settled(now, receipts, done, "nack", delay_ms.unwrap_or(0))
            }
            (Command::Reject { receipts, .. }, Outcome::Settled(done)) => {
                self.settled(now, receipts, done, "reject", 0)
            }
            (Command::Release { receipts }, Outcome::Settled(done)) => {
                self.settled(now, receipts, done, "release", 0)
            }
            (Command::GiveBack { request }, Outcome::Moved(1..)) => {
                let taken = self.pops.remove(request).unwrap_or_default();
                let held = |one: &Receipt| {
                    let lease = self.leases.get(&one.id);
                    lease.is_some_and(|(token, until)| *token == one.token && *until > now)
                };
                let receipts: Vec<Receipt> = taken.into_iter().filter(held).collect();
                let done = vec![Settled::Done; receipts.len()];
                self.settled(now, &receipts, &done, "release", 0)
            }
            (Command::Purge, _) => {
                self.leases.clear();
                Ok(())
            }
            (Command::Redrive { .. }, _) => {
                // Which ones is not said: their failures begin anew, those of leases that ran out too.
                self.failures.clear();
                self.not_before.clear();
                self.leases.retain(|_, (_, until)| *until > now);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pushed(&mut self, now: u64, job: &NewJob, done: &Pushed) -> Verdict {
        if *done != Pushed::Created {
            return Ok(());
        }
        if let Some((token, until)) = self.leases.get(&job.id)
            && *until > now
        {
            return Err(format!("Q9: {} was created while leased under {token}", job.id));
        }
        self.leases.remove(&job.id);
        self.failures.remove(&job.id);
        self.not_before.insert(job.id.clone(), now + job.delay_ms);
        self.pushed.insert(job.id.clone(), (job.clone(), now));
        Ok(())
    }

    fn popped(&mut self, now: u64, lease_ms: u64, ack: bool, popped: &Popped) -> Verdict {
        let mut last = u8::MAX;
        for job in &popped.jobs {
            let id = &job.receipt.id;
            let Some((new, _)) = self.pushed.get(id) else {
                return Err(format!("Q2: {id} was delivered and never pushed"));
            };
            if (&new.payload, &new.headers) != (&job.payload, &job.headers) {
                return Err(format!("Q2: {id} came back with another payload"));
            }
            if self.leases.get(id).is_some_and(|(token, _)| *token == job.receipt.token) {
                continue;
            }
            self.delivered(now, job)?;
            if job.priority > last {
                return Err(format!("Q7: {id} was behind one of a lower priority"));
            }
            last = job.priority;
            if ack {
                self.leases.remove(id);
                self.ended.insert(job.receipt.clone(), "ack");
            } else {
                self.leases.insert(id.clone(), (job.receipt.token, now + lease_ms));
            }
        }
        Ok(())
    }

    fn delivered(&mut self, now: u64, job: &Delivery) -> Verdict {
        let (id, token) = (&job.receipt.id, job.receipt.token);
        self.deliveries += 1;
        if let Some((other, until)) = self.leases.remove(id) {
            if until > now {
                return Err(format!(
                    "Q3: {id} is leased under {other} until {until}, and {token} at {now}"
                ));
            }
            // It ran out.
            *self.failures.entry(id.clone()).or_default() += 1;
        }
        if token <= self.last_token {
            return Err(format!("Q4: token {token} after {}", self.last_token));
        }
        self.last_token = token;
        if self.not_before.get(id).is_some_and(|time| *time > now) {
            return Err(format!("Q7: {id} was delivered early, at {now}"));
        }
        let failures = self.failures.get(id).copied().unwrap_or(0);
        if job.max_attempts > 0 && failures >= job.max_attempts {
            return Err(format!("Q6: {id} failed {failures} times and was delivered again"));
        }
        Ok(())
    }

    /// An answer other than stale is for the lease in force, or repeats what was done.
    fn held(&mut self, now: u64, receipt: &Receipt, done: Settled) -> Verdict {
        if done == Settled::Stale {
            self.stale += 1;
            return Ok(());
        }
        match self.leases.get(&receipt.id) {
            Some((token, until)) if *token == receipt.token && *until > now => Ok(()),
            _ => Err(format!("Q4: {receipt} is stale, and was accepted")),
        }
    }

    fn settled(
        &mut self,
        now: u64,
        receipts: &[Receipt],
        done: &[Settled],
        how: &'static str,
        pause: u64,
    ) -> Verdict {
        for (receipt, done) in receipts.iter().zip(done) {
            if self.ended.get(receipt) == Some(&how) {
                continue;
            }
            self.held(now, receipt, *done)?;
            if *done == Settled::Stale {
                continue;
            }
            self.leases.remove(&receipt.id);
            self.ended.insert(receipt.clone(), how);
            if how == "nack" || how == "reject" {
                *self.failures.entry(receipt.id.clone()).or_default() += 1;
            }
            self.not_before.insert(receipt.id.clone(), now + pause);
        }
        Ok(())
    }
}
