//! Requests of the cache service by hand, at one node or at any.

use std::time::Duration;

use dsync::api::{CacheReply, CacheRequest, Changed, Got, Inspected, ViewReport};
use dsync::{CallOptions, Client, Fault};
use dsync_core::cache::command::Selector;
use dsync_core::cache::op::{Action, Bytes, Condition, Key, Outcome, Value, tags_of};
use dsync_core::name::Name;

/// Time of one request.
const LIMIT: Duration = Duration::from_secs(8);

/// A client that says what it means.
#[derive(Debug, Clone)]
pub struct Hand {
    client: Client,
    limit: Duration,
}

/// A key.
pub fn key(text: &str) -> Key {
    Name::parse("key", text).expect("a name")
}

/// Sets a key to a text.
pub fn set(text: &str) -> Action {
    set_if(text, Condition::Always)
}

/// The same, on a condition.
pub fn set_if(text: &str, condition: Condition) -> Action {
    let value = Value { bytes: Bytes::from(text.as_bytes()), tags: tags_of(Vec::new()) };
    Action::Set { value, condition, ttl_ms: None }
}

/// The text that a value is.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.bytes.as_slice()).into_owned()
}

impl Hand {
    /// By that client.
    pub fn new(client: Client) -> Self {
        Self { client, limit: LIMIT }
    }

    /// Waits so long for each answer.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Any request.
    ///
    /// # Errors
    /// What the node, or the way to it, said.
    pub async fn ask(&self, request: CacheRequest) -> Result<CacheReply, Fault> {
        let options = CallOptions { timeout: self.limit, ..CallOptions::default() };
        self.client.cache(request, options).await?.result
    }

    /// Reads a key.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn got(&self, name: &str, max_stale_ms: Option<u64>) -> Result<Got, Fault> {
        let request = CacheRequest::Get { keys: vec![key(name)], max_stale_ms };
        match self.ask(request).await? {
            CacheReply::Read(mut got) => Ok(got.remove(0)),
            other => panic!("{other:?}"),
        }
    }

    /// The text that a key holds.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn get(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.got(name, None).await?.value.as_ref().map(text))
    }

    /// Changes a key.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn act(&self, name: &str, action: Action) -> Result<Changed, Fault> {
        let request = CacheRequest::Do { changes: vec![(key(name), action)] };
        match self.ask(request).await? {
            CacheReply::Done(mut done) => done.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Sets a key to a text; its version.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn set(&self, name: &str, text: &str) -> Result<u64, Fault> {
        let changed = self.act(name, set(text)).await?;
        assert_eq!(changed.outcome, Outcome::Set);
        Ok(changed.version)
    }

    /// Deletes what a selector names.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn invalidate(&self, of: Selector) -> Result<u64, Fault> {
        match self.ask(CacheRequest::Invalidate { of }).await? {
            CacheReply::Invalidated(count) => Ok(count),
            other => panic!("{other:?}"),
        }
    }

    /// A key, looked at everywhere.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn inspect(&self, name: &str) -> Result<Inspected, Fault> {
        match self.ask(CacheRequest::Inspect { key: key(name) }).await? {
            CacheReply::Inspected(seen) => Ok(seen),
            other => panic!("{other:?}"),
        }
    }

    /// Who takes part.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub async fn view(&self) -> Result<ViewReport, Fault> {
        match self.ask(CacheRequest::View).await? {
            CacheReply::View(view) => Ok(view),
            other => panic!("{other:?}"),
        }
    }
}
