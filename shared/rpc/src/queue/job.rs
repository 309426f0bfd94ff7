//! A job as it is pushed.

use std::time::Duration;

use dsync_core::Fault;
use dsync_core::queue::{Backoff, DEFAULT_ATTEMPTS, JobId, NewJob};

use crate::dial::millis;

/// A job to be pushed. It has its id from the start: pushing the same value again is no second job.
///
/// # Limits
/// 512 KiB of payload, 8 KiB of headers. They are checked when it is pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job(NewJob);

impl Job {
    /// A job under a random id, of priority 0, without a delay, that dies after 5 failed deliveries.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self(NewJob {
            id: JobId::random(rand::random()),
            payload: payload.into(),
            priority: 0,
            delay_ms: 0,
            max_attempts: DEFAULT_ATTEMPTS,
            backoff: Backoff::default(),
            ttl_ms: 0,
            headers: Vec::new(),
        })
    }

    /// Another id, such as that of the order it is about: 1 to 128 bytes without spaces.
    ///
    /// # Errors
    /// `InvalidArgument` with the rule that was broken.
    pub fn id(mut self, id: &str) -> Result<Self, Fault> {
        self.0.id = JobId::parse(id)?;
        Ok(self)
    }

    /// 0 to 9; 9 goes first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.0.priority = priority;
        self
    }

    /// Not delivered before so long after the push, at most 30 days.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.0.delay_ms = millis(delay);
        self
    }

    /// Deliveries before it goes to the dead letters; 0: no limit.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.0.max_attempts = attempts;
        self
    }

    /// The pause after the first failed delivery, doubled after each one, and the longest. With a
    /// quarter of jitter either way.
    #[must_use]
    pub fn backoff(mut self, base: Duration, max: Duration) -> Self {
        self.0.backoff = Backoff { base_ms: millis(base), max_ms: millis(max) };
        self
    }

    /// Goes to the dead letters if not done so long after the push, at most 30 days.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.0.ttl_ms = millis(ttl);
        self
    }

    /// A header, for the consumer; each name once.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.headers.push((name.into(), value.into()));
        self
    }

    /// The id.
    pub fn job_id(&self) -> &JobId {
        &self.0.id
    }

    /// As it is on the wire.
    pub fn into_new_job(self) -> NewJob {
        self.0
    }

    /// As it is on the wire.
    pub fn as_new_job(&self) -> &NewJob {
        &self.0
    }
}
