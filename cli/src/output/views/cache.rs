//! Keys: read, changed, listed.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsync::cache::{Bytes, Changed, Key, KeyView, Read, Selector, Source, Sum, Tag};
use serde_json::{Map, Value, json};

use crate::output::ids::long;
use crate::output::view::Mood;
use crate::output::{Cell, Table, View, human};

use super::queue::payload_cell;

/// Characters of a value in a table of several.
const SHOWN: usize = 60;

/// Of `cache get`.
pub(crate) fn read(key: &Key, read: &Read) -> View {
    let mut table = Table::new(&["KEY", "VALUE", "VERSION", "STATE", "TTL", "SERVED BY"]);
    table.row([
        Cell::text(key.as_str()),
        Cell::or_none(read.as_bytes(), payload_cell),
        Cell::Number(read.version),
        state_cell(read.source),
        Cell::or_none(read.ttl, |ttl| Cell::Ms(human::millis(ttl))),
        Cell::text(&read.served_by),
    ]);
    View::document("CacheValue", fields(key, read)).table(table).names([key.to_string()])
}

/// Of `cache mget`.
pub(crate) fn read_many(keys: &[Key], read: &[Read]) -> View {
    let mut table = Table::new(&["KEY", "VALUE", "VERSION", "STATE", "TTL"]);
    for (key, read) in keys.iter().zip(read) {
        let missing = Cell::State("missing".to_owned(), Mood::Bad);
        table.row([
            Cell::text(key.as_str()),
            Cell::or_none(read.as_bytes(), short_value),
            Cell::or_none(read.value.as_ref(), |_| Cell::Number(read.version)),
            if read.value.is_some() { state_cell(read.source) } else { missing },
            Cell::or_none(read.ttl, |ttl| Cell::Ms(human::millis(ttl))),
        ]);
    }
    let all = || keys.iter().zip(read);
    View::list("CacheValueList", "CacheValue", all().map(|(key, read)| fields(key, read)))
        .table(table)
        .names(all().filter(|(_, read)| read.value.is_some()).map(|(key, _)| key.to_string()))
}

/// A key that is not there has no version, no state and the value `null`.
fn fields(key: &Key, read: &Read) -> Value {
    let there = read.value.is_some();
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("key", key.as_str().into());
    add("version", if there { long(read.version) } else { Value::Null });
    let (name, value) = value_field(read.value.as_ref());
    add(name, value);
    add("state", there.then(|| read.source.as_str()).into());
    add("served_by", read.served_by.as_str().into());
    add("ttl_ms", json!(read.ttl.map(human::millis)));
    add("stale_ms", if let Source::Stale(ms) = read.source { ms.into() } else { Value::Null });
    add("tags", tags(&read.tags));
    Value::Object(fields)
}

fn value_field(value: Option<&Bytes>) -> (&'static str, Value) {
    let Some(value) = value else { return ("value", Value::Null) };
    match std::str::from_utf8(value.as_slice()) {
        Ok(text) => ("value", text.into()),
        Err(_) => ("value_base64", BASE64_STANDARD.encode(value.as_slice()).into()),
    }
}

/// Tags in JSON.
pub(super) fn tags(tags: &[Tag]) -> Value {
    tags.iter().map(Tag::as_str).collect()
}

fn state_cell(source: Source) -> Cell {
    match source {
        Source::Stale(ms) => {
            Cell::State(format!("{} ({} old)", source.as_str(), human::ms(ms)), Mood::Bad)
        }
        Source::Shared
        | Source::Exclusive
        | Source::Modified
        | Source::Fetched
        | Source::Memory => Cell::text(source.as_str()),
    }
}

fn short_value(value: &[u8]) -> Cell {
    let Ok(text) = std::str::from_utf8(value) else {
        return Cell::text(format!("({} bytes)", value.len()));
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cell::text(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cell::text(text),
    }
}

/// Of `cache set`.
pub(crate) fn set(key: &Key, changed: &Changed) -> View {
    let document = json!({
        "key": key.as_str(), "version": long(changed.version), "served_by": changed.served_by,
    });
    let mut table = Table::new(&["KEY", "VERSION", "SERVED BY"]);
    table.row([
        Cell::text(key.as_str()),
        Cell::Number(changed.version),
        Cell::text(&changed.served_by),
    ]);
    View::document("CacheSet", document).table(table).names([key.to_string()])
}

/// Of `cache incr`. The number is a string: it may have more digits than JSON keeps.
pub(crate) fn sum(key: &Key, sum: &Sum) -> View {
    let document = json!({
        "key": key.as_str(),
        "number": sum.number.to_string(),
        "version": long(sum.version),
        "served_by": sum.served_by,
    });
    let mut table = Table::new(&["KEY", "NUMBER", "VERSION", "SERVED BY"]);
    table.row([
        Cell::text(key.as_str()),
        Cell::text(sum.number.to_string()),
        Cell::Number(sum.version),
        Cell::text(&sum.served_by),
    ]);
    View::document("CacheSum", document).table(table).names([sum.number.to_string()])
}

/// What became of one of several keys.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    /// `set`, `deleted`, `missing`, `failed`, `unknown`, `not-tried`.
    pub(crate) result: &'static str,
    /// Its version since.
    pub(crate) version: Option<u64>,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

/// Of `cache mset` and `cache del`.
pub(crate) fn fates(kind: &'static str, item: &'static str, fates: &[(&Key, Fate)]) -> View {
    let with_versions = fates.iter().any(|(_, fate)| fate.version.is_some());
    let with_errors = fates.iter().any(|(_, fate)| fate.error.is_some());
    let mut table = Table::new(&["KEY", "RESULT"]);
    table.columns.extend(with_versions.then_some("VERSION"));
    table.columns.extend(with_errors.then_some("ERROR"));
    for (key, fate) in fates {
        let mood = match fate.result {
            "set" | "deleted" => Mood::Good,
            "missing" => Mood::Plain,
            _ => Mood::Bad,
        };
        let version = with_versions.then(|| Cell::or_none(fate.version, Cell::Number));
        let error = with_errors.then(|| Cell::or_none(fate.error.clone(), Cell::text));
        let cells = [Cell::text(key.as_str()), Cell::State(fate.result.to_owned(), mood)];
        table.row(cells.into_iter().chain(version).chain(error));
    }
    let items = fates.iter().map(|(key, fate)| {
        json!({
            "key": key.as_str(),
            "result": fate.result,
            "version": fate.version.map(long),
            "error": fate.error,
        })
    });
    View::list(kind, item, items)
        .table(table)
        .names(fates.iter().filter(|(_, fate)| is_done(fate)).map(|(key, _)| key.to_string()))
}

fn is_done(fate: &Fate) -> bool {
    matches!(fate.result, "set" | "deleted" | "missing")
}

/// Of `cache invalidate`.
pub(crate) fn invalidated(of: &Selector, count: u64) -> View {
    let (prefix, tag) = match of {
        Selector::Prefix(prefix) => (Some(prefix.as_str()), None),
        Selector::Tag(tag) => (None, Some(tag.as_str())),
    };
    let document = json!({"prefix": prefix, "tag": tag, "deleted": count});
    let words = match of {
        Selector::Prefix(prefix) if prefix.is_empty() => "all".to_owned(),
        Selector::Prefix(prefix) => format!("prefix {prefix}"),
        Selector::Tag(tag) => format!("tag {tag}"),
    };
    let mut table = Table::new(&["KEYS", "DELETED"]);
    table.row([Cell::text(words), Cell::Number(count)]);
    View::document("CacheInvalidation", document).table(table).names([count.to_string()])
}

/// Of `cache keys`: all, or one page.
pub(crate) fn keys(keys: &[KeyView]) -> View {
    let mut table = Table::new(&["KEY", "VERSION", "BYTES", "TTL", "TAGS"]);
    for one in keys {
        let tags: Vec<_> = one.tags.iter().map(Tag::as_str).collect();
        table.row([
            Cell::text(one.key.as_str()),
            Cell::Number(one.version),
            Cell::Number(one.bytes),
            Cell::or_none(one.ttl_ms, Cell::Ms),
            Cell::or_none((!tags.is_empty()).then(|| tags.join(",")), Cell::text),
        ]);
    }
    let items = keys.iter().map(|one| {
        json!({
            "key": one.key.as_str(),
            "version": long(one.version),
            "bytes": one.bytes,
            "ttl_ms": one.ttl_ms,
            "tags": tags(&one.tags),
        })
    });
    View::list("CacheKeyList", "CacheKey", items)
        .table(table)
        .names(keys.iter().map(|one| one.key.to_string()))
}
