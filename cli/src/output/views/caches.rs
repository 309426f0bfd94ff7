//! The cache as a whole: where a key is, what each node does, who takes part, what was lost.

use std::collections::BTreeMap;

use dsync::cache::{CacheStats, Inspected, Key, LineView, LostKey, ViewReport};
use dsync_core::Fault;
use serde_json::{Map, Value, json};

use crate::commands::raft_reason;
use crate::commands::survey::Said;
use crate::output::ids::long;
use crate::output::view::Mood;
use crate::output::{Cell, Table, View, human};

/// Of `cache inspect`.
pub(crate) fn inspected(key: &Key, seen: &Inspected) -> View {
    let mut table = Table::new(&["NODE", "PART", "STATE", "VERSION", "LEASE"]);
    for (node, line) in &seen.lines {
        let home = seen.home.as_ref() == Some(node);
        let line = line.as_ref();
        table.row([
            Cell::text(node),
            if home { Cell::text("home") } else { Cell::None },
            line.map_or_else(|why| Cell::State(format!("down: {why}"), Mood::Bad), line_state),
            Cell::or_none(line.ok().and_then(|line| line.version), Cell::Number),
            Cell::or_none(line.ok().and_then(|line| line.lease_ms), Cell::Ms),
        ]);
    }
    let document = json!({
        "key": key.as_str(),
        "version": seen.memory.map(|(version, _)| long(version)),
        "bytes": seen.memory.map(|(_, bytes)| bytes),
        "ttl_ms": seen.ttl_ms,
        "tags": seen.tags,
        "home": seen.home,
        "partition": seen.partition,
        "epoch": long(seen.epoch),
        "directory": seen.directory,
        "holders": seen.holders,
        "waiting": seen.waiting,
        "lines": seen.lines.iter().map(line).collect::<Vec<_>>(),
    });
    View::document("CacheInspection", document)
        .note(memory_words(key, seen))
        .note(home_words(seen))
        .table(table)
        .names(seen.home.clone())
}

fn line((node, line): &(String, Result<LineView, String>)) -> Value {
    let (line, error) = match line {
        Ok(line) => (Some(line), None),
        Err(why) => (None, Some(why)),
    };
    json!({
        "node": node,
        "state": line.map(|line| line.state.as_str()),
        "version": line.and_then(|line| line.version).map(long),
        "lease_ms": line.and_then(|line| line.lease_ms),
        "lapsed": line.map(|line| line.lapsed),
        "error": error,
    })
}

fn line_state(line: &LineView) -> Cell {
    match (line.lapsed, line.state.as_str()) {
        (true, state) => Cell::State(format!("{state}, lapsed"), Mood::Bad),
        (false, state @ ("S" | "E" | "M")) => Cell::State(state.to_owned(), Mood::Good),
        (false, state) => Cell::text(state),
    }
}

fn memory_words(key: &Key, seen: &Inspected) -> String {
    let Some((version, bytes)) = seen.memory else { return format!("{key} is not there") };
    let ttl = seen.ttl_ms.map(|ms| format!(", gone in {}", human::ms(ms))).unwrap_or_default();
    let tags = match seen.tags.as_slice() {
        [] => String::new(),
        tags => format!(", tags {}", tags.join(",")),
    };
    format!("{key}: version {version}, {}{ttl}{tags}", human::bytes(bytes))
}

fn home_words(seen: &Inspected) -> String {
    let place = format!("partition {}, epoch {}", seen.partition, seen.epoch);
    let Some(home) = &seen.home else { return format!("no node is its home ({place})") };
    let holders = match seen.holders.as_slice() {
        [] => String::new(),
        holders => format!(" at {}", holders.join(",")),
    };
    let waiting = match seen.waiting {
        0 => String::new(),
        1 => ", 1 request waits".to_owned(),
        some => format!(", {some} requests wait"),
    };
    format!("home {home} ({place}), directory: {}{holders}{waiting}", seen.directory)
}

/// How much a node does: in a second, since the look before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) reads: f64,
    pub(crate) writes: f64,
}

/// Rates of those nodes that answered in the look before, by NODE_ID.
pub(crate) type Rates = BTreeMap<String, Rate>;

/// Columns of `cache stats`.
const COLUMNS: [&str; 14] = [
    "NODE", "STATE", "ENTRIES", "BYTES", "HITS", "MISSES", "HIT %", "WRITES", "EVICTED", "REVOKED",
    "HOME OF", "DIRTY", "LOST", "STORE",
];

/// Of `cache stats`; with rates when it is looked at repeatedly.
pub(crate) fn stats(said: &[Said<CacheStats>], rates: Option<&Rates>) -> View {
    let mut table = Table::new(&COLUMNS);
    if rates.is_some() {
        table.columns.extend(["READS/S", "WRITES/S"]);
    }
    let mut items = Vec::new();
    for one in said {
        let rate = rates.and_then(|rates| rates.get(one.known.label())).copied();
        let mut item = stats_item(one);
        let mut cells = stats_cells(one);
        if rates.is_some() {
            let tenths = |rate: f64| (rate * 10.0).round() / 10.0;
            item.insert("reads_per_s".to_owned(), json!(rate.map(|rate| tenths(rate.reads))));
            item.insert("writes_per_s".to_owned(), json!(rate.map(|rate| tenths(rate.writes))));
            let cell = |rate: Option<f64>| Cell::or_none(rate, |rate| Cell::Decimal(rate, 1));
            cells.extend([cell(rate.map(|rate| rate.reads)), cell(rate.map(|rate| rate.writes))]);
        }
        items.push(Value::Object(item));
        table.row(cells);
    }
    let view = View::list("CacheStatsList", "CacheStats", items)
        .table(table)
        .names(said.iter().map(|one| one.known.label().to_owned()));
    with_silent(view, said)
}

/// Says of every node that did not answer why.
fn with_silent<T>(view: View, said: &[Said<T>]) -> View {
    silent(said).fold(view, |view, (node, why)| view.note(format!("{node}: {why}")))
}

/// Nodes that did not answer, and why.
fn silent<T>(said: &[Said<T>]) -> impl Iterator<Item = (&str, String)> {
    said.iter().filter_map(|one| {
        let fault: &Fault = one.answer.as_ref().err()?;
        Some((one.known.label(), raft_reason(&fault.message, &one.known)))
    })
}

/// Reads in a hundred that a line answered, to the tenth; `None`: there were none.
fn hit_percent(stats: &CacheStats) -> Option<f64> {
    let reads = u128::from(stats.hits) + u128::from(stats.misses) + u128::from(stats.stale);
    let permille = (u128::from(stats.hits) * 1_000).checked_div(reads)?;
    u16::try_from(permille).ok().map(|permille| f64::from(permille) / 10.0)
}

fn stats_cells(one: &Said<CacheStats>) -> Vec<Cell> {
    let name = Cell::text(one.known.label());
    let Ok(stats) = &one.answer else {
        let mut cells = vec![name, Cell::State("down".to_owned(), Mood::Bad)];
        cells.resize(COLUMNS.len(), Cell::None);
        return cells;
    };
    vec![
        name,
        Cell::State("up".to_owned(), Mood::Good),
        Cell::Number(stats.entries),
        Cell::Number(stats.bytes),
        Cell::Number(stats.hits),
        Cell::Number(stats.misses),
        Cell::or_none(hit_percent(stats), |percent| Cell::Decimal(percent, 1)),
        Cell::Number(stats.writes),
        Cell::Number(stats.evictions),
        Cell::Number(stats.revoked),
        Cell::Number(u64::from(stats.partitions)),
        Cell::Number(stats.dirty),
        Cell::Number(stats.lost),
        Cell::text(&stats.store),
    ]
}

fn stats_item(one: &Said<CacheStats>) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("node", json!(one.known.node));
    add("address", one.known.address.as_str().into());
    add("reachable", one.answer.is_ok().into());
    add("error", json!(silent(std::slice::from_ref(one)).next().map(|(_, why)| why)));
    let none = CacheStats::default();
    let stats = one.answer.as_ref().unwrap_or(&none);
    let states = stats.states.iter().map(|(state, lines)| (state.clone(), Value::from(*lines)));
    add("states", Value::Object(states.collect()));
    let counts = [
        ("entries", stats.entries),
        ("entries_max", stats.entries_max),
        ("bytes", stats.bytes),
        ("bytes_max", stats.bytes_max),
        ("hits", stats.hits),
        ("misses", stats.misses),
        ("stale", stats.stale),
        ("writes", stats.writes),
        ("executed", stats.executed),
        ("evictions", stats.evictions),
        ("rejections", stats.rejections),
        ("revoked", stats.revoked),
        ("directory", stats.directory),
        ("partitions", u64::from(stats.partitions)),
        ("dirty", stats.dirty),
        ("lost", stats.lost),
    ];
    for (name, count) in counts {
        add(name, count.into());
    }
    add("hit_percent", json!(hit_percent(stats)));
    add("policy", stats.policy.as_str().into());
    add("store", stats.store.as_str().into());
    let memory = stats
        .memory
        .map(|size| json!({"keys": size.keys, "bytes": size.bytes, "bytes_max": size.limit}));
    add("memory", memory.into());
    if one.answer.is_err() {
        // What is unknown is null, and the field is there.
        let known = ["node", "address", "reachable", "error"];
        let unknown = fields.iter_mut().filter(|(name, _)| !known.contains(&name.as_str()));
        unknown.for_each(|(_, value)| *value = Value::Null);
    }
    fields
}

/// Of `cache lost`; `now_ms` is the time since 1970.
pub(crate) fn lost(said: &[Said<Vec<LostKey>>], now_ms: u64) -> View {
    let answers = said.iter().filter_map(|one| one.answer.as_ref().ok());
    let mut all: Vec<&LostKey> = answers.flatten().collect();
    all.sort_by(|a, b| (a.at_ms, &a.key, a.version).cmp(&(b.at_ms, &b.key, b.version)));
    // Several nodes may know of the same one.
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|one| seen.insert((&one.key, one.version, &one.node)));
    let mut table = Table::new(&["KEY", "VERSION", "NODE", "AGO"]);
    for one in &all {
        table.row([
            Cell::text(one.key.as_str()),
            Cell::Number(one.version),
            Cell::text(&one.node),
            Cell::Ms(now_ms.saturating_sub(one.at_ms)),
        ]);
    }
    let items = all.iter().map(|one| {
        json!({
            "key": one.key.as_str(),
            "version": long(one.version),
            "node": one.node,
            "at_ms": one.at_ms,
        })
    });
    let unreachable: Vec<_> =
        silent(said).map(|(node, why)| json!({"node": node, "error": why})).collect();
    let view = View::list("CacheLostList", "CacheLost", items)
        .field("unreachable", unreachable.into())
        .table(table)
        .names(all.iter().map(|one| one.key.to_string()));
    with_silent(view, said)
}

/// Of `cache view`.
pub(crate) fn members(view: &ViewReport) -> View {
    let mut table = Table::new(&["NODE", "ADDRESS", "INCARNATION", "HOME OF", "LIVE"]);
    let live = |live: bool| {
        let (word, mood) = if live { ("yes", Mood::Good) } else { ("no", Mood::Bad) };
        Cell::State(word.to_owned(), mood)
    };
    for member in &view.members {
        table.row([
            Cell::text(&member.node),
            Cell::text(&member.address),
            Cell::Number(member.incarnation),
            Cell::Number(u64::from(member.partitions)),
            live(member.live),
        ]);
    }
    for node in &view.silent {
        table.row([
            Cell::text(node),
            Cell::None,
            Cell::None,
            Cell::Number(0),
            Cell::State("counted out".to_owned(), Mood::Bad),
        ]);
    }
    let members = view.members.iter().map(|member| {
        json!({
            "node": member.node,
            "address": member.address,
            "incarnation": long(member.incarnation),
            "partitions": member.partitions,
            "live": member.live,
        })
    });
    let words = match view.epoch {
        0 => "there is no view yet".to_owned(),
        epoch if view.serving => format!("epoch {epoch}, store {}", view.store),
        epoch => {
            format!("epoch {epoch}, store {}; the node asked does not serve in it", view.store)
        }
    };
    View::list("CacheView", "CacheViewMember", members)
        .field("epoch", long(view.epoch))
        .field("silent", json!(view.silent))
        .field("store", view.store.as_str().into())
        .field("serving", view.serving.into())
        .field("lease_ms", json!(view.lease_ms))
        .table(table)
        .note(words)
        .names(view.members.iter().map(|member| member.node.clone()))
}
