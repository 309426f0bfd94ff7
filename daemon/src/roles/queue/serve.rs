//! Commands and pops that wait, whatever the store.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::{Command, Outcome, Popped};
use tokio::time::Instant;

use super::pops::{Pop, Pops, Store};
use super::tally::tally;
use super::waiting::Waiting;
use crate::telemetry::Metrics;

/// Carries out what clients ask, with the store below.
#[derive(Debug, Clone)]
pub(super) struct Desk<S> {
    pub(super) store: S,
    pub(super) waiting: Waiting,
    pops: Pops,
    pub(super) metrics: Arc<Metrics>,
}

impl<S: Store> Desk<S> {
    pub(super) fn new(store: S, waiting: Waiting, metrics: Arc<Metrics>) -> Self {
        Self { store, waiting, pops: Pops::default(), metrics }
    }

    /// Counts a command that was carried out.
    pub(super) fn tally(&self, command: &Command, outcome: &Outcome) {
        tally(&self.metrics, command, outcome);
    }

    /// Carries a command out. A pop waits up to `wait` for a job, and is answered by `until`.
    ///
    /// # Errors
    /// The store's; `InvalidArgument` and `LimitReached` for what the command breaks.
    ///
    /// # Cancel safety
    /// A command that reached the store is carried out all the same; what a pop took is given back.
    pub(super) async fn carry_out(
        &self,
        queue: &Name,
        command: &Command,
        wait: Duration,
        until: Instant,
    ) -> Result<Outcome, Fault> {
        let Command::Pop { request, .. } = command else {
            let done =
                tokio::time::timeout_at(until, self.store.submit(queue.clone(), command.clone()));
            return match done.await {
                Ok(done) => {
                    let outcome = checked(done?)?;
                    self.tally(command, &outcome);
                    Ok(outcome)
                }
                Err(_) => Err(self.late()),
            };
        };
        let pop = Pop { queue: queue.clone(), request: *request, command: command.clone() };
        let popped = self.pop(&pop, (Instant::now() + wait).min(until), until).await?;
        let outcome = Outcome::Popped(popped);
        self.tally(command, &outcome);
        Ok(outcome)
    }

    async fn pop(&self, pop: &Pop, wait_until: Instant, until: Instant) -> Result<Popped, Fault> {
        // In line before the first look: a job that comes in between wakes this one.
        let turn = self.waiting.join(&pop.queue);
        let mut popped = self.take(pop, until).await?;
        loop {
            if !popped.jobs.is_empty() || Instant::now() >= wait_until {
                return Ok(popped);
            }
            if let Some(next_ms) = popped.next_ms {
                self.waiting.wake_in(&pop.queue, Duration::from_millis(next_ms.max(1)));
            }
            if tokio::time::timeout_at(wait_until, turn.woken()).await.is_err() {
                return Ok(popped);
            }
            popped = self.take(pop, until).await?;
        }
    }

    async fn take(&self, pop: &Pop, until: Instant) -> Result<Popped, Fault> {
        match tokio::time::timeout_at(until, self.pops.take(&self.store, pop.clone())).await {
            Ok(given) => given,
            Err(_) => Err(self.late()),
        }
    }

    /// The answer that did not come.
    pub(super) fn late(&self) -> Fault {
        Fault::unknown(format!("{} did not confirm the command in time", self.store.name()))
    }
}

/// An outcome that says that nothing was done is a fault.
pub(super) fn checked(outcome: Outcome) -> Result<Outcome, Fault> {
    match outcome {
        Outcome::Invalid(_) | Outcome::LimitReached(_) => Err(super::not_done(outcome)),
        Outcome::Pushed(_)
        | Outcome::Popped(_)
        | Outcome::Settled(_)
        | Outcome::Set
        | Outcome::Moved(_) => Ok(outcome),
    }
}
