//! A value as it is set.

use std::time::Duration;

use dsync_core::Fault;
use dsync_core::cache::op::{Action, Bytes, Condition, Tag, Value, tags_of};

use crate::dial::millis;

/// A value to be set, and when. Without a condition it is set whatever is there; without a time to
/// live it stays until it is deleted. It replaces the tags and the time to live that the key had.
///
/// # Limits
/// 512 KiB, 16 tags, 1 ms to ten years; they are checked when it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    bytes: Bytes,
    condition: Condition,
    ttl: Option<Duration>,
    tags: Vec<Tag>,
}

impl Set {
    /// Sets that value.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        let bytes = Bytes::from(value.into());
        Self { bytes, condition: Condition::Always, ttl: None, tags: Vec::new() }
    }

    /// The key is gone so long after, by the clock of the memory behind the nodes. Less than 1 ms is
    /// refused, and so is more than ten years.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Only if there is no such key.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.condition = Condition::Absent;
        self
    }

    /// Only if there is such a key.
    #[must_use]
    pub fn if_present(mut self) -> Self {
        self.condition = Condition::Present;
        self
    }

    /// Only if the key has this version, as [`Read::version`](super::Read::version) told it.
    #[must_use]
    pub fn if_version(mut self, version: u64) -> Self {
        self.condition = Condition::Version(version);
        self
    }

    /// A mark by which it is deleted with others
    /// ([`invalidate_tag`](super::CacheClient::invalidate_tag)); may be repeated.
    ///
    /// # Errors
    /// `InvalidArgument` with the rule that was broken.
    pub fn tag(mut self, tag: &str) -> Result<Self, Fault> {
        self.tags.push(Tag::parse("tag", tag)?);
        Ok(self)
    }

    /// The action that it is.
    pub(super) fn action(self) -> Action {
        let value = Value { bytes: self.bytes, tags: tags_of(self.tags) };
        Action::Set { value, condition: self.condition, ttl_ms: self.ttl.map(millis) }
    }
}

impl From<&Self> for Set {
    fn from(set: &Self) -> Self {
        set.clone()
    }
}

impl From<Vec<u8>> for Set {
    fn from(value: Vec<u8>) -> Self {
        Self::new(value)
    }
}

impl From<&[u8]> for Set {
    fn from(value: &[u8]) -> Self {
        Self::new(value)
    }
}

impl From<String> for Set {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl From<&str> for Set {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}
