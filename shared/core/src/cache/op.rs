//! What keys hold and what is done to them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::item::{Changed, Expiry, Item, Operation};
use crate::name::Name;
use crate::{Code, Fault};

/// A key of the cache.
pub type Key = Name;
/// A mark by which several keys are deleted together.
pub type Tag = Name;

/// Longest value in bytes.
pub const VALUE_MAX: usize = 512 * 1024;
/// Most tags of one key.
pub const TAGS_MAX: usize = 16;
/// Longest time to live: ten years, in milliseconds.
pub const TTL_MAX_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// Bytes that many may hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(Arc<[u8]>);

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        crate::queue::bytes::deserialize(from).map(Self::from)
    }
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Value {
    /// The bytes.
    pub bytes: Bytes,
    /// Its tags, sorted, each once.
    pub tags: Arc<[Tag]>,
}

/// When a change is made.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// If there is no such key.
    Absent,
    /// If there is such a key.
    Present,
    /// If the key has this version.
    Version(u64),
}

impl Condition {
    /// True if the change is made.
    pub const fn holds<V>(self, item: &Item<V>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => item.value.is_none(),
            Self::Present => item.value.is_some(),
            Self::Version(version) => item.value.is_some() && item.version == version,
        }
    }
}

/// What is done to a key. Append only: the number is on the wire and on disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// Gives it a value.
    Set {
        /// The value.
        value: Value,
        /// When.
        condition: Condition,
        /// It is gone after so many milliseconds; `None`: it stays.
        ttl_ms: Option<u64>,
    },
    /// Takes the key away.
    Delete {
        /// When.
        condition: Condition,
    },
    /// Adds to the number that it holds, in decimal; none is 0. Its time to live stays.
    Increment {
        /// What is added.
        by: i64,
    },
}

/// An action, and the request that it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Op {
    /// The request: a repetition under the same number is known, as long as no other change of the
    /// key came between.
    pub request: u128,
    /// What is done.
    pub action: Action,
}

/// What came of an action. Append only: the number is on the wire and on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The key has the value.
    Set,
    /// The key is gone; `false`: there was none.
    Deleted(bool),
    /// The sum.
    Number(i64),
    /// The condition does not hold: nothing was changed. The version of the key, if there is one.
    Unmet(Option<u64>),
    /// The key holds no decimal number of 64 bits: nothing was changed.
    NotANumber,
    /// The sum does not fit into 64 bits: nothing was changed.
    Overflow,
    /// The memory has no more room: nothing was changed.
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes that there may be.
        limit: u64,
    },
}

impl Operation for Op {
    type Value = Value;
    type Outcome = Outcome;

    fn apply(&self, item: &Item<Value>) -> (Changed<Value>, Outcome) {
        let unmet = || {
            let version = item.value.is_some().then_some(item.version);
            (Changed::Not, Outcome::Unmet(version))
        };
        match &self.action {
            Action::Set { condition, .. } | Action::Delete { condition }
                if !condition.holds(item) =>
            {
                unmet()
            }
            Action::Set { value, .. } => (Changed::To(value.clone()), Outcome::Set),
            Action::Delete { .. } if item.value.is_none() => {
                (Changed::Not, Outcome::Deleted(false))
            }
            Action::Delete { .. } => (Changed::Gone, Outcome::Deleted(true)),
            Action::Increment { by } => add(item.value.as_ref(), *by),
        }
    }

    /// Only what leaves the key where it is, with its tags and its time to live.
    fn may_wait(&self, item: &Item<Value>) -> bool {
        match (&self.action, &item.value) {
            (Action::Set { value, ttl_ms: None, .. }, Some(now)) => value.tags == now.tags,
            (Action::Increment { .. }, Some(_)) => true,
            _ => false,
        }
    }

    fn expiry(&self) -> Expiry {
        match &self.action {
            Action::Set { ttl_ms: Some(ttl), .. } => Expiry::After(*ttl),
            Action::Set { ttl_ms: None, .. } => Expiry::Never,
            Action::Delete { .. } | Action::Increment { .. } => Expiry::Kept,
        }
    }
}

fn add(value: Option<&Value>, by: i64) -> (Changed<Value>, Outcome) {
    let now = match value {
        None => Some(0),
        Some(value) => number(value.bytes.as_slice()),
    };
    let Some(now) = now else { return (Changed::Not, Outcome::NotANumber) };
    let Some(sum) = now.checked_add(by) else { return (Changed::Not, Outcome::Overflow) };
    let bytes = Bytes::from(sum.to_string().into_bytes());
    let tags = value.map(|value| Arc::clone(&value.tags)).unwrap_or_default();
    (Changed::To(Value { bytes, tags }), Outcome::Number(sum))
}

/// A decimal number as it is written by itself: no sign but a minus, no zero in front.
fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.parse::<i64>().ok().filter(|number| number.to_string() == text)
}

/// Refuses an action that breaks a rule of its own.
///
/// # Errors
/// `InvalidArgument` or `LimitReached`; the text names the value and the limit.
pub fn check(action: &Action) -> Result<(), Fault> {
    let bad = |text: String, hint: &str| Err(Fault::new(Code::InvalidArgument, text).hint(hint));
    match action {
        Action::Set { value, ttl_ms, .. } => {
            let (bytes, tags) = (value.bytes.as_slice().len(), value.tags.len());
            if bytes > VALUE_MAX {
                let text = format!("a value of {bytes} bytes: at most {VALUE_MAX} are possible");
                return Err(Fault::new(Code::LimitReached, text)
                    .hint("keep it elsewhere, and its place here"));
            }
            if tags > TAGS_MAX {
                return bad(
                    format!("{tags} tags: a key has at most {TAGS_MAX}"),
                    "leave some away, or give the keys a common prefix",
                );
            }
            match ttl_ms {
                Some(0) => bad(
                    "a time to live of 0".to_owned(),
                    "1 ms or longer; without one the key stays until it is deleted",
                ),
                Some(ttl) if *ttl > TTL_MAX_MS => bad(
                    format!("a time to live of {ttl} ms: at most {TTL_MAX_MS} are possible"),
                    "without one the key stays until it is deleted",
                ),
                Some(_) | None => Ok(()),
            }
        }
        Action::Delete { .. } | Action::Increment { .. } => Ok(()),
    }
}

/// Tags as a value keeps them: sorted, each once.
pub fn tags_of(mut tags: Vec<Tag>) -> Arc<[Tag]> {
    tags.sort();
    tags.dedup();
    tags.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(text: &str) -> Item<Value> {
        let bytes = Bytes::from(text.as_bytes());
        Item { version: 7, value: Some(Value { bytes, tags: Arc::default() }) }
    }

    fn absent() -> Item<Value> {
        Item { version: 7, value: None }
    }

    fn done(action: Action, item: &Item<Value>) -> (Option<String>, Outcome) {
        let (changed, outcome) = Op { request: 1, action }.apply(item);
        let text = |value: Value| String::from_utf8(value.bytes.as_slice().to_vec()).unwrap();
        let after = match changed {
            Changed::Not => None,
            Changed::To(value) => Some(text(value)),
            Changed::Gone => Some("gone".to_owned()),
        };
        (after, outcome)
    }

    fn set(condition: Condition) -> Action {
        let value = Value { bytes: Bytes::from(&b"new"[..]), tags: Arc::default() };
        Action::Set { value, condition, ttl_ms: None }
    }

    #[test]
    fn a_change_is_made_if_its_condition_holds() {
        let new = || Some("new".to_owned());
        assert_eq!(done(set(Condition::Always), &held("x")), (new(), Outcome::Set));
        assert_eq!(done(set(Condition::Absent), &held("x")), (None, Outcome::Unmet(Some(7))));
        assert_eq!(done(set(Condition::Absent), &absent()), (new(), Outcome::Set));
        assert_eq!(done(set(Condition::Present), &absent()), (None, Outcome::Unmet(None)));
        assert_eq!(done(set(Condition::Version(7)), &held("x")), (new(), Outcome::Set));
        assert_eq!(done(set(Condition::Version(6)), &held("x")), (None, Outcome::Unmet(Some(7))));
        // What an absent key has is no version.
        assert_eq!(done(set(Condition::Version(7)), &absent()), (None, Outcome::Unmet(None)));
        let delete = |condition| Action::Delete { condition };
        let gone = Some("gone".to_owned());
        assert_eq!(done(delete(Condition::Always), &held("x")), (gone, Outcome::Deleted(true)));
        assert_eq!(done(delete(Condition::Always), &absent()), (None, Outcome::Deleted(false)));
        let unmet = (None, Outcome::Unmet(Some(7)));
        assert_eq!(done(delete(Condition::Version(6)), &held("x")), unmet);
    }

    #[test]
    fn numbers() {
        let add = |by, item: &Item<Value>| done(Action::Increment { by }, item);
        assert_eq!(add(5, &absent()), (Some("5".to_owned()), Outcome::Number(5)));
        assert_eq!(add(-8, &held("3")), (Some("-5".to_owned()), Outcome::Number(-5)));
        for text in ["", "x", " 3", "+3", "03", "3.0", "-0", "9223372036854775808"] {
            assert_eq!(add(1, &held(text)), (None, Outcome::NotANumber), "{text:?}");
        }
        assert_eq!(add(1, &held("9223372036854775807")), (None, Outcome::Overflow));
    }

    #[test]
    fn what_waits_leaves_the_key_where_it_is() {
        let op = |action| Op { request: 1, action };
        assert!(op(set(Condition::Always)).may_wait(&held("x")));
        assert!(!op(set(Condition::Always)).may_wait(&absent()));
        assert!(!op(Action::Delete { condition: Condition::Always }).may_wait(&held("x")));
        assert!(op(Action::Increment { by: 1 }).may_wait(&held("1")));
        let tags = tags_of(vec![Name::parse("tag", "t").unwrap()]);
        let tagged = Value { tags, ..Value::default() };
        let tagged = Action::Set { value: tagged, condition: Condition::Always, ttl_ms: None };
        assert!(!op(tagged).may_wait(&held("x")), "its tags change");
    }
}
