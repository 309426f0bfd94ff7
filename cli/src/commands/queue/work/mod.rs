//! `dsctl queue work`.

mod job;
mod tail;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use dsync::api::POP_WAIT_MAX_MS;
use dsync::queue::{Consumer, ConsumerOptions, JobGuard, QueueError};
use dsync_core::Code;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rustix::process::Signal;
use tokio::sync::watch;

use crate::args::Work;
use crate::connect;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::lease::signals::{Signals, exit_of};

use super::{Ctx, find};
use job::{Ended, work_on};

/// Pause after a take that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Jobs are taken.
    Take,
    /// None is taken; those at work may end.
    Finish,
    /// Those at work are ended and given back.
    GiveBack,
}

/// What became of the jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    taken: u64,
    done: u64,
    failed: u64,
    dead: u64,
    lost: u64,
    given_back: u64,
    unsettled: u64,
}

type Taken = std::result::Result<Vec<JobGuard>, QueueError>;
type Taking = Pin<Box<dyn Future<Output = Taken>>>;

/// A worker under way.
struct Worker<'a> {
    args: &'a Work,
    ctx: &'a Ctx,
    consumer: Consumer,
    stage: watch::Sender<Stage>,
    tally: Tally,
    /// The last signal that came in.
    signal: Option<Signal>,
    /// Why it ends, if not well.
    failure: Option<Failure>,
    /// There was no job to take, and none has ended since.
    dry: bool,
}

/// Runs a command for each job, until interrupted, or until there is nothing left to do.
pub(super) async fn run(args: Work, ctx: &Ctx) -> Result<Exit> {
    // Whoever mistyped an endpoint learns it at once.
    find(ctx, &args.queue).await?;
    let owner = ctx.settings.owner(args.owner.as_ref())?;
    let options = ConsumerOptions::new(owner.as_str()).lease(args.lease);
    // Whoever works through the night waits for a cluster that restarts.
    let client = connect::patient(ctx.net(), &ctx.settings.endpoints);
    let consumer = Consumer::new(&client, args.queue.as_str(), options).map_err(failure)?;
    let mut worker = Worker {
        args: &args,
        ctx,
        consumer,
        stage: watch::Sender::new(Stage::Take),
        tally: Tally::default(),
        signal: None,
        failure: None,
        dry: false,
    };
    worker.work(&mut Signals::ending()?).await;
    ctx.out.note(&worker.tally.in_words());
    match (worker.failure, worker.signal) {
        // Stdout is the commands'.
        (Some(failure), _) => Err(failure.on_stderr()),
        (None, Some(signal)) if *worker.stage.borrow() == Stage::GiveBack => Ok(exit_of(signal)),
        // To let the running ones end is how this ends well.
        (None, _) => Ok(Exit::Done),
    }
}

impl Worker<'_> {
    async fn work(&mut self, signals: &mut Signals) {
        let mut working = FuturesUnordered::new();
        let mut taking: Option<Taking> = None;
        loop {
            if taking.is_none() {
                taking = self.take(working.len());
            }
            if taking.is_none() && working.is_empty() {
                return;
            }
            let taken = async {
                match &mut taking {
                    Some(taking) => taking.await,
                    None => std::future::pending().await,
                }
            };
            let taken = tokio::select! {
                signal = signals.next_ending() => {
                    self.interrupted(signal);
                    taking = None;
                    continue;
                }
                Some(ended) = working.next() => {
                    self.ended(ended);
                    if *self.stage.borrow() != Stage::Take {
                        taking = None;
                    }
                    continue;
                }
                taken = taken => taken,
            };
            taking = None;
            for job in self.taken(taken) {
                let (stage, ctx, args) = (self.stage.subscribe(), self.ctx, self.args);
                working.push(work_on(ctx, args, job, stage));
            }
        }
    }

    /// The next take, if there is room for a job.
    fn take(&self, working: usize) -> Option<Taking> {
        let working = u32::try_from(working).unwrap_or(u32::MAX);
        let room = self.args.concurrency.saturating_sub(working);
        let rest = self.args.max_jobs.map_or(u64::MAX, |most| most - self.tally.taken);
        let max = room.min(u32::try_from(rest).unwrap_or(u32::MAX));
        // One that is at work may come back.
        let over = self.args.drain && self.dry;
        if max == 0 || over || *self.stage.borrow() != Stage::Take {
            return None;
        }
        let consumer = self.consumer.clone();
        let wait = if self.args.drain { 0 } else { POP_WAIT_MAX_MS };
        Some(Box::pin(async move {
            let taken = consumer.next_batch(max, Duration::from_millis(wait)).await;
            if taken.as_ref().is_err_and(QueueError::is_retryable) {
                tokio::time::sleep(RETRY).await;
            }
            taken
        }))
    }

    /// The jobs that were taken.
    fn taken(&mut self, taken: Taken) -> Vec<JobGuard> {
        match taken {
            Ok(jobs) => {
                self.dry = jobs.is_empty();
                self.tally.taken += u64::try_from(jobs.len()).unwrap_or(0);
                jobs
            }
            Err(error) if error.is_retryable() => {
                self.ctx.out.note(&format!("no jobs can be taken: {error}; trying on"));
                Vec::new()
            }
            Err(error) => {
                self.stop(failure(error));
                Vec::new()
            }
        }
    }

    fn interrupted(&mut self, signal: Signal) {
        self.signal = Some(signal);
        let next = match *self.stage.borrow() {
            Stage::Take => Stage::Finish,
            Stage::Finish | Stage::GiveBack => Stage::GiveBack,
        };
        self.ctx.out.note(match next {
            Stage::Take | Stage::Finish => {
                "no more jobs are taken; the running commands may end (once more: they are ended)"
            }
            Stage::GiveBack => "the running commands are ended and their jobs given back",
        });
        self.stage.send_replace(next);
    }

    fn ended(&mut self, ended: Ended) {
        self.dry = false;
        let tally = &mut self.tally;
        match ended {
            Ended::Done => tally.done += 1,
            Ended::Failed => tally.failed += 1,
            Ended::Dead => tally.dead += 1,
            Ended::Lost => tally.lost += 1,
            Ended::GivenBack => tally.given_back += 1,
            Ended::Unsettled => tally.unsettled += 1,
            Ended::CannotStart(failure) => {
                tally.given_back += 1;
                self.stop(failure);
            }
        }
    }

    /// Takes no more; the first reason counts.
    fn stop(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.stage.send_if_modified(|stage| {
            let taking = *stage == Stage::Take;
            *stage = (*stage).max(Stage::Finish);
            taking
        });
    }
}

impl Tally {
    fn in_words(&self) -> String {
        let parts = [
            (self.done, "done"),
            (self.failed, "failed and come back"),
            (self.dead, "failed and are dead letters"),
            (self.lost, "lost with their lease"),
            (self.given_back, "given back"),
            (self.unsettled, "not confirmed: they come back"),
        ];
        let parts: Vec<_> = parts
            .iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        match (self.taken, parts.as_slice()) {
            (0, _) => "no job was taken".to_owned(),
            (1, _) => format!("1 job: {}", parts.join(", ")),
            (taken, _) => format!("{taken} jobs: {}", parts.join(", ")),
        }
    }
}

/// An error of the client library, with its exit code.
fn failure(error: QueueError) -> Failure {
    match error {
        QueueError::Fault(fault) => fault.into(),
        QueueError::Full { .. } => Failure::new(Code::LimitReached, error.to_string()),
        QueueError::Stale { .. } => Failure::new(Code::Conflict, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_says_what_became_of_all() {
        assert_eq!(Tally::default().in_words(), "no job was taken");
        let one = Tally { taken: 1, done: 1, ..Tally::default() };
        assert_eq!(one.in_words(), "1 job: 1 done");
        let many = Tally { taken: 9, done: 6, failed: 2, lost: 1, ..Tally::default() };
        assert_eq!(
            many.in_words(),
            "9 jobs: 6 done, 2 failed and come back, 1 lost with their lease"
        );
    }
}
