//! Collects commands into log entries: while one entry is on its way to the disks, the next one
//! fills. For every role whose machine takes batches.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::Fault;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::leader::fault_of;
use crate::raft::{Engine, Leadership, Machine, NotDone};
use crate::telemetry::Metrics;

/// Entries on their way at one time: one being written, one behind it.
const IN_FLIGHT: usize = 2;
/// Commands of one entry.
const BATCH_COMMANDS: usize = 1_024;
/// Bytes after which an entry takes no further command.
const BATCH_BYTES: usize = 256 * 1024;
/// Largest entry: a full one, and the command of a thousand jobs that came last.
pub const COMMAND_MAX: usize = 3 * 512 * 1024;
/// Commands that wait for a place in an entry.
const QUEUE: usize = 16_384;
/// Bytes of them.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// A tick is not repeated for so long, whatever became of the first one.
const TICK_AGAIN: Duration = Duration::from_secs(1);

/// A machine whose log entries are made of many commands.
pub trait Batched: Machine {
    /// A command.
    type Item: Send + 'static;
    /// What it is answered.
    type Outcome: Send + 'static;
    /// What the leader puts into each entry.
    type Settings: Clone + Send + 'static;

    /// Bytes of a command, about.
    fn size(item: &Self::Item) -> usize;
    /// The entry of those commands.
    fn entry(items: Vec<Self::Item>, settings: &Self::Settings) -> Self::Command;
    /// The outcomes, one per command and in order; what else there is to tell is counted.
    fn outcomes(response: Self::Response, metrics: &Metrics) -> Vec<Self::Outcome>;
    /// Cluster time of the earliest thing that an empty entry would do, as it changes.
    fn deadlines(&self) -> watch::Receiver<Option<u64>>;
}

type Reply<M> = oneshot::Sender<Result<<M as Batched>::Outcome, NotDone>>;

struct Job<M: Batched> {
    item: M::Item,
    size: usize,
    reply: Reply<M>,
    /// Room in the proposer's memory, until it is in an entry that was answered.
    room: tokio::sync::OwnedSemaphorePermit,
}

/// Why a command did not get into an entry.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NotProposed {
    /// Nothing was done.
    #[error("too many commands wait already")]
    QueueFull,
    /// As the engine says.
    #[error(transparent)]
    NotDone(#[from] NotDone),
}

impl From<NotProposed> for Fault {
    fn from(error: NotProposed) -> Self {
        match error {
            NotProposed::QueueFull => {
                Self::unavailable("too many commands wait for the quorum already; nothing was done")
            }
            NotProposed::NotDone(error) => fault_of(error),
        }
    }
}

/// A cheap handle on the proposer.
pub struct Proposer<M: Batched> {
    jobs: mpsc::Sender<Job<M>>,
    room: Arc<tokio::sync::Semaphore>,
}

impl<M: Batched> Clone for Proposer<M> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), room: Arc::clone(&self.room) }
    }
}

impl<M: Batched> fmt::Debug for Proposer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposer").finish_non_exhaustive()
    }
}

impl<M: Batched> Proposer<M> {
    /// Starts the proposer; it ends when all handles are gone.
    pub fn start(
        engine: Engine<M>,
        leadership: watch::Receiver<Leadership>,
        settings: M::Settings,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let deadlines = engine.peek(|state| state.deadlines());
        let task = Task {
            engine,
            jobs: receiver,
            leadership,
            deadlines,
            settings,
            waiting: Vec::new(),
            bytes: 0,
            ticked: None,
            metrics,
        };
        tokio::spawn(task.run().in_current_span());
        Self { jobs, room: Arc::new(tokio::sync::Semaphore::new(QUEUE_BYTES)) }
    }

    /// Has a command carried out.
    ///
    /// # Errors
    /// [`NotProposed::QueueFull`]: nothing was done; another one leaves it open.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the command is carried out.
    pub async fn submit(&self, item: M::Item) -> Result<M::Outcome, NotProposed> {
        let (reply, answer) = oneshot::channel();
        let size = M::size(&item);
        let permits = u32::try_from(size).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room);
        let room = room.try_acquire_many_owned(permits).map_err(|_| NotProposed::QueueFull)?;
        let job = Job { item, size, reply, room };
        self.jobs.try_send(job).map_err(|_| NotProposed::QueueFull)?;
        Ok(answer.await.map_err(|_| NotDone::NotLeader(None))??)
    }
}

struct Task<M: Batched> {
    engine: Engine<M>,
    jobs: mpsc::Receiver<Job<M>>,
    leadership: watch::Receiver<Leadership>,
    deadlines: watch::Receiver<Option<u64>>,
    settings: M::Settings,
    waiting: Vec<Job<M>>,
    bytes: usize,
    /// The deadline that the last tick was for, and when.
    ticked: Option<(u64, Instant)>,
    metrics: Arc<Metrics>,
}

impl<M: Batched> Task<M> {
    async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            if in_flight.len() < IN_FLIGHT
                && let Some(jobs) = self.next_entry()
            {
                let settings = self.settings.clone();
                let metrics = Arc::clone(&self.metrics);
                in_flight.push(propose(self.engine.clone(), jobs, settings, metrics));
                continue;
            }
            let wake = self.wake_at(in_flight.len());
            let open = self.is_open();
            tokio::select! {
                biased;
                Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
                job = self.jobs.recv(), if open => match job {
                    Some(job) => {
                        self.take(job);
                        self.take_what_is_there();
                    }
                    None => return,
                },
                changed = self.deadlines.changed() => if changed.is_err() { return },
                changed = self.leadership.changed() => if changed.is_err() { return },
                () = sleep_until(wake), if wake.is_some() => {}
            }
        }
    }

    fn is_open(&self) -> bool {
        self.waiting.len() < BATCH_COMMANDS && self.bytes < BATCH_BYTES
    }

    fn take(&mut self, job: Job<M>) {
        self.bytes += job.size;
        self.waiting.push(job);
    }

    fn take_what_is_there(&mut self) {
        while self.is_open() {
            match self.jobs.try_recv() {
                Ok(job) => self.take(job),
                Err(_) => return,
            }
        }
    }

    /// The commands of the next entry, if one is due: none for a deadline that has passed.
    fn next_entry(&mut self) -> Option<Vec<Job<M>>> {
        let leads = self.engine.leader_time();
        let tick = leads.and_then(|(_, t)| self.tick_due(t));
        if self.waiting.is_empty() && tick.is_none() {
            return None;
        }
        if let Some(deadline) = tick {
            self.ticked = Some((deadline, Instant::now()));
        }
        self.bytes = 0;
        Some(std::mem::take(&mut self.waiting))
    }

    /// The deadline that an entry at time `t` would meet, unless one is on its way for it.
    fn tick_due(&self, t: u64) -> Option<u64> {
        let deadline = (*self.deadlines.borrow())?;
        let on_its_way =
            self.ticked.is_some_and(|(of, at)| of == deadline && at.elapsed() < TICK_AGAIN);
        (deadline <= t && !on_its_way).then_some(deadline)
    }

    /// When something becomes due by itself.
    fn wake_at(&self, in_flight: usize) -> Option<Instant> {
        if in_flight >= IN_FLIGHT {
            return None;
        }
        let (_, t) = self.engine.leader_time()?;
        let deadline = (*self.deadlines.borrow())?;
        // The cluster's clock may stand still: look again before long.
        let left = match deadline.saturating_sub(t) {
            0 => 1_000,
            left => left.min(1_000),
        };
        Some(Instant::now() + Duration::from_millis(left))
    }
}

async fn propose<M: Batched>(
    engine: Engine<M>,
    jobs: Vec<Job<M>>,
    settings: M::Settings,
    metrics: Arc<Metrics>,
) {
    let mut items = Vec::with_capacity(jobs.len());
    let mut waiting = Vec::with_capacity(jobs.len());
    for Job { item, reply, room, .. } in jobs {
        items.push(item);
        waiting.push((reply, room));
    }
    // Whoever is gone asks again, or its lease ends: a failed send loses nothing.
    match engine.propose(&M::entry(items, &settings)).await {
        Ok(response) => {
            let outcomes = M::outcomes(response, &metrics);
            for ((reply, _), outcome) in waiting.into_iter().zip(outcomes) {
                drop(reply.send(Ok(outcome)));
            }
        }
        Err(error) => {
            for (reply, _) in waiting {
                drop(reply.send(Err(error.clone())));
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
