//! Taking jobs.

use std::time::Duration;

use dsync_core::name::Name;
use dsync_core::queue::{Command, DEFAULT_LEASE_MS, Outcome, Popped};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{COMMAND_TIMEOUT, How, ask};
use super::error::QueueError;
use super::guard::JobGuard;
use crate::api::POP_WAIT_MAX_MS;
use crate::client::Client;
use crate::dial::millis;

/// Pause after a node that answered "nothing" before the wait was over, as of a paused queue.
const EMPTY_PAUSE: Duration = Duration::from_millis(250);
/// Longest time that a wait goes on without a node that answers.
const PATIENCE: Duration = COMMAND_TIMEOUT;

/// How to take jobs.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// Lease of each job: when this program dies, another gets the job so long after. 100 ms to 24 h.
    pub lease: Duration,
    /// Jobs that [`Consumer::run`] works on at one time.
    pub concurrency: u32,
    /// Who, for people to read: `user@host`.
    pub name: String,
    /// After a [`shutdown`](Consumer::shutdown) handlers have so long to end; then they are stopped
    /// and their jobs given back, uncounted.
    pub grace: Duration,
}

impl ConsumerOptions {
    /// A lease of 30 s, one job at a time, and 30 s to end.
    pub fn new(name: impl Into<String>) -> Self {
        let (lease, grace) = (Duration::from_millis(DEFAULT_LEASE_MS), Duration::from_secs(30));
        Self { lease, concurrency: 1, name: name.into(), grace }
    }

    /// Another lease.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// So many jobs at one time.
    #[must_use]
    pub fn concurrency(mut self, jobs: u32) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// Another time to end.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// Takes jobs from one queue; clones are one consumer.
#[derive(Debug, Clone)]
pub struct Consumer {
    client: Client,
    queue: Name,
    name: Name,
    pub(super) options: ConsumerOptions,
    pub(super) stop: CancellationToken,
}

impl Consumer {
    /// A consumer of that queue.
    ///
    /// # Errors
    /// `InvalidArgument`: a name breaks the rule for names.
    pub fn new(client: &Client, queue: &str, options: ConsumerOptions) -> Result<Self, QueueError> {
        let (queue, name) = (Name::parse("queue", queue)?, Name::parse("consumer", &options.name)?);
        let stop = CancellationToken::new();
        Ok(Self { client: client.clone(), queue, name, options, stop })
    }

    /// The queue.
    pub fn queue(&self) -> &Name {
        &self.queue
    }

    /// Takes the next job; waits at most `wait` for one. `None`: there was none, or the queue is
    /// paused.
    ///
    /// # Errors
    /// `Fault`: `InvalidArgument` (a lease), or no node answered for 10 s.
    ///
    /// # Cancel safety
    /// No job is lost. If one was being delivered in that moment and the node did not notice, it
    /// comes back when its lease ends, counted as a failed delivery.
    pub async fn next(&self, wait: Duration) -> Result<Option<JobGuard>, QueueError> {
        Ok(self.next_batch(1, wait).await?.into_iter().next())
    }

    /// As [`Self::next`], but takes up to `max` jobs (1 000 at most) of those that are there.
    ///
    /// # Errors
    /// As of [`Self::next`].
    ///
    /// # Cancel safety
    /// As of [`Self::next`].
    pub async fn next_batch(&self, max: u32, wait: Duration) -> Result<Vec<JobGuard>, QueueError> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let slice = left.min(Duration::from_millis(POP_WAIT_MAX_MS));
            let begun = Instant::now();
            let (popped, late) = self.pop(max, slice).await?;
            if !popped.jobs.is_empty() {
                let guard = |delivery| {
                    JobGuard::new(&self.client, &self.queue, delivery, self.options.lease, late)
                };
                return Ok(popped.jobs.into_iter().map(guard).collect());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Vec::new());
            }
            if begun.elapsed() < slice / 2 {
                tokio::time::sleep(EMPTY_PAUSE.min(left)).await;
            }
        }
    }

    /// One pop, under a name of its own that only its own repetition carries. True: it may have been
    /// answered a while after it was carried out.
    async fn pop(&self, max: u32, wait: Duration) -> Result<(Popped, bool), QueueError> {
        let request: u128 = rand::random();
        let command = Command::Pop {
            request,
            max,
            lease_ms: millis(self.options.lease),
            ack: false,
            consumer: self.name.clone(),
        };
        let how = How { wait, timeout: PATIENCE, request_id: request, durability: None };
        let begun = Instant::now();
        let (outcome, _) = ask(&self.client, &self.queue, command, how).await?;
        let Outcome::Popped(popped) = outcome else { return Err(QueueError::of(outcome)) };
        Ok((popped, begun.elapsed() > self.options.lease / 10))
    }

    /// Stops [`Self::run`], here and in all clones: no more jobs are taken, and it returns when
    /// those being worked on have ended. There is no way back.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }
}
