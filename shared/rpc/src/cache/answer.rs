//! What a request to the cache gave.

use std::time::Duration;

use dsync_core::cache::command::KeyView;
use dsync_core::cache::op::{Bytes, Tag};

use crate::api::{Got, Source};

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What the key holds; `None`: there is no such key.
    pub value: Option<Bytes>,
    /// Its tags, sorted.
    pub tags: Vec<Tag>,
    /// Its version, which rises with every change; for
    /// [`if_version`](super::Set::if_version).
    pub version: u64,
    /// How the node had it. Only [`Source::Stale`] may be old, and only
    /// [`get_stale`](super::CacheClient::get_stale) gives that.
    pub source: Source,
    /// Time that the key had left when the node answered; `None`: it stays.
    pub ttl: Option<Duration>,
    /// NODE_ID of the node that answered.
    pub served_by: String,
}

/// A value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The key's version since.
    pub version: u64,
    /// NODE_ID of the node that answered.
    pub served_by: String,
}

/// A key that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// There was such a key.
    pub existed: bool,
    /// NODE_ID of the node that answered.
    pub served_by: String,
}

/// A number that was added to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The sum.
    pub number: i64,
    /// The key's version since.
    pub version: u64,
    /// NODE_ID of the node that answered.
    pub served_by: String,
}

/// Some of the keys, in order of name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub items: Vec<KeyView>,
    /// There are more after the last one.
    pub more: bool,
}

impl Read {
    /// The value's bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Bytes::as_slice)
    }

    pub(super) fn of(got: Got, served_by: &str) -> Self {
        let Got { value, version, from, ttl_ms } = got;
        let (value, tags) = match value {
            Some(value) => (Some(value.bytes), value.tags.to_vec()),
            None => (None, Vec::new()),
        };
        let ttl = ttl_ms.map(Duration::from_millis);
        Self { value, tags, version, source: from, ttl, served_by: served_by.to_owned() }
    }
}
