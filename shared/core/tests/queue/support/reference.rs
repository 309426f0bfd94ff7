//! The queue as one would write it without a thought to speed: one list, searched every time.

use crate::api::queue::{
    Command, Delivery, JobId, Limits, NewJob, Outcome, Overflow, Popped, Pushed, Receipt, Settled,
    State, backoff_ms,
};

#[derive(Debug, Clone)]
struct Job {
    new: NewJob,
    pushed: u64,
    ends: Option<u64>,
    attempts: u32,
    errors: Vec<String>,
    ended: Option<(u64, &'static str)>,
    at: At,
}

#[derive(Debug, Clone)]
enum At {
    Ready(i64),
    Delayed(u64, bool),
    Leased(u64, u64),
    Dead(u64),
}

#[derive(Debug, Default)]
pub(crate) struct Reference {
    now: u64,
    token: u64,
    jobs: Vec<Job>,
    done: Vec<(JobId, u64, u64)>,
    pops: Vec<(u128, u64, Vec<Receipt>, bool)>,
    limits: Limits,
    paused: Option<String>,
    head: i64,
    tail: i64,
}

impl Reference {
    pub(crate) fn run(&mut self, now: u64, command: Option<&Command>) -> Option<Outcome> {
        self.now = now;
        self.pass_time();
        Some(match command? {
            Command::Push { jobs } => {
                Outcome::Pushed(jobs.iter().map(|job| self.push(job)).collect())
            }
            Command::Pop { request, max, lease_ms, ack, .. } => {
                Outcome::Popped(self.pop(*request, *max, *lease_ms, *ack))
            }
            Command::Ack { receipts } => self.each(receipts, "ack", Self::ack),
            Command::Nack { receipts, delay_ms, error } => {
                self.each(receipts, "nack", |me, at| me.fail(at, error, *delay_ms))
            }
            Command::Reject { receipts, error } => self.each(receipts, "reject", |me, at| {
                me.jobs[at].errors.push(error.clone());
                me.jobs[at].at = At::Dead(me.now);
                Settled::Dead
            }),
            Command::Release { receipts } => self.each(receipts, "release", Self::release),
            Command::GiveBack { request } => Outcome::Moved(self.give_back(*request)),
            Command::Extend { receipts, lease_ms } => {
                let until = self.now + lease_ms;
                Outcome::Settled(receipts.iter().map(|r| self.extend(r, until)).collect())
            }
            Command::Pause { reason } => {
                self.paused = Some(reason.clone());
                Outcome::Set
            }
            Command::Resume => {
                self.paused = None;
                Outcome::Set
            }
            Command::Limit { limits } => {
                self.limits = limits.clone();
                Outcome::Set
            }
            Command::Purge => {
                let before = self.jobs.len();
                self.jobs.retain(|job| matches!(job.at, At::Dead(_)));
                Outcome::Moved((before - self.jobs.len()) as u64)
            }
            // Not among the random commands: it is a beginning anew.
            Command::Delete => {
                let jobs = self.jobs.len() as u64;
                *self = Self { now: self.now, ..Self::default() };
                Outcome::Moved(jobs)
            }
            Command::Redrive { ids, max } => Outcome::Moved(self.redrive(ids, *max)),
            Command::PurgeDead { max, .. } => {
                let dead = self.dead(&[], *max);
                self.jobs.retain(|job| !dead.contains(&job.new.id));
                Outcome::Moved(dead.len() as u64)
            }
        })
    }

    fn release(&mut self, at: usize) -> Settled {
        self.jobs[at].attempts -= 1;
        if self.jobs[at].ends.is_some_and(|end| end <= self.now) {
            self.jobs[at].at = At::Dead(self.now);
            return Settled::Dead;
        }
        self.move_to_head(at);
        Settled::Done
    }

    fn give_back(&mut self, request: u128) -> u64 {
        let given = self.pops.iter().position(|(id, _, _, claimed)| *id == request && !claimed);
        let Some((_, _, receipts, _)) = given.map(|at| self.pops.remove(at)) else { return 0 };
        let held = |me: &Self, receipt: &Receipt| {
            let at = me.find(&receipt.id)?;
            matches!(me.jobs[at].at, At::Leased(token, _) if token == receipt.token).then_some(())
        };
        let back: Vec<Receipt> =
            receipts.into_iter().rev().filter(|one| held(self, one).is_some()).collect();
        for receipt in &back {
            // One by one: each is in front of those before.
            self.each(std::slice::from_ref(receipt), "release", Self::release);
        }
        back.len() as u64
    }

    /// Ready, delayed, leased, dead.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let mut counts = [0; 4];
        for job in &self.jobs {
            let place = match job.at {
                At::Ready(_) => 0,
                At::Delayed(..) => 1,
                At::Leased(..) => 2,
                At::Dead(_) => 3,
            };
            counts[place] += 1;
        }
        counts
    }

    fn pass_time(&mut self) {
        let now = self.now;
        let due = |job: &Job| match job.at {
            At::Leased(token, until) if until <= now => Some((0, until, token)),
            At::Ready(_) | At::Delayed(..) if job.ends.is_some_and(|end| end <= now) => {
                Some((1, job.ends.unwrap(), 0))
            }
            At::Delayed(due, _) if due <= now => Some((2, due, 0)),
            _ => None,
        };
        let (mut head, mut last) = (self.head, 0);
        while let Some(((kind, ..), at)) = (0..self.jobs.len())
            .filter_map(|at| {
                due(&self.jobs[at]).map(|(kind, time, token)| ((kind, time, token, at), at))
            })
            .min()
        {
            if kind != last {
                self.in_order(head);
                (head, last) = (self.head, kind);
            }
            match kind {
                0 => {
                    self.fail(at, "the lease of worker ran out", Some(0));
                }
                1 => self.jobs[at].at = At::Dead(now),
                _ => match self.jobs[at].at {
                    At::Delayed(_, true) => self.move_to_head(at),
                    _ => self.move_to_tail(at),
                },
            }
        }
        self.in_order(head);
        self.done.retain(|(_, _, until)| *until > now);
        self.pops.retain(|(_, until, ..)| *until > now);
    }

    /// What came to the head since it was there stands as it came.
    fn in_order(&mut self, before: i64) {
        for job in &mut self.jobs {
            if let At::Ready(order) = &mut job.at
                && *order < before
            {
                *order = self.head + before - 1 - *order;
            }
        }
    }

    fn move_to_head(&mut self, at: usize) {
        self.head -= 1;
        self.jobs[at].at = At::Ready(self.head);
    }

    fn move_to_tail(&mut self, at: usize) {
        self.tail += 1;
        self.jobs[at].at = At::Ready(self.tail);
    }

    fn find(&self, id: &JobId) -> Option<usize> {
        self.jobs.iter().position(|job| job.new.id == *id)
    }

    fn push(&mut self, new: &NewJob) -> Pushed {
        if let Some(at) = self.find(&new.id) {
            let state = match self.jobs[at].at {
                At::Ready(_) => State::Ready,
                At::Delayed(..) => State::Delayed,
                At::Leased(..) => State::Leased,
                At::Dead(_) => State::Dead,
            };
            return Pushed::Duplicate { state };
        }
        if self.done.iter().any(|(id, ..)| *id == new.id) {
            return Pushed::Duplicate { state: State::Done };
        }
        let [ready, delayed, leased, _] = self.counts();
        let max = self.limits.max_jobs;
        if max > 0 && ready + delayed + leased >= max {
            let victim = (0..self.jobs.len())
                .filter_map(|at| match self.jobs[at].at {
                    At::Ready(order) => Some((self.jobs[at].new.priority, order, at)),
                    _ => None,
                })
                .min();
            match victim {
                Some((.., at)) if self.limits.overflow == Overflow::DropOldest => {
                    self.jobs[at].at = At::Dead(self.now);
                }
                _ if max == 1 => return Pushed::Refused("the queue is full: 1 job".to_owned()),
                _ => return Pushed::Refused(format!("the queue is full: {max} jobs")),
            }
        }
        let at = if new.delay_ms > 0 {
            At::Delayed(self.now + new.delay_ms, false)
        } else {
            self.tail += 1;
            At::Ready(self.tail)
        };
        let ends = (new.ttl_ms > 0).then_some(self.now + new.ttl_ms);
        self.jobs.push(Job {
            new: new.clone(),
            pushed: self.now,
            ends,
            attempts: 0,
            errors: Vec::new(),
            ended: None,
            at,
        });
        Pushed::Created
    }

    fn pop(&mut self, request: u128, max: u32, lease_ms: u64, ack: bool) -> Popped {
        if let Some((_, _, receipts, claimed)) =
            self.pops.iter_mut().find(|(id, ..)| *id == request)
        {
            *claimed = true;
            let receipts = receipts.clone();
            let jobs = receipts.iter().filter_map(|receipt| {
                let job = &self.jobs[self.find(&receipt.id)?];
                match job.at {
                    At::Leased(token, until) if token == receipt.token => {
                        Some(self.delivery(job, token, until - self.now))
                    }
                    _ => None,
                }
            });
            return Popped { jobs: jobs.collect(), ..Popped::default() };
        }
        if self.paused.is_some() {
            return Popped { paused: self.paused.clone(), ..Popped::default() };
        }
        let mut jobs = Vec::new();
        while jobs.len() < max as usize {
            let leased = self.counts()[2];
            if self.limits.max_in_flight > 0 && leased >= u64::from(self.limits.max_in_flight) {
                break;
            }
            let first = (0..self.jobs.len())
                .filter_map(|at| match self.jobs[at].at {
                    At::Ready(order) => Some((9 - self.jobs[at].new.priority, order, at)),
                    _ => None,
                })
                .min();
            let Some((.., at)) = first else { break };
            self.token += 1;
            self.jobs[at].attempts += 1;
            self.jobs[at].at = At::Leased(self.token, self.now + lease_ms);
            jobs.push(self.delivery(&self.jobs[at], self.token, if ack { 0 } else { lease_ms }));
        }
        if ack {
            for job in &jobs {
                let at = self.find(&job.receipt.id).unwrap();
                self.finish(at, job.receipt.token);
            }
        } else if !jobs.is_empty() {
            let receipts = jobs.iter().map(|job| job.receipt.clone()).collect();
            self.pops.push((request, self.now + lease_ms, receipts, false));
        }
        Popped { jobs, ..Popped::default() }
    }

    fn delivery(&self, job: &Job, token: u64, lease_ms: u64) -> Delivery {
        Delivery {
            receipt: Receipt { id: job.new.id.clone(), token },
            payload: job.new.payload.clone(),
            priority: job.new.priority,
            attempt: job.attempts,
            max_attempts: job.new.max_attempts,
            lease_ms,
            age_ms: self.now - job.pushed,
            headers: job.new.headers.clone(),
            last_error: job.errors.last().cloned(),
        }
    }

    fn leased(&self, receipt: &Receipt) -> Option<usize> {
        let at = self.find(&receipt.id)?;
        matches!(self.jobs[at].at, At::Leased(token, _) if token == receipt.token).then_some(at)
    }

    fn each(
        &mut self,
        receipts: &[Receipt],
        name: &'static str,
        mut how: impl FnMut(&mut Self, usize) -> Settled,
    ) -> Outcome {
        let head = self.head;
        let one = |receipt: &Receipt| match self.leased(receipt) {
            Some(at) => {
                self.jobs[at].ended = Some((receipt.token, name));
                how(self, at)
            }
            None => self.repeated(receipt, name),
        };
        let settled = receipts.iter().map(one).collect();
        self.in_order(head);
        Outcome::Settled(settled)
    }

    fn repeated(&self, receipt: &Receipt, name: &str) -> Settled {
        if let Some(at) = self.find(&receipt.id) {
            return match self.jobs[at].ended {
                Some((token, how)) if (token, how) == (receipt.token, name) => {
                    if matches!(self.jobs[at].at, At::Dead(_)) {
                        Settled::Dead
                    } else {
                        Settled::Done
                    }
                }
                _ => Settled::Stale,
            };
        }
        let done = self.done.iter().find(|(id, ..)| *id == receipt.id);
        match done {
            Some((_, token, _)) if *token == receipt.token && name == "ack" => Settled::Done,
            _ => Settled::Stale,
        }
    }

    fn ack(&mut self, at: usize) -> Settled {
        let At::Leased(token, _) = self.jobs[at].at else { return Settled::Stale };
        self.finish(at, token);
        Settled::Done
    }

    fn finish(&mut self, at: usize, token: u64) {
        let job = self.jobs.remove(at);
        self.done.retain(|(id, ..)| *id != job.new.id);
        self.done.push((job.new.id, token, self.now + self.limits.dedup_ms));
    }

    fn fail(&mut self, at: usize, error: &str, delay: Option<u64>) -> Settled {
        let now = self.now;
        let job = &mut self.jobs[at];
        job.errors.push(error.to_owned());
        let over = job.new.max_attempts > 0 && job.attempts >= job.new.max_attempts;
        if over || job.ends.is_some_and(|end| end <= now) {
            job.at = At::Dead(now);
            return Settled::Dead;
        }
        let pause = delay.unwrap_or_else(|| backoff_ms(job.new.backoff, &job.new.id, job.attempts));
        if pause == 0 {
            self.move_to_head(at);
        } else {
            job.at = At::Delayed(now + pause, true);
        }
        Settled::Done
    }

    fn extend(&mut self, receipt: &Receipt, until: u64) -> Settled {
        let Some(at) = self.leased(receipt) else { return Settled::Stale };
        self.jobs[at].at = At::Leased(receipt.token, until);
        Settled::Done
    }

    /// Dead letters by id, or the oldest; of one time the one that was pushed first.
    fn dead(&self, ids: &[JobId], max: u32) -> Vec<JobId> {
        let mut dead: Vec<(u64, usize)> = (0..self.jobs.len())
            .filter_map(|at| match self.jobs[at].at {
                At::Dead(since) => Some((since, at)),
                _ => None,
            })
            .filter(|(_, at)| ids.is_empty() || ids.contains(&self.jobs[*at].new.id))
            .collect();
        dead.sort_unstable();
        dead.into_iter().take(max as usize).map(|(_, at)| self.jobs[at].new.id.clone()).collect()
    }

    fn redrive(&mut self, ids: &[JobId], max: u32) -> u64 {
        let dead = self.dead(ids, max);
        for id in &dead {
            let at = self.find(id).unwrap();
            self.move_to_tail(at);
            let now = self.now;
            let job = &mut self.jobs[at];
            job.attempts = 0;
            job.errors.clear();
            job.ended = None;
            job.ends = job.ends.map(|_| now + job.new.ttl_ms);
        }
        dead.len() as u64
    }
}
