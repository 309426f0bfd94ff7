//! Every result of `dsctl cache` in every format, from fixed data.

use std::time::Duration;

use dsync::cache::{
    Bytes, CacheStats, Changed, Inspected, Key, KeyView, LineView, LostKey, Read, Selector, Source,
    Sum, Tag, ViewMember, ViewReport,
};
use dsync_core::Fault;
use dsync_core::cache::command::Size;
use dsync_core::node::Role;

use super::cache::{self, Fate};
use super::caches::{self, Rate, Rates};
use super::tests::record;
use crate::args::Format;
use crate::commands::survey::{Known, Said};
use crate::output::text_for_test;

/// Above 2^53.
const LARGE: u64 = 9_007_199_254_740_993;

fn key(text: &str) -> Key {
    Key::parse("key", text).unwrap()
}

fn read(value: Option<&[u8]>, source: Source) -> Read {
    Read {
        value: value.map(Bytes::from),
        tags: value.map(|_| Tag::parse("tag", "users").unwrap()).into_iter().collect(),
        version: LARGE,
        source,
        ttl: value.map(|_| Duration::from_millis(598_400)),
        served_by: "cache-node-1".to_owned(),
    }
}

fn said<T>(number: u16, answer: Result<T, Fault>) -> Said<T> {
    let known = Known {
        node: Some(format!("cache-node-{number}")),
        role: Some(Role::Cache),
        address: format!("127.0.0.1:700{number}"),
    };
    Said { known, answer }
}

fn refused<T>(number: u16) -> Said<T> {
    let why = format!("127.0.0.1:700{number}: connection refused, nothing listens there");
    said(number, Err(Fault::unavailable(why)))
}

#[test]
fn values() {
    record("cache-get", &cache::read(&key("user/17"), &read(Some(b"ada"), Source::Shared)));
    let binary = read(Some(&[0, 255]), Source::Stale(1_500));
    record("cache-get-stale", &cache::read(&key("logo"), &binary));
    let keys = [key("user/17"), key("user/18"), key("logo"), key("long")];
    let long = "é".repeat(61);
    let all = [
        read(Some(b"ada\n"), Source::Fetched),
        read(None, Source::Memory),
        binary,
        Read { ttl: None, ..read(Some(long.as_bytes()), Source::Exclusive) },
    ];
    record("cache-mget", &cache::read_many(&keys, &all));
}

#[test]
fn changes() {
    let served_by = || "cache-node-2".to_owned();
    let changed = Changed { version: LARGE, served_by: served_by() };
    record("cache-set", &cache::set(&key("user/17"), &changed));
    let sum = Sum { number: i64::MIN, version: 3, served_by: served_by() };
    record("cache-incr", &cache::sum(&key("visits"), &sum));
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let fate = |result, version| Fate { result, version, error: None };
    let set = [(&a, fate("set", Some(1))), (&b, fate("set", Some(LARGE)))];
    record("cache-mset", &cache::fates("CacheSetList", "CacheSet", &set));
    let full = Fate { error: Some("b: the memory is full".to_owned()), ..fate("failed", None) };
    let some = [(&a, fate("set", Some(1))), (&b, full), (&c, fate("not-tried", None))];
    record("cache-mset-some", &cache::fates("CacheSetList", "CacheSet", &some));
    let deleted = [(&a, fate("deleted", None)), (&b, fate("missing", None))];
    record("cache-del", &cache::fates("CacheDeletionList", "CacheDeletion", &deleted));
    let prefix = |text: &str| Selector::Prefix(text.to_owned());
    record("cache-invalidate", &cache::invalidated(&prefix("user/"), 17));
    record("cache-invalidate-all", &cache::invalidated(&prefix(""), 0));
    let tag = Selector::Tag(Tag::parse("tag", "users").unwrap());
    record("cache-invalidate-tag", &cache::invalidated(&tag, 2));
}

#[test]
fn lists_of_keys() {
    let tags: Vec<_> = ["eu", "users"].iter().map(|tag| Tag::parse("tag", tag).unwrap()).collect();
    let one = |text: &str, tags: &[Tag], ttl_ms| KeyView {
        key: key(text),
        version: LARGE,
        bytes: 1_536,
        ttl_ms,
        tags: tags.into(),
    };
    let keys = [one("user/17", &tags, Some(59_000)), one("user/18", &[], None)];
    record("cache-keys", &cache::keys(&keys));
    record("cache-keys-none", &cache::keys(&[]));
}

fn line(state: &str, version: Option<u64>, lapsed: bool) -> LineView {
    LineView { state: state.to_owned(), version, lease_ms: version.map(|_| 1_400), lapsed }
}

fn seen() -> Inspected {
    Inspected {
        partition: 85,
        epoch: 4,
        home: Some("cache-node-2".to_owned()),
        directory: "shared".to_owned(),
        holders: vec!["cache-node-1".to_owned(), "cache-node-3".to_owned()],
        waiting: 1,
        memory: Some((LARGE, 3)),
        ttl_ms: Some(59_000),
        tags: vec!["users".to_owned()],
        lines: vec![
            ("cache-node-1".to_owned(), Ok(line("S", Some(LARGE), false))),
            ("cache-node-2".to_owned(), Ok(line("I", None, false))),
            ("cache-node-3".to_owned(), Ok(line("S", Some(7), true))),
            ("cache-node-4".to_owned(), Err("connection refused".to_owned())),
        ],
    }
}

#[test]
fn where_a_key_is() {
    record("cache-inspect", &caches::inspected(&key("user/17"), &seen()));
    let nowhere = Inspected {
        home: None,
        directory: "unknown".to_owned(),
        holders: Vec::new(),
        waiting: 0,
        memory: None,
        ttl_ms: None,
        tags: Vec::new(),
        lines: Vec::new(),
        ..seen()
    };
    record("cache-inspect-nowhere", &caches::inspected(&key("user/17"), &nowhere));
}

fn stats(number: u16) -> CacheStats {
    CacheStats {
        node: format!("cache-node-{number}"),
        states: vec![("S".to_owned(), 40), ("E".to_owned(), 2)],
        entries: 42,
        bytes: 5_400,
        bytes_max: 268_435_456,
        entries_max: 1_000_000,
        policy: "tinylfu".to_owned(),
        hits: 900,
        misses: 99,
        stale: 1,
        writes: 17,
        executed: 3,
        evictions: 5,
        rejections: 6,
        revoked: 8,
        directory: 30,
        partitions: 512,
        dirty: 0,
        lost: 0,
        memory: Some(Size { keys: 50, bytes: 7_000, limit: 0 }),
        store: "raft".to_owned(),
    }
}

#[test]
fn figures_of_nodes() {
    let idle = CacheStats { hits: 0, misses: 0, stale: 0, memory: None, ..stats(2) };
    let all = [said(1, Ok(stats(1))), said(2, Ok(idle)), refused(3)];
    record("cache-stats", &caches::stats(&all, None));
    let rate = Rate { reads: 12.34, writes: 0.0 };
    let rates: Rates = [("cache-node-1".to_owned(), rate)].into_iter().collect();
    record("cache-stats-watch", &caches::stats(&all, Some(&rates)));
}

#[test]
fn what_was_lost() {
    let one = |name: &str, at_ms| LostKey {
        key: key(name),
        version: LARGE,
        at_ms,
        node: "cache-node-3".to_owned(),
    };
    let (a, b) = (one("user/17", 1_795_580_340_000), one("user/18", 1_795_580_330_000));
    let all = [said(1, Ok(vec![a.clone()])), said(2, Ok(vec![a, b])), refused(3)];
    record("cache-lost", &caches::lost(&all, 1_795_580_345_000));
    record("cache-lost-none", &caches::lost(&[said(1, Ok(Vec::new()))], 0));
}

#[test]
fn who_takes_part() {
    let member = |number: u16, live| ViewMember {
        node: format!("cache-node-{number}"),
        address: format!("127.0.0.1:700{number}"),
        incarnation: LARGE,
        partitions: 512,
        live,
    };
    let view = ViewReport {
        epoch: 4,
        members: vec![member(1, true), member(2, false)],
        silent: vec!["cache-node-3".to_owned()],
        store: "redis".to_owned(),
        serving: true,
        lease_ms: Some(1_400),
    };
    record("cache-view", &caches::members(&view));
    let none = ViewReport {
        epoch: 0,
        members: Vec::new(),
        silent: Vec::new(),
        store: "raft".to_owned(),
        serving: false,
        lease_ms: None,
    };
    record("cache-view-none", &caches::members(&none));
    record("cache-view-waits", &caches::members(&ViewReport { serving: false, ..view }));
}

#[test]
fn a_value_cannot_drive_the_terminal() {
    let evil = read(Some(b"\x1b[2J\x07"), Source::Shared);
    let one = cache::read(&key("k"), &evil);
    for view in [one, cache::read_many(&[key("k")], std::slice::from_ref(&evil))] {
        let text = text_for_test(&view, Format::Table);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    }
}
