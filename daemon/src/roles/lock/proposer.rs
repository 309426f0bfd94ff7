//! Collects requests into log entries: while one entry is on its way to the disks, the next one
//! fills.

use std::time::Duration;

use dsync_core::lock::{Applied, Batch, Command, Outcome, Request, SessionId, Settings};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::state::LockState;
use crate::raft::{Engine, Leadership, NotDone};

/// Entries on their way at one time: one being written, one behind it.
const IN_FLIGHT: usize = 2;
/// Requests of one entry.
const BATCH_REQUESTS: usize = 1_024;
/// Bytes of one entry, about: well below the engine's limit for a command.
const BATCH_BYTES: usize = 96 * 1024;
/// Time before a term is opened again when its first entry was refused.
const OPEN_AGAIN: Duration = Duration::from_millis(25);
/// Keep-alives are collected for so long.
const KEEP_ALIVE_LINGER: Duration = Duration::from_millis(50);
/// Requests that wait for a place in an entry.
const QUEUE: usize = 16_384;

type Reply<T> = oneshot::Sender<Result<T, NotDone>>;

enum Job {
    Do(Request, Reply<Outcome>),
    KeepAlive(SessionId, Reply<Option<u64>>),
}

/// Why a request did not get into an entry.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum NotProposed {
    #[error("{QUEUE} requests wait already")]
    QueueFull,
    #[error(transparent)]
    NotDone(#[from] NotDone),
}

/// A cheap handle on the proposer.
#[derive(Debug, Clone)]
pub(super) struct Proposer {
    jobs: mpsc::Sender<Job>,
}

impl Proposer {
    /// Starts the proposer; it ends when all handles are gone.
    pub(super) fn start(
        engine: Engine<LockState>,
        settings: Settings,
        leadership: watch::Receiver<Leadership>,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(QUEUE);
        let deadlines = engine.peek(|state| state.deadlines());
        let task = Task {
            engine,
            settings,
            jobs: receiver,
            leadership,
            deadlines,
            requests: Vec::new(),
            bytes: 0,
            keep_alives: Vec::new(),
            keep_alives_due: None,
            opened_term: None,
            ticked: None,
            open_again: Instant::now(),
        };
        tokio::spawn(task.run().in_current_span());
        Self { jobs }
    }

    /// Has a request carried out.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the request is carried out.
    pub(super) async fn submit(&self, request: Request) -> Result<Outcome, NotProposed> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job::Do(request, reply)).map_err(|_| NotProposed::QueueFull)?;
        Ok(answer.await.map_err(|_| NotDone::NotLeader(None))??)
    }

    /// Extends a session's lease; `None`: it is over.
    pub(super) async fn keep_alive(&self, session: SessionId) -> Result<Option<u64>, NotProposed> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job::KeepAlive(session, reply)).map_err(|_| NotProposed::QueueFull)?;
        Ok(answer.await.map_err(|_| NotDone::NotLeader(None))??)
    }
}

/// The senders of one entry, in its order.
#[derive(Default)]
struct Senders {
    keep_alives: Vec<Reply<Option<u64>>>,
    requests: Vec<Reply<Outcome>>,
}

impl Senders {
    fn answer(self, result: Result<Applied, NotDone>) {
        // Who is gone asks again under the same key: a failed send loses nothing.
        match result {
            Ok(applied) => {
                for (sender, left) in self.keep_alives.into_iter().zip(applied.keep_alives) {
                    drop(sender.send(Ok(left)));
                }
                for (sender, outcome) in self.requests.into_iter().zip(applied.outcomes) {
                    drop(sender.send(Ok(outcome)));
                }
            }
            Err(error) => {
                for sender in self.keep_alives {
                    drop(sender.send(Err(error.clone())));
                }
                for sender in self.requests {
                    drop(sender.send(Err(error.clone())));
                }
            }
        }
    }
}

struct Task {
    engine: Engine<LockState>,
    settings: Settings,
    jobs: mpsc::Receiver<Job>,
    leadership: watch::Receiver<Leadership>,
    deadlines: watch::Receiver<Option<u64>>,
    requests: Vec<(Request, Reply<Outcome>)>,
    bytes: usize,
    keep_alives: Vec<(SessionId, Reply<Option<u64>>)>,
    keep_alives_due: Option<Instant>,
    /// The term whose first entry this node has proposed.
    opened_term: Option<u64>,
    /// The deadline that the last tick was for, and when.
    ticked: Option<(u64, Instant)>,
    /// Not before this time is the first entry of a term proposed again.
    open_again: Instant,
}

impl Task {
    async fn run(mut self) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            if in_flight.len() < IN_FLIGHT
                && let Some((batch, senders)) = self.next_entry()
            {
                let engine = self.engine.clone();
                in_flight.push(async move {
                    let result = engine.propose(&batch).await;
                    let done = result.is_ok();
                    senders.answer(result);
                    done
                });
                continue;
            }
            let wake = self.wake_at(in_flight.len());
            let open = self.requests.len() < BATCH_REQUESTS && self.bytes < BATCH_BYTES;
            tokio::select! {
                biased;
                Some(done) = in_flight.next(), if !in_flight.is_empty() => if !done {
                    // A new leader's first entries may be refused: the term is still to be opened.
                    self.opened_term = None;
                    self.open_again = Instant::now() + OPEN_AGAIN;
                },
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

    fn take_what_is_there(&mut self) {
        while self.requests.len() < BATCH_REQUESTS && self.bytes < BATCH_BYTES {
            match self.jobs.try_recv() {
                Ok(job) => self.take(job),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self, job: Job) {
        match job {
            Job::Do(request, reply) => {
                self.bytes += size(&request);
                self.requests.push((request, reply));
            }
            Job::KeepAlive(session, reply) => {
                self.bytes += 10;
                self.keep_alives.push((session, reply));
                self.keep_alives_due.get_or_insert_with(|| Instant::now() + KEEP_ALIVE_LINGER);
            }
        }
    }

    /// The next entry, if one is due: requests, keep-alives that waited long enough, the first
    /// entry of a term, or a deadline that has passed.
    fn next_entry(&mut self) -> Option<(Batch, Senders)> {
        let leads = self.engine.leader_time();
        let keep_alives_due = self.keep_alives_due.is_some_and(|at| at <= Instant::now());
        let opens = leads.is_some_and(|(term, _)| self.opened_term != Some(term))
            && self.open_again <= Instant::now();
        let tick = leads.and_then(|(_, t)| self.tick_due(t));
        let asked = !self.requests.is_empty() || keep_alives_due;
        if !(asked || opens || tick.is_some()) {
            return None;
        }
        if let Some(deadline) = tick {
            self.ticked = Some((deadline, Instant::now()));
        }
        self.opened_term = leads.map(|(term, _)| term).or(self.opened_term);
        self.bytes = 0;
        self.keep_alives_due = None;
        let mut batch = Batch { settings: self.settings, ..Batch::default() };
        let mut senders = Senders::default();
        for (session, reply) in self.keep_alives.drain(..) {
            batch.keep_alives.push(session);
            senders.keep_alives.push(reply);
        }
        for (request, reply) in self.requests.drain(..) {
            batch.requests.push(request);
            senders.requests.push(reply);
        }
        Some((batch, senders))
    }

    /// The deadline that an entry at time `t` would meet, unless one is on its way for it.
    fn tick_due(&self, t: u64) -> Option<u64> {
        let deadline = (*self.deadlines.borrow())?;
        let on_its_way = self
            .ticked
            .is_some_and(|(of, at)| of == deadline && at.elapsed() < Duration::from_secs(1));
        (deadline <= t && !on_its_way).then_some(deadline)
    }

    /// When something becomes due by itself.
    fn wake_at(&self, in_flight: usize) -> Option<Instant> {
        if in_flight >= IN_FLIGHT {
            return None;
        }
        let tick = self.engine.leader_time().and_then(|(_, t)| {
            let deadline = (*self.deadlines.borrow())?;
            // The cluster's clock may stand still: look again before long.
            let left = match deadline.saturating_sub(t) {
                0 => 1_000,
                left => left.min(1_000),
            };
            Some(Instant::now() + Duration::from_millis(left))
        });
        let leads = self.engine.leader_time().map(|(term, _)| term);
        let opens = (leads.is_some() && leads != self.opened_term).then_some(self.open_again);
        [self.keep_alives_due, tick, opens].into_iter().flatten().min()
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}

/// Bytes of a request in an entry, about.
fn size(request: &Request) -> usize {
    let variable = match &request.command {
        Command::OpenSession { owner, meta, .. } => owner.as_str().len() + meta.len(),
        Command::Acquire { wants, owner, .. } => {
            let names: usize = wants.iter().map(|want| want.lock.as_str().len() + 12).sum();
            names + owner.as_str().len()
        }
        Command::Release { lock, owner, .. } => {
            lock.as_str().len() + owner.as_ref().map_or(0, |o| o.as_str().len())
        }
        Command::Renew { lock, .. } | Command::Convert { lock, .. } => lock.as_str().len(),
        Command::ForceRelease { lock, actor, reason, .. } => {
            lock.as_str().len() + actor.as_str().len() + reason.len()
        }
        Command::CloseSession | Command::Cancel { .. } => 0,
    };
    variable + 64
}
