//! The loop of a worker: take, handle, say what became of it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::consumer::Consumer;
use super::error::QueueError;
use super::guard::{Delivered, JobGuard};
use crate::api::POP_WAIT_MAX_MS;

/// Pause after a pop that failed; doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What a handler says of a job that it did not do. Any error becomes a `Retry` with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Again later, counted; to the dead letters after the last attempt.
    Retry {
        /// The pause; `None`: the job's backoff.
        delay: Option<Duration>,
        /// Why, kept with the job.
        error: String,
    },
    /// Never: to the dead letters at once.
    Reject {
        /// Why, kept with the job.
        error: String,
    },
}

impl Failure {
    /// Again, after the job's own backoff.
    pub fn retry(error: impl fmt::Display) -> Self {
        Self::Retry { delay: None, error: error.to_string() }
    }

    /// Again, after so long.
    pub fn retry_in(delay: Duration, error: impl fmt::Display) -> Self {
        Self::Retry { delay: Some(delay), error: error.to_string() }
    }

    /// Never again.
    pub fn reject(error: impl fmt::Display) -> Self {
        Self::Reject { error: error.to_string() }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

/// A pop under way.
type Taking = Pin<Box<dyn Future<Output = Result<Vec<JobGuard>, QueueError>> + Send>>;

impl Consumer {
    /// Works until [`shutdown`](Consumer::shutdown): takes jobs and calls `handler` for each, as many
    /// at one time as `concurrency` says.
    ///
    /// `Ok` acknowledges the job, [`Failure::Retry`] and a panic make it come back,
    /// [`Failure::Reject`] sends it to the dead letters. The lease is kept up meanwhile; when it is
    /// lost, the handler is stopped at its next `.await`, because another may have the job.
    /// A cluster that does not answer is waited for.
    ///
    /// # Errors
    /// `Fault` that no waiting will mend (another cluster, an invalid lease), after the jobs being
    /// worked on have ended.
    ///
    /// # Cancel safety
    /// Dropping the future stops the handlers; their jobs come back when their leases end. Use
    /// `shutdown`.
    pub async fn run<H, F>(&self, handler: H) -> Result<(), QueueError>
    where
        H: Fn(Delivered) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        // Of those that are at work when the grace is over.
        let hurry = CancellationToken::new();
        let mut working = JoinSet::new();
        let mut taking: Option<Taking> = None;
        let mut pause = RETRY_MIN;
        let result = loop {
            let busy = u32::try_from(working.len()).unwrap_or(u32::MAX);
            if taking.is_none() && busy < self.options.concurrency {
                taking = Some(self.take(self.options.concurrency - busy));
            }
            let taken = async {
                match &mut taking {
                    Some(taking) => taking.await,
                    None => std::future::pending().await,
                }
            };
            let taken = tokio::select! {
                () = self.stop.cancelled() => break Ok(()),
                Some(ended) = working.join_next() => {
                    note_end(ended);
                    continue;
                }
                taken = taken => taken,
            };
            taking = None;
            match taken {
                Ok(jobs) => {
                    pause = RETRY_MIN;
                    for job in jobs {
                        let handling = tokio::spawn(handler(job.delivered()));
                        working.spawn(see_through(job, handling, hurry.clone()));
                    }
                }
                Err(error) if error.is_retryable() => {
                    tracing::warn!(%error, "no jobs can be taken; trying on");
                    taking = Some(later(pause));
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => break Err(error),
            }
        };
        drop(taking);
        self.finish(working, &hurry).await;
        result
    }

    fn take(&self, max: u32) -> Taking {
        let consumer = self.clone();
        let wait = Duration::from_millis(POP_WAIT_MAX_MS);
        Box::pin(async move { consumer.next_batch(max.min(1_000), wait).await })
    }

    /// Waits for the handlers; when the grace is over, they are stopped.
    async fn finish(&self, mut working: JoinSet<()>, hurry: &CancellationToken) {
        let all = async {
            while let Some(ended) = working.join_next().await {
                note_end(ended);
            }
        };
        if tokio::time::timeout(self.options.grace, all).await.is_err() {
            hurry.cancel();
            while let Some(ended) = working.join_next().await {
                note_end(ended);
            }
        }
    }
}

/// No jobs, after a pause.
fn later(pause: Duration) -> Taking {
    tokio::time::sleep(pause).map(|()| Ok(Vec::new())).boxed()
}

fn note_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a worker's task ended badly");
    }
}

/// Waits for the handler and says what became of the job.
async fn see_through(
    job: JobGuard,
    handling: JoinHandle<Result<(), Failure>>,
    hurry: CancellationToken,
) {
    // Ends the handler also when this is dropped.
    let handling = tokio_util::task::AbortOnDropHandle::new(handling);
    let receipt = job.receipt().clone();
    let said = tokio::select! {
        said = handling => said,
        () = job.lost() => {
            tracing::warn!(%receipt, "the lease was lost; the handler is stopped");
            return;
        }
        () = hurry.cancelled() => {
            note_settled(&receipt, job.release().await);
            return;
        }
    };
    let settled = match said {
        Ok(Ok(())) => job.ack().await,
        Ok(Err(Failure::Retry { delay, error })) => job.nack(delay, error).await.map(drop),
        Ok(Err(Failure::Reject { error })) => job.reject(error).await,
        Err(error) => job.nack(None, panic_text(error)).await.map(drop),
    };
    note_settled(&receipt, settled);
}

fn note_settled(receipt: &super::Receipt, settled: Result<(), QueueError>) {
    if let Err(error) = settled {
        tracing::warn!(%receipt, %error, "what became of a job could not be said; it comes back");
    }
}

fn panic_text(error: JoinError) -> String {
    let Ok(cause) = error.try_into_panic() else { return "the handler was stopped".to_owned() };
    let text = cause
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| cause.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", text.unwrap_or_else(|| "no text".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_its_own_words() {
        let panicked = tokio::spawn(async { panic!("no such order") });
        let text = panic_text(panicked.await.unwrap_err());
        assert_eq!(text, "the handler panicked: no such order");
    }

    #[test]
    fn any_error_is_a_retry() {
        let parsed = || -> Result<u32, Failure> { Ok("x".parse::<u32>()?) };
        let error = "invalid digit found in string".to_owned();
        assert_eq!(parsed(), Err(Failure::Retry { delay: None, error }));
    }
}
