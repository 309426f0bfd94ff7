//! One user of one queue: every command and look, as a test writes them.

use std::time::Duration;

use dsync::api::{Durability, QueueReply, QueueRequest};
use dsync::{CallOptions, Client};
use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::{
    Backoff, Command, Delivery, JobId, JobView, Limits, NewJob, Outcome, Popped, Pushed, Query,
    Receipt, Seen, Settled, State, Stats,
};

/// Time for one request beside its wait: an election, or a Redis that is started again, may be in it.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A user of a queue. Everything that fails in a way that a test did not ask for ends the test.
#[derive(Debug, Clone)]
pub struct Hand {
    client: Client,
    queue: Name,
}

/// A job of that id, of priority 0, tried 5 times without pauses.
pub fn job(id: &str, payload: impl Into<Vec<u8>>) -> NewJob {
    NewJob {
        id: JobId::parse(id).expect("an id"),
        payload: payload.into(),
        priority: 0,
        delay_ms: 0,
        max_attempts: 5,
        backoff: Backoff { base_ms: 0, max_ms: 0 },
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

/// Ids of deliveries, in order.
pub fn ids(jobs: &[Delivery]) -> Vec<&str> {
    jobs.iter().map(|job| job.receipt.id.as_str()).collect()
}

/// Receipts of deliveries, in order.
pub fn receipts(jobs: &[Delivery]) -> Vec<Receipt> {
    jobs.iter().map(|job| job.receipt.clone()).collect()
}

impl Hand {
    /// A user of that queue.
    pub fn new(client: Client, queue: &str) -> Self {
        Self { client, queue: Name::parse("queue", queue).expect("a queue's name") }
    }

    /// The same user at another queue.
    #[must_use]
    pub fn at(&self, queue: &str) -> Self {
        Self::new(self.client.clone(), queue)
    }

    /// The queue.
    pub fn queue(&self) -> &Name {
        &self.queue
    }

    /// Its client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a command and gives what came.
    ///
    /// # Errors
    /// The node's, or that of the way there.
    pub async fn try_do(
        &self,
        command: Command,
        wait: Duration,
        durability: Option<Durability>,
    ) -> Result<(Outcome, Durability), Fault> {
        let wait_ms = u64::try_from(wait.as_millis()).expect("not so long");
        let request = QueueRequest::Do { queue: self.queue.clone(), command, wait_ms, durability };
        let options = CallOptions { timeout: TIMEOUT + wait, ..CallOptions::default() };
        match self.client.queue(request, options).await?.result? {
            QueueReply::Outcome { outcome, durability } => Ok((outcome, durability)),
            other => panic!("a command was answered {other:?}"),
        }
    }

    async fn act(&self, command: Command, wait: Duration) -> Outcome {
        let done = self.try_do(command.clone(), wait, None).await;
        done.unwrap_or_else(|fault| panic!("{}: {command:?}: {fault:?}", self.queue)).0
    }

    /// The fault that answers a command which must not be carried out.
    pub async fn refused(&self, command: Command) -> Fault {
        match self.try_do(command, Duration::ZERO, None).await {
            Err(fault) => fault,
            Ok(done) => panic!("{}: not refused: {done:?}", self.queue),
        }
    }

    /// Pushes jobs.
    pub async fn push(&self, jobs: impl IntoIterator<Item = NewJob>) -> Vec<Pushed> {
        let push = Command::Push { jobs: jobs.into_iter().collect() };
        match self.act(push, Duration::ZERO).await {
            Outcome::Pushed(pushed) => pushed,
            other => panic!("a push was answered {other:?}"),
        }
    }

    /// Pushes jobs that are new.
    pub async fn create(&self, jobs: impl IntoIterator<Item = NewJob>) {
        let pushed = self.push(jobs).await;
        assert!(pushed.iter().all(|one| *one == Pushed::Created), "{}: {pushed:?}", self.queue);
    }

    /// The pop of that request.
    pub fn pop_command(request: u128, max: u32, lease: Duration, ack: bool) -> Command {
        let lease_ms = u64::try_from(lease.as_millis()).expect("not so long");
        let consumer = Name::parse("consumer", "tester").expect("a name");
        Command::Pop { request, max, lease_ms, ack, consumer }
    }

    /// Carries a pop out.
    pub async fn popped(&self, pop: Command, wait: Duration) -> Popped {
        match self.act(pop, wait).await {
            Outcome::Popped(popped) => popped,
            other => panic!("a pop was answered {other:?}"),
        }
    }

    /// Takes up to `max` jobs on a lease, under a request of its own; waits up to `wait` for one.
    pub async fn pop(&self, max: u32, lease: Duration, wait: Duration) -> Vec<Delivery> {
        let pop = Self::pop_command(rand::random(), max, lease, false);
        self.popped(pop, wait).await.jobs
    }

    /// Takes the one job that is there or comes.
    pub async fn take(&self, lease: Duration, wait: Duration) -> Delivery {
        let mut jobs = self.pop(1, lease, wait).await;
        let job = jobs.pop();
        job.unwrap_or_else(|| panic!("{}: no job within {wait:?}", self.queue))
    }

    /// Carries out a command about receipts.
    pub async fn settle(&self, command: Command) -> Vec<Settled> {
        match self.act(command, Duration::ZERO).await {
            Outcome::Settled(settled) => settled,
            other => panic!("receipts were answered {other:?}"),
        }
    }

    /// Acknowledges.
    pub async fn ack(&self, receipts: Vec<Receipt>) -> Vec<Settled> {
        self.settle(Command::Ack { receipts }).await
    }

    /// Says that one delivery failed.
    pub async fn nack(&self, receipt: &Receipt, delay: Option<u64>, error: &str) -> Settled {
        let (receipts, error) = (vec![receipt.clone()], error.to_owned());
        let settled = self.settle(Command::Nack { receipts, delay_ms: delay, error }).await;
        *settled.first().expect("one answer")
    }

    /// What all five commands about receipts say of one.
    pub async fn all_five(&self, receipt: &Receipt) -> Vec<Settled> {
        let receipts = || vec![receipt.clone()];
        let error = || "too late".to_owned();
        let mut settled = Vec::new();
        for command in [
            Command::Extend { receipts: receipts(), lease_ms: 60_000 },
            Command::Nack { receipts: receipts(), delay_ms: Some(0), error: error() },
            Command::Reject { receipts: receipts(), error: error() },
            Command::Release { receipts: receipts() },
            Command::Ack { receipts: receipts() },
        ] {
            settled.extend(self.settle(command).await);
        }
        settled
    }

    /// Sets the limits, or pauses or resumes.
    pub async fn set(&self, command: Command) {
        assert_eq!(self.act(command, Duration::ZERO).await, Outcome::Set);
    }

    /// Sets the limits.
    pub async fn limit(&self, limits: Limits) {
        self.set(Command::Limit { limits }).await;
    }

    /// Purges, redrives or gives back: so many jobs.
    pub async fn moved(&self, command: Command) -> u64 {
        match self.act(command, Duration::ZERO).await {
            Outcome::Moved(count) => count,
            other => panic!("a move was answered {other:?}"),
        }
    }

    /// Looks.
    pub async fn see(&self, query: Query) -> Seen {
        let options = CallOptions { timeout: TIMEOUT, ..CallOptions::default() };
        let answer = self.client.queue(QueueRequest::Read(query), options).await;
        let answer = answer.unwrap_or_else(|fault| panic!("{}: {fault:?}", self.queue));
        match answer.result {
            Ok(QueueReply::Seen { seen, .. }) => seen,
            other => panic!("a look was answered {other:?}"),
        }
    }

    /// Counts; `None`: no such queue.
    pub async fn try_stats(&self) -> Option<Stats> {
        match self.see(Query::Stats { queue: self.queue.clone() }).await {
            Seen::Stats(stats) => stats,
            other => panic!("stats were answered {other:?}"),
        }
    }

    /// Counts of a queue that exists.
    pub async fn stats(&self) -> Stats {
        self.try_stats().await.unwrap_or_else(|| panic!("there is no queue {}", self.queue))
    }

    /// How many are ready, delayed, leased and dead.
    pub async fn counts(&self) -> [u64; 4] {
        let stats = self.stats().await;
        [stats.ready, stats.delayed, stats.leased, stats.dead]
    }

    /// One page of jobs of that state.
    pub async fn peek(&self, state: State, skip: u32, limit: u32) -> (Vec<JobView>, bool) {
        match self.see(Query::Peek { queue: self.queue.clone(), state, skip, limit }).await {
            Seen::Jobs { items, more } => (items, more),
            other => panic!("a peek was answered {other:?}"),
        }
    }

    /// Ids of the jobs of that state, in order.
    pub async fn ids(&self, state: State) -> Vec<String> {
        self.peek(state, 0, 100).await.0.into_iter().map(|job| job.id.to_string()).collect()
    }

    /// One job; `None`: it is not there.
    pub async fn show(&self, id: &str) -> Option<JobView> {
        let id = JobId::parse(id).expect("an id");
        match self.see(Query::Job { queue: self.queue.clone(), id }).await {
            Seen::Job(job) => job,
            other => panic!("a look was answered {other:?}"),
        }
    }

    /// Ends the test unless the counts agree with the jobs.
    pub async fn audit(&self) {
        match self.see(Query::Audit { queue: self.queue.clone() }).await {
            Seen::Audit(found) => assert!(found.is_empty(), "{}: {found:#?}", self.queue),
            other => panic!("an audit was answered {other:?}"),
        }
    }
}
