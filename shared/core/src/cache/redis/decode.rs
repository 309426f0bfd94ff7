//! The scripts' answers.

use super::record::{member, outcome, tags, view};
use crate::cache::command::{Ask, Command, Done, Found, KeyView, Query, Size, Told, Written};
use crate::cache::item::Item;
use crate::cache::op::{Action, Op, Value};
use crate::cache::view::{Beat, Seen};
use crate::name::Name;
use crate::redis::reply::{Read, Reply};

/// Reads the answer to the call that [`encode`](super::encode) made of `ask`. `run` is the run of
/// the server that gave it.
///
/// # Errors
/// An answer that the script does not give: words for the log. What the call did is not known.
pub fn decode(ask: &Ask, run: &str, reply: Reply) -> Result<Told, String> {
    Ok(match ask {
        Ask::Do(Command::Write { write, .. }) => Told::Done(written(write, reply)?),
        Ask::Do(Command::Fence { .. } | Command::Replace { .. } | Command::TakeOver { .. }) => {
            Told::Done(Done::Is(reply.count()? > 0))
        }
        Ask::Live(_) => Told::Seen(seen(run, reply)?),
        Ask::Look(Query::Get(_)) => {
            let (item, ttl_ms) = item(reply)?;
            Told::Found(Found::Item { item, ttl_ms })
        }
        Ask::Look(Query::Keys { .. }) => {
            let [more, keys] = reply.array()?;
            let keys = keys.list()?.into_iter().map(key).collect::<Read<_>>()?;
            Told::Found(Found::Keys { keys, more: more.count()? > 0 })
        }
        Ask::Look(Query::Size) => {
            let [keys, bytes, limit] = reply.array()?;
            let (bytes, limit) = (bytes.count()?, limit.count()?);
            Told::Found(Found::Size(Size { keys: keys.count()?, bytes, limit }))
        }
    })
}

/// The value that a write brought.
fn sent(write: &Written) -> Value {
    match write {
        Written::Put { value, .. }
        | Written::Apply(Op { action: Action::Set { value, .. }, .. }) => value.clone(),
        Written::Apply(Op { action: Action::Increment { by }, .. }) => {
            Value { bytes: by.to_string().into_bytes().into(), ..Value::default() }
        }
        Written::Apply(Op { action: Action::Delete { .. }, .. }) => Value::default(),
    }
}

fn written(write: &Written, reply: Reply) -> Read<Done> {
    let mut parts = reply.list()?.into_iter();
    let mut next = || parts.next().unwrap_or(Reply::Nil);
    let kind = next().text()?;
    if kind == "x" {
        return Ok(Done::Fenced);
    }
    if kind == "f" {
        return Ok(Done::Full { used: next().count()?, limit: next().count()? });
    }
    let (version, outcome) = (next().count()?, outcome(&next().text()?)?);
    let (value, ttl_ms) = match kind.as_str() {
        "a" => (None, None),
        "s" => (Some(sent(write)), next().count_or_none()?),
        "h" => {
            let ttl_ms = next().count_or_none()?;
            (Some(value(next(), next())?), ttl_ms)
        }
        other => return Err(format!("the script answered {other:?} to a write")),
    };
    Ok(Done::Written { item: Item { version, value }, outcome, ttl_ms })
}

fn value(bytes: Reply, of: Reply) -> Read<Value> {
    Ok(Value { bytes: bytes.bytes()?.into(), tags: tags(&of.text()?)? })
}

fn item(reply: Reply) -> Read<(Item<Value>, Option<u64>)> {
    let mut parts = reply.list()?.into_iter();
    let mut next = || parts.next();
    let version = next().unwrap_or(Reply::Nil).count()?;
    let (Some(bytes), Some(of), Some(ttl)) = (next(), next(), next()) else {
        return Ok((Item { version, value: None }, None));
    };
    Ok((Item { version, value: Some(value(bytes, of)?) }, ttl.count_or_none()?))
}

fn key(reply: Reply) -> Read<KeyView> {
    let [key, version, bytes, ttl, of] = reply.array()?;
    Ok(KeyView {
        key: Name::parse("key", &key.text()?).map_err(|fault| fault.message)?,
        version: version.count()?,
        bytes: bytes.count()?,
        ttl_ms: ttl.count_or_none()?,
        tags: tags(&of.text()?)?,
    })
}

fn seen(run: &str, reply: Reply) -> Read<Seen> {
    let [view_is, serving, all] = reply.array()?;
    let mut beats = Vec::new();
    let mut all = all.list()?.into_iter();
    while let (Some(count), Some(of)) = (all.next(), all.next()) {
        beats.push(Beat { member: member(&of.bytes()?)?, count: count.count()? });
    }
    // Redis has no order of its own for them.
    beats.sort();
    let view = view(&view_is.bytes()?)?;
    Ok(Seen { view, serving: serving.count()?, run: run.to_owned(), beats })
}
