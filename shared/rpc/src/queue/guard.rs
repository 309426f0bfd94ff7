//! A job that is being worked on.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::lock::Lease;
use dsync_core::name::Name;
use dsync_core::queue::{Command, Delivery, JobId, Outcome, Receipt, Settled};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::call::{How, ask};
use super::error::QueueError;
use super::heartbeat;
use crate::client::Client;
use crate::dial::millis;

/// Longest sleep before the clock is looked at again: tokio's timers stand still while the machine
/// sleeps, the lease does not.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// What a job's handles share.
pub(super) struct Held {
    pub(super) client: Client,
    pub(super) queue: Name,
    pub(super) delivery: Delivery,
    lease: Mutex<Lease>,
    lost: CancellationToken,
}

/// A delivered job, to be read; clones share it. It does not keep the lease up: a [`JobGuard`] does,
/// which dereferences to it.
#[derive(Clone)]
pub struct Delivered(pub(super) Arc<Held>);

/// A job on a lease, which it keeps up by itself, every third of it.
///
/// Say what became of the job with [`ack`](Self::ack), [`nack`](Self::nack),
/// [`reject`](Self::reject) or [`release`](Self::release). A guard that is dropped without a word
/// only stops keeping the lease up: the job is delivered again when the lease ends, and the delivery
/// counts as failed. So a job that makes its consumer return early or panic ends in the dead letters
/// after its attempts, instead of coming back at once for ever.
#[must_use = "the lease is not kept up when the guard is dropped"]
pub struct JobGuard {
    job: Delivered,
    /// Ends the heartbeat.
    _beating: DropGuard,
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivered")
            .field("queue", &self.0.queue)
            .field("receipt", &self.0.delivery.receipt)
            .field("attempt", &self.0.delivery.attempt)
            .field("valid", &self.is_valid())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JobGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobGuard").field(&self.job).finish()
    }
}

impl Deref for JobGuard {
    type Target = Delivered;
    fn deref(&self) -> &Delivered {
        &self.job
    }
}

impl Held {
    pub(super) fn now(&self) -> Duration {
        self.client.net().boot_time()
    }

    pub(super) fn lease(&self) -> Lease {
        *self.lease.lock()
    }

    pub(super) fn acknowledge(&self, sent: Duration, lease: Duration) {
        let mut held = self.lease.lock();
        held.ttl = lease;
        held.acknowledge(sent, lease);
    }

    pub(super) fn lose(&self) {
        self.lost.cancel();
    }

    pub(super) fn time_left(&self) -> Duration {
        if self.lost.is_cancelled() { Duration::ZERO } else { self.lease().left(self.now()) }
    }

    /// Sends a command about this delivery alone.
    pub(super) async fn settle(&self, command: Command, how: How) -> Result<Settled, QueueError> {
        let (outcome, _) = ask(&self.client, &self.queue, command, how).await?;
        let Outcome::Settled(settled) = outcome else { return Err(QueueError::of(outcome)) };
        match settled.as_slice() {
            [Settled::Stale] => Err(QueueError::Stale { receipt: self.delivery.receipt.clone() }),
            [other] => Ok(*other),
            _ => Err(QueueError::of(Outcome::Settled(settled))),
        }
    }
}

impl Delivered {
    /// The queue.
    pub fn queue(&self) -> &Name {
        &self.0.queue
    }

    /// The job's id.
    pub fn id(&self) -> &JobId {
        &self.0.delivery.receipt.id
    }

    /// The delivery: its token rises from delivery to delivery of a queue and fences older ones.
    pub fn receipt(&self) -> &Receipt {
        &self.0.delivery.receipt
    }

    /// What was pushed.
    pub fn payload(&self) -> &[u8] {
        &self.0.delivery.payload
    }

    /// Its headers.
    pub fn headers(&self) -> &[(String, String)] {
        &self.0.delivery.headers
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// 0 to 9.
    pub fn priority(&self) -> u8 {
        self.0.delivery.priority
    }

    /// Which delivery this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.delivery.attempt
    }

    /// Deliveries there may be; 0: no limit.
    pub fn max_attempts(&self) -> u32 {
        self.0.delivery.max_attempts
    }

    /// Time since the push, as of the delivery.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.0.delivery.age_ms)
    }

    /// What the last failed delivery said.
    pub fn last_error(&self) -> Option<&str> {
        self.0.delivery.last_error.as_deref()
    }

    /// The length of the lease.
    pub fn lease(&self) -> Duration {
        self.0.lease().ttl
    }

    /// True while the lease holds, as far as this side knows.
    ///
    /// # Time
    /// Counted from when the last extension that was acknowledged was sent; before the first one,
    /// from when the job arrived. On a clock that runs on while the machine sleeps.
    pub fn is_valid(&self) -> bool {
        !self.0.time_left().is_zero()
    }

    /// Waits until the lease is lost: stop working on the job, another may have it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) {
        loop {
            let left = self.0.time_left();
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.0.lost.cancelled() => return,
                () = tokio::time::sleep(left.min(LOOK)) => {}
            }
        }
    }
}

impl JobGuard {
    /// A job that has just arrived. `late`: the answer may be old, since the pop waited.
    pub(super) fn new(
        client: &Client,
        queue: &Name,
        delivery: Delivery,
        lease: Duration,
        late: bool,
    ) -> Self {
        let left = Duration::from_millis(delivery.lease_ms).min(lease);
        let arrived = client.net().boot_time();
        // A repeated answer brings what is left of its lease.
        let confirmed = (arrived + left).saturating_sub(lease);
        let held = Arc::new(Held {
            client: client.clone(),
            queue: queue.clone(),
            delivery,
            lease: Mutex::new(Lease { confirmed, ttl: lease }),
            lost: CancellationToken::new(),
        });
        let ended = CancellationToken::new();
        let beat = heartbeat::run(Arc::clone(&held), late, ended.clone());
        // It ends with the guard.
        drop(tokio::spawn(beat));
        Self { job: Delivered(held), _beating: ended.drop_guard() }
    }

    /// The job, to be read, and handed to others.
    pub fn delivered(&self) -> Delivered {
        self.job.clone()
    }

    /// Done: the job is gone.
    ///
    /// # Errors
    /// `Stale`: the lease was lost before; the job will be, or was, delivered again. `Fault`: not
    /// confirmed within 10 s; if it did not arrive, the job is delivered again.
    ///
    /// # Cancel safety
    /// As of a guard that is dropped, if it did not arrive.
    pub async fn ack(self) -> Result<(), QueueError> {
        let receipts = vec![self.receipt().clone()];
        self.job.0.settle(Command::Ack { receipts }, How::default()).await.map(drop)
    }

    /// Failed: the job is delivered again after `delay` (`None`: its own backoff), or goes to the
    /// dead letters if that was its last attempt. True: it did.
    ///
    /// # Errors
    /// As of [`Self::ack`].
    ///
    /// # Cancel safety
    /// As of [`Self::ack`].
    pub async fn nack(
        self,
        delay: Option<Duration>,
        error: impl Into<String>,
    ) -> Result<bool, QueueError> {
        let receipts = vec![self.receipt().clone()];
        let command =
            Command::Nack { receipts, delay_ms: delay.map(millis), error: shortened(error.into()) };
        let settled = self.job.0.settle(command, How::default()).await?;
        Ok(settled == Settled::Dead)
    }

    /// Failed for good: the job goes to the dead letters.
    ///
    /// # Errors
    /// As of [`Self::ack`].
    ///
    /// # Cancel safety
    /// As of [`Self::ack`].
    pub async fn reject(self, error: impl Into<String>) -> Result<(), QueueError> {
        let receipts = vec![self.receipt().clone()];
        let command = Command::Reject { receipts, error: shortened(error.into()) };
        self.job.0.settle(command, How::default()).await.map(drop)
    }

    /// Gives the job back: another gets it at once, and this delivery does not count.
    ///
    /// # Errors
    /// As of [`Self::ack`].
    ///
    /// # Cancel safety
    /// As of [`Self::ack`].
    pub async fn release(self) -> Result<(), QueueError> {
        let receipts = vec![self.receipt().clone()];
        self.job.0.settle(Command::Release { receipts }, How::default()).await.map(drop)
    }

    /// Another lease from now on, which is kept up like the first. Not needed for a job that takes
    /// long; a longer one survives a longer silence.
    ///
    /// # Errors
    /// As of [`Self::ack`].
    ///
    /// # Cancel safety
    /// It may have been extended.
    pub async fn extend(&self, lease: Duration) -> Result<(), QueueError> {
        heartbeat::extend(&self.job.0, lease, How::default()).await
    }
}

/// The beginning of an error, as much of it as is kept.
fn shortened(mut error: String) -> String {
    let mut end = error.len().min(dsync_core::queue::ERROR_MAX);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    error.truncate(end);
    error
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn an_error_is_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let long = shortened(format!("x{}", "é".repeat(2_000)));
        assert_eq!(long.len(), 1_023);
    }
}
