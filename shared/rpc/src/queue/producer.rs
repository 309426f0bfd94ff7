//! Pushing jobs.

use std::borrow::Borrow;

use dsync_core::name::Name;
use dsync_core::queue::{self, Command, JobId, NewJob, Outcome, State};

use super::batch::Batcher;
use super::call::{How, ask};
use super::error::{PushAllError, QueueError};
use super::job::Job;
use crate::api::Durability;
use crate::client::Client;

/// Pushes jobs to one queue; clones share the client's connections.
#[derive(Debug, Clone)]
pub struct Producer {
    client: Client,
    queue: Name,
    durability: Option<Durability>,
}

/// A job that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its id.
    pub id: JobId,
    /// What became of it.
    pub status: Status,
    /// What the push survives.
    pub durability: Durability,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It is in the queue.
    Created,
    /// Its id was pushed before; where that job is.
    Duplicate(State),
    /// The queue is full; the text names the limit. Only of [`Producer::push_all`].
    Refused(String),
}

impl Producer {
    /// A producer for that queue. A queue comes into being with its first job.
    ///
    /// # Errors
    /// `InvalidArgument`: the name breaks the rule for names.
    pub fn new(client: &Client, queue: &str) -> Result<Self, QueueError> {
        let queue = Name::parse("queue", queue)?;
        Ok(Self { client: client.clone(), queue, durability: None })
    }

    /// Pushes are answered no sooner than they are so safe. Without it: as safe as the store makes
    /// them by itself.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// The queue.
    pub fn queue(&self) -> &Name {
        &self.queue
    }

    /// Pushes a job, or learns that it was pushed before. It is repeated inside its 10 s when no
    /// node answers.
    ///
    /// # Errors
    /// `Full`: the queue takes no more. `Fault`: `InvalidArgument`, `LimitReached` (too large),
    /// `Unavailable`; with `Effect::Unknown` it may be in the queue: push the same [`Job`] again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the job is in the queue; push the same one again.
    pub async fn push(&self, job: impl Borrow<Job>) -> Result<Pushed, QueueError> {
        let pushed = self.push_batch(vec![job.borrow().as_new_job().clone()]).await?;
        match pushed.into_iter().next() {
            Some(Pushed { status: Status::Refused(limit), .. }) => {
                Err(QueueError::Full { queue: self.queue.clone(), limit })
            }
            Some(pushed) => Ok(pushed),
            None => Err(QueueError::of(Outcome::Pushed(Vec::new()))),
        }
    }

    /// Pushes many jobs, in order, as many at once as a node takes. Each has its own answer; one
    /// that a full queue refused does not stop the others.
    ///
    /// # Errors
    /// As of [`Self::push`], with what was pushed before.
    ///
    /// # Cancel safety
    /// As of [`Self::push`].
    pub async fn push_all(&self, jobs: &[Job]) -> Result<Vec<Pushed>, PushAllError> {
        let mut pushed = Vec::with_capacity(jobs.len());
        let mut batcher = Batcher::new();
        let mut rest = jobs.iter();
        loop {
            let (batch, last) = match rest.next() {
                Some(job) => match batcher.add(job.as_new_job().clone()) {
                    Some(full) => (full, false),
                    None => continue,
                },
                None => (batcher.take(), true),
            };
            if !batch.is_empty() {
                match self.push_batch(batch).await {
                    Ok(some) => pushed.extend(some),
                    Err(error) => return Err(PushAllError { pushed, error }),
                }
            }
            if last {
                return Ok(pushed);
            }
        }
    }

    /// Pushes what a [`Batcher`] gave.
    ///
    /// # Errors
    /// As of [`Self::push`]; then none of these jobs is known to be in the queue.
    ///
    /// # Cancel safety
    /// As of [`Self::push`].
    pub async fn push_batch(&self, jobs: Vec<NewJob>) -> Result<Vec<Pushed>, QueueError> {
        let ids: Vec<_> = jobs.iter().map(|job| job.id.clone()).collect();
        let how = How { durability: self.durability, ..How::default() };
        let asked = ask(&self.client, &self.queue, Command::Push { jobs }, how).await?;
        let (outcome, durability) = asked;
        let Outcome::Pushed(states) = outcome else { return Err(QueueError::of(outcome)) };
        if states.len() != ids.len() {
            return Err(QueueError::of(Outcome::Pushed(states)));
        }
        let of =
            |(id, state): (JobId, queue::Pushed)| Pushed { id, status: state.into(), durability };
        Ok(ids.into_iter().zip(states).map(of).collect())
    }
}

impl From<queue::Pushed> for Status {
    fn from(pushed: queue::Pushed) -> Self {
        match pushed {
            queue::Pushed::Created => Self::Created,
            queue::Pushed::Duplicate { state } => Self::Duplicate(state),
            queue::Pushed::Refused(limit) => Self::Refused(limit),
        }
    }
}
