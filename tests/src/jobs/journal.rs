//! What clients of a queue did and saw, and which promises that breaks.
//!
//! Times are the client's: a lease that a pop asked for at `sent` began between then and its answer,
//! so the job was certainly leased from the answer until `sent + lease`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The store's clock goes in whole milliseconds: what is over by it may lack up to one by a finer
/// clock.
const TICK: Duration = Duration::from_millis(1);

/// A delivery as its consumer saw it.
#[derive(Debug, Clone)]
struct Delivered {
    token: u64,
    attempt: u32,
    received: Instant,
    /// It was certainly leased until then, or until it was settled.
    leased_until: Instant,
    /// A command that may have ended the lease was sent then.
    settled: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
struct Job {
    payload: Vec<u8>,
    max_attempts: u32,
    /// The push was acknowledged.
    pushed: bool,
    not_before: Option<Instant>,
    delivered: Vec<Delivered>,
    /// Acknowledgements that were answered `done`.
    acked: BTreeSet<u64>,
    /// Acknowledgements whose answer got lost.
    maybe_acked: bool,
    /// Nacks and rejects answered `dead`.
    died: u32,
}

/// Shared by all clients of one queue.
#[derive(Debug, Default)]
pub struct Journal {
    jobs: Mutex<BTreeMap<String, Job>>,
    broken: Mutex<Vec<String>>,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Jobs whose push was acknowledged.
    pub pushed: usize,
    /// Jobs acknowledged by a consumer.
    pub acked: usize,
    /// Deliveries.
    pub deliveries: usize,
    /// Jobs delivered again.
    pub again: usize,
    /// Promises that were broken, in words.
    pub broken: Vec<String>,
}

impl Journal {
    fn broke(&self, what: String) {
        self.broken.lock().push(what);
    }

    /// A job is about to be pushed.
    pub fn pushing(&self, id: &str, payload: &[u8], max_attempts: u32, delay: Duration) {
        let job = Job {
            payload: payload.to_vec(),
            max_attempts,
            not_before: Some(Instant::now() + delay),
            ..Job::default()
        };
        if self.jobs.lock().insert(id.to_owned(), job).is_some() {
            self.broke(format!("the test pushed {id} twice"));
        }
    }

    /// The push was acknowledged.
    pub fn pushed(&self, id: &str) {
        if let Some(job) = self.jobs.lock().get_mut(id) {
            job.pushed = true;
        }
    }

    /// A job came; the pop was sent then and asked for that lease.
    pub fn delivered(
        &self,
        id: &str,
        token: u64,
        attempt: u32,
        payload: &[u8],
        lease_from: (Instant, Duration),
    ) {
        let (sent, lease) = lease_from;
        let now = Instant::now();
        let mut jobs = self.jobs.lock();
        let Some(job) = jobs.get_mut(id) else {
            drop(jobs);
            return self.broke(format!("Q2: {id} was delivered and never pushed"));
        };
        if job.payload != payload {
            self.broke(format!("Q2: the payload of {id} came back changed"));
        }
        if job.max_attempts > 0 && attempt > job.max_attempts {
            self.broke(format!("Q6: {id} was delivered {attempt} times of {}", job.max_attempts));
        }
        let early = job.not_before.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        if early >= TICK {
            self.broke(format!("Q7: {id} was delivered {early:?} too early"));
        }
        if !job.acked.is_empty() {
            self.broke(format!("Q5: {id} was delivered after it was acknowledged"));
        }
        // The same delivery may be told twice: a pop's answer that was lost and asked for again.
        if !job.delivered.iter().any(|one| one.token == token) {
            let leased_until = sent + lease.saturating_sub(TICK);
            let one = Delivered { token, attempt, received: now, leased_until, settled: None };
            job.delivered.push(one);
        }
    }

    /// A command that ends that lease is about to be sent.
    pub fn settling(&self, id: &str, token: u64) {
        let now = Instant::now();
        if let Some(job) = self.jobs.lock().get_mut(id) {
            for one in job.delivered.iter_mut().filter(|one| one.token == token) {
                one.settled.get_or_insert(now);
            }
        }
    }

    /// The lease was made longer by a command sent then.
    pub fn extended(&self, id: &str, token: u64, until: Instant) {
        if let Some(job) = self.jobs.lock().get_mut(id) {
            for one in job.delivered.iter_mut().filter(|one| one.token == token) {
                one.leased_until = one.leased_until.max(until - TICK);
            }
        }
    }

    /// An acknowledgement, sent then, was answered: done, or stale.
    pub fn acked(&self, id: &str, token: u64, sent: Instant, done: bool) {
        let mut jobs = self.jobs.lock();
        let Some(job) = jobs.get_mut(id) else { return };
        if !done {
            return;
        }
        let newer = job.delivered.iter().any(|one| one.token > token && one.received < sent);
        job.acked.insert(token);
        let twice = job.acked.len() > 1;
        drop(jobs);
        if newer {
            self.broke(format!("Q4: an old receipt of {id} was accepted"));
        }
        if twice {
            self.broke(format!("Q9: {id} was acknowledged under two receipts"));
        }
    }

    /// What became of an acknowledgement is not known.
    pub fn maybe_acked(&self, id: &str) {
        if let Some(job) = self.jobs.lock().get_mut(id) {
            job.maybe_acked = true;
        }
    }

    /// A failed delivery was answered: dead.
    pub fn died(&self, id: &str) {
        if let Some(job) = self.jobs.lock().get_mut(id) {
            job.died += 1;
        }
    }

    /// Jobs that were pushed and not yet acknowledged by anyone.
    pub fn open(&self) -> usize {
        let jobs = self.jobs.lock();
        jobs.values().filter(|job| job.pushed && job.acked.is_empty() && !job.maybe_acked).count()
    }

    /// Judges the whole, once the queue holds nothing but those dead letters. `faults`: something
    /// was killed or cut off meanwhile.
    pub fn judge(&self, dead: &BTreeSet<String>, faults: bool) -> Findings {
        let jobs = self.jobs.lock();
        let mut broken = self.broken.lock().clone();
        let mut findings = Findings::default();
        for (id, job) in &*jobs {
            findings.pushed += usize::from(job.pushed);
            findings.acked += usize::from(!job.acked.is_empty());
            findings.deliveries += job.delivered.len();
            findings.again += usize::from(job.delivered.len() > 1);
            let done = !job.acked.is_empty() || job.maybe_acked;
            let is_dead = dead.contains(id);
            if job.pushed && !done && !is_dead {
                broken.push(format!("Q1: {id} is lost: {job:?}"));
            }
            if is_dead && !job.acked.is_empty() {
                broken.push(format!("Q6: {id} was acknowledged and is dead"));
            }
            if job.died > 1 {
                broken.push(format!("Q6: {id} died {} times", job.died));
            }
            broken.extend(overlap(id, &job.delivered));
            if !faults && job.delivered.iter().filter(|one| one.attempt == 1).count() > 1 {
                broken.push(format!("Q8: {id} was delivered twice without a fault"));
            }
        }
        broken.extend(
            dead.iter()
                .filter(|id| !jobs.contains_key(*id))
                .map(|id| format!("Q2: {id} is dead and was never pushed")),
        );
        findings.broken = broken;
        findings
    }
}

/// Two deliveries of one job that were certainly leased at one time.
fn overlap(id: &str, delivered: &[Delivered]) -> Option<String> {
    let mut sorted: Vec<&Delivered> = delivered.iter().collect();
    sorted.sort_by_key(|one| one.token);
    sorted.windows(2).find_map(|pair| {
        let [first, second] = pair else { return None };
        let until = first.settled.map_or(first.leased_until, |at| at.min(first.leased_until));
        (second.received < until).then(|| {
            format!(
                "Q3: {id} was leased twice at one time, tokens {} and {}",
                first.token, second.token
            )
        })
    })
}
