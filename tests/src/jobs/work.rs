//! Producers and consumers that do everything one may do to a queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::{QueueReply, QueueRequest, Ring};
use dsync::{CallOptions, Client};
use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::{
    Backoff, Command, Delivery, JobId, NewJob, Outcome, Pushed, Query, Receipt, Seen, Settled,
    State, Stats,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::journal::{Findings, Journal};
use crate::process::Cluster;
use crate::process::cluster::client_of;

/// Lease of every pop.
const LEASE: Duration = Duration::from_secs(3);
/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(8);

/// What the clients do.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Producers.
    pub producers: usize,
    /// Consumers.
    pub consumers: usize,
    /// Jobs in all.
    pub jobs: u64,
    /// Consumers fail, give back, prolong and forget now and then.
    pub rough: bool,
    /// Pause of a producer after each push, to spread the load over the faults.
    pub pause: Duration,
}

/// Clients at work on one queue.
#[derive(Debug)]
pub struct Load {
    /// What they did and saw.
    pub journal: Arc<Journal>,
    producers: Vec<JoinHandle<()>>,
    consumers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// Starts the clients; `client` makes one by its name.
    pub fn start(client: impl Fn(&str) -> Client, queue: &Name, seed: u64, mix: Mix) -> Self {
        let journal = Arc::<Journal>::default();
        let stop = Arc::<AtomicBool>::default();
        let left = Arc::new(AtomicU64::new(mix.jobs));
        let make = |what: &str, number: usize| Worker {
            client: client(&format!("{what}-{number}")),
            queue: queue.clone(),
            journal: Arc::clone(&journal),
            random: StdRng::seed_from_u64(seed ^ (u64::try_from(number).unwrap_or(0) << 32)),
            mix,
        };
        let producers = (0..mix.producers)
            .map(|n| tokio::spawn(make("producer", n).produce(Arc::clone(&left))))
            .collect();
        let consumers = (0..mix.consumers)
            .map(|n| tokio::spawn(make("consumer", n + 1_000).consume(Arc::clone(&stop))))
            .collect();
        Self { journal, producers, consumers, stop }
    }

    /// True once every job was pushed.
    pub fn all_pushed(&self) -> bool {
        self.producers.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all is pushed, and until the consumers have emptied the queue or `within` is
    /// over; then stops them.
    pub async fn finish(self, client: &Client, queue: &Name, within: Duration) -> Arc<Journal> {
        for producer in self.producers {
            producer.await.expect("a producer ends");
        }
        drain(client, queue, within).await;
        self.stop.store(true, Ordering::Relaxed);
        for consumer in self.consumers {
            consumer.await.expect("a consumer ends");
        }
        self.journal
    }
}

impl Load {
    /// [Finishes](Self::finish) within a minute, and ends the test if a promise was broken.
    pub async fn judge(self, client: &Client, queue: &Name, faults: bool) -> Findings {
        let journal = self.finish(client, queue, Duration::from_secs(60)).await;
        let found = journal.judge(&dead_ids(client, queue).await, faults);
        assert!(found.broken.is_empty(), "{:#?}", found.broken);
        assert!(found.pushed > 0 && found.acked > 0, "{found:?}");
        found
    }
}

struct Worker {
    client: Client,
    queue: Name,
    journal: Arc<Journal>,
    random: StdRng,
    mix: Mix,
}

impl Worker {
    async fn call(&self, command: Command, wait: Duration) -> Result<Outcome, Fault> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(0);
        let request =
            QueueRequest::Do { queue: self.queue.clone(), command, wait_ms, durability: None };
        let options = CallOptions { timeout: TIMEOUT + wait, ..CallOptions::default() };
        match self.client.queue(request, options).await?.result? {
            QueueReply::Outcome { outcome, .. } => Ok(outcome),
            other => panic!("a command was answered {other:?}"),
        }
    }

    async fn produce(mut self, left: Arc<AtomicU64>) {
        loop {
            let wanted = self.random.random_range(1..=5);
            let take = |left: u64| (left > 0).then(|| left.saturating_sub(wanted));
            let Ok(before) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else {
                return;
            };
            let jobs: Vec<NewJob> = (0..wanted.min(before)).map(|_| self.new_job()).collect();
            self.push(jobs).await;
            sleep(self.mix.pause).await;
        }
    }

    fn new_job(&mut self) -> NewJob {
        let length = self.random.random_range(0..200);
        let payload: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        let delayed = self.mix.rough && self.random.random_ratio(1, 10);
        NewJob {
            id: JobId::random(self.random.random()),
            payload,
            priority: self.random.random_range(0..=9),
            delay_ms: if delayed { self.random.random_range(1..400) } else { 0 },
            max_attempts: 4,
            backoff: Backoff { base_ms: 50, max_ms: 200 },
            ttl_ms: 0,
            headers: Vec::new(),
        }
    }

    /// Pushes until it is known to be there: a job that was pushed before is a duplicate.
    async fn push(&mut self, jobs: Vec<NewJob>) {
        for job in &jobs {
            let delay = Duration::from_millis(job.delay_ms);
            self.journal.pushing(job.id.as_str(), &job.payload, job.max_attempts, delay);
        }
        loop {
            match self.call(Command::Push { jobs: jobs.clone() }, Duration::ZERO).await {
                Ok(Outcome::Pushed(pushed)) => {
                    assert_eq!(pushed.len(), jobs.len());
                    for (job, pushed) in jobs.iter().zip(pushed) {
                        assert!(!matches!(pushed, Pushed::Refused(_)), "{pushed:?}");
                        self.journal.pushed(job.id.as_str());
                    }
                    return;
                }
                Ok(other) => panic!("a push was answered {other:?}"),
                Err(fault) => {
                    assert!(fault.retryable, "{fault:?}");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn consume(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(0);
            let pop = Command::Pop {
                request: self.random.random(),
                max: self.random.random_range(1..=10),
                lease_ms,
                ack: false,
                consumer: Name::parse("consumer", "c").expect("a name"),
            };
            let sent = Instant::now();
            match self.call(pop, Duration::from_secs(1)).await {
                Ok(Outcome::Popped(popped)) => {
                    for job in &popped.jobs {
                        let receipt = &job.receipt;
                        let lease = Duration::from_millis(job.lease_ms.min(lease_ms));
                        // What was asked for again has its lease from before: counted from now back.
                        let from = if job.lease_ms < lease_ms { Instant::now() } else { sent };
                        let id = receipt.id.as_str();
                        let of = (from.min(sent), lease);
                        self.journal.delivered(id, receipt.token, job.attempt, &job.payload, of);
                    }
                    for job in popped.jobs {
                        self.work(job).await;
                    }
                }
                Ok(other) => panic!("a pop was answered {other:?}"),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn work(&mut self, job: Delivery) {
        let chance = if self.mix.rough { self.random.random_range(0..100) } else { 100 };
        let receipts = vec![job.receipt.clone()];
        match chance {
            0 => {} // Forgotten: the lease ends.
            1..=5 => self.fail(&job, false).await,
            6 => self.fail(&job, true).await,
            7..=9 => {
                self.journal.settling(job.receipt.id.as_str(), job.receipt.token);
                // Whatever became of it, the lease ends.
                drop(self.call(Command::Release { receipts }, Duration::ZERO).await);
            }
            10..=12 => {
                let sent = Instant::now();
                let extend = Command::Extend { receipts, lease_ms: 3_000 };
                let done = self.call(extend, Duration::ZERO).await;
                if done == Ok(Outcome::Settled(vec![Settled::Done])) {
                    let (id, token) = (job.receipt.id.as_str(), job.receipt.token);
                    self.journal.extended(id, token, sent + Duration::from_secs(3));
                }
                self.ack(&job.receipt).await;
            }
            _ => self.ack(&job.receipt).await,
        }
    }

    async fn fail(&self, job: &Delivery, for_good: bool) {
        let id = job.receipt.id.as_str();
        self.journal.settling(id, job.receipt.token);
        let receipts = vec![job.receipt.clone()];
        let error = "the test wants it so".to_owned();
        let command = if for_good {
            Command::Reject { receipts, error }
        } else {
            Command::Nack { receipts, delay_ms: None, error }
        };
        if let Ok(Outcome::Settled(settled)) = self.call(command, Duration::ZERO).await
            && settled == [Settled::Dead]
        {
            self.journal.died(id);
        }
    }

    /// Acknowledges, and asks again while the answer is lost.
    async fn ack(&self, receipt: &Receipt) {
        let (id, token) = (receipt.id.as_str(), receipt.token);
        self.journal.settling(id, token);
        let mut sent = Instant::now();
        for _ in 0..20 {
            let ack = Command::Ack { receipts: vec![receipt.clone()] };
            match self.call(ack, Duration::ZERO).await {
                Ok(Outcome::Settled(settled)) => {
                    return self.journal.acked(id, token, sent, settled == [Settled::Done]);
                }
                Ok(other) => panic!("an ack was answered {other:?}"),
                Err(_) => {
                    // It may have been done, and may still be.
                    self.journal.maybe_acked(id);
                    sleep(Duration::from_millis(50)).await;
                    sent = Instant::now();
                }
            }
        }
    }
}

/// Counts of a queue; `None` while nobody answers or there is no such queue.
pub async fn stats(client: &Client, queue: &Name) -> Option<Stats> {
    match read(client, Query::Stats { queue: queue.clone() }).await? {
        Seen::Stats(stats) => stats,
        _ => None,
    }
}

async fn read(client: &Client, query: Query) -> Option<Seen> {
    let options = CallOptions { timeout: TIMEOUT, ..CallOptions::default() };
    match client.queue(QueueRequest::Read(query), options).await.ok()?.result.ok()? {
        QueueReply::Seen { seen, .. } => Some(seen),
        _ => None,
    }
}

/// Waits until the queue holds nothing but dead letters.
pub async fn drain(client: &Client, queue: &Name, within: Duration) {
    let deadline = Instant::now() + within;
    loop {
        let now = stats(client, queue).await;
        if now.as_ref().is_some_and(|s| s.ready + s.delayed + s.leased == 0) {
            return;
        }
        assert!(Instant::now() < deadline, "not empty within {within:?}: {now:?}");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Ids of all dead letters.
pub async fn dead_ids(client: &Client, queue: &Name) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    loop {
        let skip = u32::try_from(ids.len()).expect("not so many");
        let peek = Query::Peek { queue: queue.clone(), state: State::Dead, skip, limit: 100 };
        let seen = read(client, peek).await;
        let Some(Seen::Jobs { items, more }) = seen else { panic!("a peek was answered {seen:?}") };
        ids.extend(items.into_iter().map(|job| job.id.to_string()));
        if !more {
            return ids;
        }
    }
}

/// Has a command carried out, in at most that time.
///
/// # Errors
/// The node's, or that of the way there.
pub async fn command(
    client: &Client,
    queue: &Name,
    command: Command,
    within: Duration,
) -> Result<Outcome, Fault> {
    let request = QueueRequest::Do { queue: queue.clone(), command, wait_ms: 0, durability: None };
    let options = CallOptions { timeout: within, ..CallOptions::default() };
    match client.queue(request, options).await?.result? {
        QueueReply::Outcome { outcome, .. } => Ok(outcome),
        other => panic!("a command was answered {other:?}"),
    }
}

/// The ring as a node of that client sees it.
pub async fn ring(client: &Client) -> Option<Ring> {
    let options = CallOptions { timeout: Duration::from_secs(2), ..CallOptions::default() };
    match client.queue(QueueRequest::Ring { queue: None }, options).await.ok()?.result.ok()? {
        QueueReply::Ring(ring) => Some(ring),
        _ => None,
    }
}

/// Waits until every node that runs sees so many in the ring.
pub async fn wait_for_ring(cluster: &Cluster, size: usize) {
    for node in cluster.nodes.iter().filter(|node| node.pid().is_some()) {
        let client = client_of(vec![node.listen.clone()], "ring");
        let all = async || {
            let ring = ring(&client).await?;
            let live = ring.members.iter().filter(|one| one.live && one.partitions > 0).count();
            (live == size).then_some(())
        };
        cluster.wait_until("the ring", all).await;
    }
}
