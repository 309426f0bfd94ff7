//! The handle.

use std::time::Duration;

use dsync_core::cache::command::Selector;
use dsync_core::cache::op::{Action, Condition, Key, Outcome, Tag, check};
use dsync_core::{Code, Fault};

use super::answer::{Changed, Deleted, Read, Sum};
use super::batch::cut;
use super::error::CacheError;
use super::set::Set;
use crate::api::{self, CacheReply, CacheRequest, KEYS_MAX};
use crate::client::{CallOptions, Client};
use crate::dial::millis;

/// Time for a request unless set otherwise: longer than a writer waits for the lease of a node that
/// died.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads and changes keys; clones share the client's connections.
///
/// # Errors
/// Of every method: `InvalidArgument` for a name that breaks the rule for names (1 to 255 bytes of
/// UTF-8 without control characters); [`CacheError::Unavailable`] when no node can be reached, or
/// none that may serve the key now. Reads are repeated at other nodes inside their time.
#[derive(Debug, Clone)]
pub struct CacheClient {
    client: Client,
    options: CallOptions,
}

/// How one change ended, and at which node.
type Ended = Result<(api::Changed, String), CacheError>;

impl CacheClient {
    /// A handle for all keys.
    pub fn new(client: &Client) -> Self {
        let options = CallOptions { timeout: REQUEST_TIMEOUT, ..CallOptions::default() };
        Self { client: client.clone(), options }
    }

    /// Each request of this handle may take so long, all tries together; 10 s otherwise. A change
    /// waits for the lease of a node that died while it held the key (2 s with the default
    /// `LEASE_MS`): give it more time than that.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = timeout;
        self
    }

    /// The change that is made with this handle goes under that id: after
    /// [`CacheError::Unknown`] the same change under its id has no second effect, **as long as
    /// nobody else has changed the key since**. Use one handle for one change; another change of the
    /// same key under the same id would be taken for a repetition.
    ///
    /// Of many changes the n-th, counted from 0, goes under `request_id + n`.
    #[must_use]
    pub fn under(mut self, request_id: u128) -> Self {
        self.options.request_id = request_id;
        self
    }

    /// Asks that node, by NODE_ID or `host:port`, and no other. Only for [`Self::stats`],
    /// [`Self::lost`], [`Self::line`] and [`Self::view`]; the node refuses it for all else.
    #[must_use]
    pub fn at(mut self, node: &str) -> Self {
        self.options.target = Some(node.to_owned());
        self
    }

    /// Reads a key. It is current: no older than any change that was acknowledged before.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn get(&self, key: &str) -> Result<Read, CacheError> {
        self.read(key, None).await
    }

    /// The same; but if there is no way to the current value, a copy that was current not longer
    /// than `max_stale` ago is good enough. [`Read::source`] tells which it is.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn get_stale(&self, key: &str, max_stale: Duration) -> Result<Read, CacheError> {
        self.read(key, Some(millis(max_stale))).await
    }

    async fn read(&self, key: &str, max_stale_ms: Option<u64>) -> Result<Read, CacheError> {
        let keys = vec![Key::parse("key", key)?];
        let (reply, served_by) = self.ask(CacheRequest::Get { keys, max_stale_ms }).await?;
        let CacheReply::Read(mut all) = reply else { return Err(misplaced(&served_by)) };
        match (all.pop(), all.is_empty()) {
            (Some(got), true) => Ok(Read::of(got, &served_by)),
            _ => Err(misplaced(&served_by)),
        }
    }

    /// Reads keys, in their order, in as few requests as possible. Each is current by itself; all of
    /// them together may never have been so at one moment.
    ///
    /// # Errors
    /// As of [`CacheClient`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn get_many<K: AsRef<str>>(&self, keys: &[K]) -> Result<Vec<Read>, CacheError> {
        let parsed = keys.iter().map(|key| Key::parse("key", key.as_ref()));
        let all: Vec<Key> = parsed.collect::<Result<_, _>>()?;
        let mut read = Vec::with_capacity(all.len());
        loop {
            let rest = all.get(read.len()..).unwrap_or_default();
            let asked = rest.get(..KEYS_MAX).unwrap_or(rest);
            if asked.is_empty() {
                return Ok(read);
            }
            let request = CacheRequest::Get { keys: asked.to_vec(), max_stale_ms: None };
            let (reply, served_by) = self.ask(request).await?;
            let CacheReply::Read(some) = reply else { return Err(misplaced(&served_by)) };
            if some.is_empty() || some.len() > asked.len() {
                return Err(misplaced(&served_by));
            }
            // Large values: what did not fit is asked for next.
            read.extend(some.into_iter().map(|got| Read::of(got, &served_by)));
        }
    }

    /// Sets a key.
    ///
    /// # Errors
    /// `Unmet`: the condition of the [`Set`] does not hold. `TooLarge`. `Full`. `Unknown`: it may be
    /// set. `Fault` with `InvalidArgument`: a time to live of 0, too many tags.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the key is set.
    pub async fn set(&self, key: &str, set: impl Into<Set>) -> Result<Changed, CacheError> {
        let key = Key::parse("key", key)?;
        let (changed, served_by) = self.change(key.clone(), set.into().action()).await?;
        was_set(key, changed, served_by)
    }

    /// Deletes a key; it is no error if there is none.
    ///
    /// # Errors
    /// `Unknown`: it may be gone.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether the key is gone.
    pub async fn delete(&self, key: &str) -> Result<Deleted, CacheError> {
        self.take_away(key, Condition::Always).await
    }

    /// Deletes a key if it has this version.
    ///
    /// # Errors
    /// `Unmet`: it has another one, or there is no such key. `Unknown`: it may be gone.
    ///
    /// # Cancel safety
    /// As of [`Self::delete`].
    pub async fn delete_version(&self, key: &str, version: u64) -> Result<Deleted, CacheError> {
        self.take_away(key, Condition::Version(version)).await
    }

    async fn take_away(&self, key: &str, condition: Condition) -> Result<Deleted, CacheError> {
        let key = Key::parse("key", key)?;
        let (changed, served_by) = self.change(key.clone(), Action::Delete { condition }).await?;
        was_deleted(key, changed, served_by)
    }

    /// Adds to the decimal number that a key holds; no key is 0. Tags and time to live stay.
    ///
    /// # Errors
    /// `NotANumber`, `Overflow`, `Full`. `Unknown`: it may have been added.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open whether it was added.
    pub async fn increment(&self, key: &str, by: i64) -> Result<Sum, CacheError> {
        let key = Key::parse("key", key)?;
        let (changed, served_by) = self.change(key.clone(), Action::Increment { by }).await?;
        let Outcome::Number(number) = changed.outcome else {
            return Err(CacheError::of(key, changed.outcome));
        };
        Ok(Sum { number, version: changed.version, served_by })
    }

    /// Sets keys, each by itself, in order, in as few requests as possible. Gives one result per
    /// key: a condition that does not hold stops nothing; the first failure of another kind does,
    /// and all after it are `NotTried`.
    ///
    /// # Errors
    /// Only what was refused before anything was sent: a name, a size, a time to live.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which keys are set.
    pub async fn set_many<K: AsRef<str>>(
        &self,
        sets: impl IntoIterator<Item = (K, Set)>,
    ) -> Result<Vec<Result<Changed, CacheError>>, CacheError> {
        let changes = sets.into_iter().map(|(key, set)| (key, set.action()));
        let ended = self.change_many(changes).await?;
        let each = ended.into_iter().map(|(key, ended)| {
            let (changed, served_by) = ended?;
            was_set(key, changed, served_by)
        });
        Ok(each.collect())
    }

    /// Deletes keys, each by itself, in order, in as few requests as possible. Gives one result per
    /// key; the first failure stops it, and all after it are `NotTried`.
    ///
    /// # Errors
    /// Only what was refused before anything was sent: a name.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open which keys are gone.
    pub async fn delete_many<K: AsRef<str>>(
        &self,
        keys: &[K],
    ) -> Result<Vec<Result<Deleted, CacheError>>, CacheError> {
        let delete = Action::Delete { condition: Condition::Always };
        let changes = keys.iter().map(|key| (key, delete.clone()));
        let ended = self.change_many(changes).await?;
        let each = ended.into_iter().map(|(key, ended)| {
            let (changed, served_by) = ended?;
            was_deleted(key, changed, served_by)
        });
        Ok(each.collect())
    }

    /// Checks all changes, then sends them.
    async fn change_many<K: AsRef<str>>(
        &self,
        changes: impl Iterator<Item = (K, Action)>,
    ) -> Result<Vec<(Key, Ended)>, CacheError> {
        let checked = changes.map(|(key, action)| {
            check(&action).map_err(CacheError::unsent)?;
            Ok((Key::parse("key", key.as_ref())?, action))
        });
        let changes: Vec<_> = checked.collect::<Result<_, CacheError>>()?;
        let keys: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
        Ok(keys.into_iter().zip(self.change_all(changes).await).collect())
    }

    async fn change(&self, key: Key, action: Action) -> Ended {
        check(&action).map_err(CacheError::unsent)?;
        let mut ended = self.change_all(vec![(key, action)]).await;
        ended.pop().unwrap_or_else(|| Err(misplaced("a node")))
    }

    /// Sends changes that were checked. Gives one result for each.
    async fn change_all(&self, changes: Vec<(Key, Action)>) -> Vec<Ended> {
        let mut id = match self.options.request_id {
            0 => rand::random(),
            some => some,
        };
        let mut all: Vec<Ended> = Vec::with_capacity(changes.len());
        let mut failed = false;
        for changes in cut(changes) {
            let keys: Vec<_> = changes.iter().map(|(key, _)| key.clone()).collect();
            let mut ended = if failed { Vec::new() } else { self.send(id, changes).await };
            failed |= ended.len() < keys.len() || ended.iter().any(Result::is_err);
            ended.truncate(keys.len());
            let untried = keys.iter().skip(ended.len()).cloned();
            let untried: Vec<_> = untried.map(|key| Err(CacheError::NotTried { key })).collect();
            // A node counts the changes of a request from the request's own id.
            id = keys.iter().fold(id, |id, _| id.wrapping_add(1));
            all.extend(ended);
            all.extend(untried);
        }
        all
    }

    /// Sends changes in one request; gives results as far as they were carried out.
    async fn send(&self, id: u128, changes: Vec<(Key, Action)>) -> Vec<Ended> {
        let options = CallOptions { request_id: id, ..self.options.clone() };
        let count = changes.len();
        let answer = match self.client.cache(CacheRequest::Do { changes }, options).await {
            Ok(answer) => answer,
            Err(fault) if fault.code == Code::LimitReached => {
                return vec![Err(CacheError::TooLarge(fault))];
            }
            Err(fault) => return all_of(count, id, &fault),
        };
        match answer.result {
            Ok(CacheReply::Done(done)) => {
                let ids = std::iter::successors(Some(id), |id| Some(id.wrapping_add(1)));
                let ended = |(one, id): (Result<_, Fault>, u128)| match one {
                    Ok(changed) => Ok((changed, answer.served_by.clone())),
                    Err(fault) => Err(CacheError::of_change(fault, id)),
                };
                done.into_iter().zip(ids).map(ended).collect()
            }
            Ok(_) => vec![Err(misplaced(&answer.served_by))],
            Err(fault) => all_of(count, id, &fault),
        }
    }

    /// Deletes every key whose name begins so; an empty prefix: all keys. Gives how many there were.
    /// A key that comes into being meanwhile may stay. Give it time: the keys are deleted one by one.
    ///
    /// # Errors
    /// `Unavailable`, `Fault`: some may be gone. A repetition does no harm and deletes the rest.
    ///
    /// # Cancel safety
    /// Dropping the future leaves it open how many are gone.
    pub async fn invalidate_prefix(&self, prefix: &str) -> Result<u64, CacheError> {
        self.invalidate(Selector::Prefix(prefix.to_owned())).await
    }

    /// Deletes every key that has this tag. Gives how many there were.
    ///
    /// # Errors
    /// As of [`Self::invalidate_prefix`].
    ///
    /// # Cancel safety
    /// As of [`Self::invalidate_prefix`].
    pub async fn invalidate_tag(&self, tag: &str) -> Result<u64, CacheError> {
        self.invalidate(Selector::Tag(Tag::parse("tag", tag)?)).await
    }

    async fn invalidate(&self, of: Selector) -> Result<u64, CacheError> {
        let (reply, served_by) = self.ask(CacheRequest::Invalidate { of }).await?;
        let CacheReply::Invalidated(count) = reply else { return Err(misplaced(&served_by)) };
        Ok(count)
    }

    pub(super) async fn ask(
        &self,
        request: CacheRequest,
    ) -> Result<(CacheReply, String), CacheError> {
        let answer = self.client.cache(request, self.options.clone()).await?;
        Ok((answer.result?, answer.served_by))
    }
}

/// A fault of a whole request. What may have been done is unknown of each of its changes.
fn all_of(count: usize, id: u128, fault: &Fault) -> Vec<Ended> {
    let ids = std::iter::successors(Some(id), |id| Some(id.wrapping_add(1)));
    ids.take(count).map(|id| Err(CacheError::of_change(fault.clone(), id))).collect()
}

fn was_set(key: Key, changed: api::Changed, served_by: String) -> Result<Changed, CacheError> {
    let Outcome::Set = changed.outcome else { return Err(CacheError::of(key, changed.outcome)) };
    Ok(Changed { version: changed.version, served_by })
}

fn was_deleted(key: Key, changed: api::Changed, served_by: String) -> Result<Deleted, CacheError> {
    let Outcome::Deleted(existed) = changed.outcome else {
        return Err(CacheError::of(key, changed.outcome));
    };
    Ok(Deleted { existed, served_by })
}

pub(super) fn misplaced(served_by: &str) -> CacheError {
    let text = format!("{served_by} gave an answer of another kind");
    CacheError::Fault(Fault::new(Code::Incompatible, text))
}
