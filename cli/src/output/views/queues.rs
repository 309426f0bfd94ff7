//! Queues: counts, limits, findings, the ring.

use std::collections::BTreeMap;

use dsync::api::Ring;
use dsync_core::name::Name;
use dsync_core::queue::{Limits, Overflow, Stats, Totals};
use serde_json::{Value, json};

use crate::output::view::Mood;
use crate::output::{Cell, Table, View, human};

/// A queue, and who said so.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) stats: Stats,
    pub(crate) owner: Option<String>,
    pub(crate) store: String,
}

/// How fast a queue moves: per second, since the look before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    pub(crate) pushed: f64,
    pub(crate) acked: f64,
}

/// Rates of those queues that were there in the look before; `None`: there is no look before.
pub(crate) type Rates = BTreeMap<Name, Rate>;

/// Columns of the rates.
const RATES: [&str; 2] = ["PUSHED/S", "ACKED/S"];

fn rate_cells(rate: Option<Rate>) -> [Cell; 2] {
    let cell = |rate: Option<f64>| Cell::or_none(rate, |rate| Cell::Decimal(rate, 1));
    [cell(rate.map(|rate| rate.pushed)), cell(rate.map(|rate| rate.acked))]
}

fn add_rates(document: &mut Value, rate: Option<Rate>) {
    let tenths = |rate: f64| (rate * 10.0).round() / 10.0;
    if let Value::Object(fields) = document {
        fields.insert("pushed_per_s".to_owned(), json!(rate.map(|rate| tenths(rate.pushed))));
        fields.insert("acked_per_s".to_owned(), json!(rate.map(|rate| tenths(rate.acked))));
    }
}

/// Of `queue list`, and of `queue stats` without a name; with rates when it is looked at repeatedly.
pub(crate) fn list(queues: &[Stats], rates: Option<&Rates>) -> View {
    let columns = ["QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "OLDEST", "BYTES", "STATE"];
    let mut table = Table::new(&columns);
    if rates.is_some() {
        table.columns.extend(RATES);
    }
    let mut items = Vec::new();
    for stats in queues {
        let mut item = counts(stats);
        let mut rate = Vec::new();
        if let Some(rates) = rates {
            let its = rates.get(&stats.queue).copied();
            add_rates(&mut item, its);
            rate.extend(rate_cells(its));
        }
        items.push(item);
        let cells = [
            Cell::text(stats.queue.as_str()),
            Cell::Number(stats.ready),
            Cell::Number(stats.delayed),
            Cell::Number(stats.leased),
            Cell::Number(stats.dead),
            Cell::or_none(stats.oldest_ms, Cell::Ms),
            Cell::Number(stats.bytes),
            state(stats),
        ];
        table.row(cells.into_iter().chain(rate));
    }
    View::list("QueueList", "QueueStats", items)
        .table(table)
        .names(queues.iter().map(|stats| stats.queue.to_string()))
}

/// Of `queue stats Q`; with rates when it is looked at repeatedly.
pub(crate) fn stats(seen: &Seen, rates: Option<&Rates>) -> View {
    let stats = &seen.stats;
    let columns =
        ["QUEUE", "READY", "DELAYED", "LEASED", "DEAD", "OLDEST", "STATE", "OWNER", "STORE"];
    let mut table = Table::new(&columns);
    let cells = [
        Cell::text(stats.queue.as_str()),
        Cell::Number(stats.ready),
        Cell::Number(stats.delayed),
        Cell::Number(stats.leased),
        Cell::Number(stats.dead),
        Cell::or_none(stats.oldest_ms, Cell::Ms),
        state(stats),
        Cell::or_none(seen.owner.clone(), Cell::text),
        Cell::text(&seen.store),
    ];
    let mut view = document("QueueStats", seen);
    let mut rate = Vec::new();
    if let Some(rates) = rates {
        let its = rates.get(&stats.queue).copied();
        table.columns.extend(RATES);
        add_rates(&mut view.document, its);
        rate.extend(rate_cells(its));
    }
    table.row(cells.into_iter().chain(rate));
    view.table(table).names([stats.queue.to_string()])
}

/// Of `queue show`.
pub(crate) fn show(seen: &Seen) -> View {
    let stats = &seen.stats;
    let totals = &stats.totals;
    let mut fields = vec![
        ("queue", Cell::text(stats.queue.as_str())),
        ("state", state(stats)),
        ("ready", Cell::Number(stats.ready)),
        ("delayed", Cell::Number(stats.delayed)),
        ("leased", Cell::Number(stats.leased)),
        ("dead", Cell::Number(stats.dead)),
        ("oldest ready", Cell::or_none(stats.oldest_ms, Cell::Ms)),
        ("payloads", Cell::text(human::bytes(stats.bytes))),
        ("owner", Cell::or_none(seen.owner.clone(), Cell::text)),
        ("store", Cell::text(&seen.store)),
    ];
    fields.extend(limit_fields(&stats.limits));
    let numbers = totals_named(totals);
    fields.extend(numbers.map(|(name, number)| (name, Cell::Number(number))));
    document("Queue", seen).fields(fields).names([stats.queue.to_string()])
}

/// Of `queue limit`.
pub(crate) fn limits(queue: &Name, limits: &Limits) -> View {
    let document = json!({"queue": queue.as_str(), "limits": limits_document(limits)});
    let mut fields = vec![("queue", Cell::text(queue.as_str()))];
    fields.extend(limit_fields(limits));
    View::document("QueueLimits", document).fields(fields).names([queue.to_string()])
}

/// Of `queue pause` and `resume`.
pub(crate) fn paused(queue: &Name, reason: Option<&str>) -> View {
    let document = json!({"queue": queue.as_str(), "paused": reason.is_some(), "reason": reason});
    let mut table = Table::new(&["QUEUE", "PAUSED", "REASON"]);
    table.row([
        Cell::text(queue.as_str()),
        Cell::text(if reason.is_some() { "yes" } else { "no" }),
        Cell::or_none(reason, Cell::text),
    ]);
    View::document("QueuePause", document).table(table).names([queue.to_string()])
}

/// Of `queue purge`, `dlq redrive`, `dlq purge`: how many jobs.
pub(crate) fn moved(queue: &Name, what: &'static str, jobs: u64) -> View {
    let document = json!({"queue": queue.as_str(), "action": what, "jobs": jobs});
    let mut table = Table::new(&["QUEUE", "ACTION", "JOBS"]);
    table.row([Cell::text(queue.as_str()), Cell::text(what), Cell::Number(jobs)]);
    View::document("QueueChange", document).table(table).names([queue.to_string()])
}

/// Of `queue export` to a file.
pub(crate) fn exported(queue: &Name, file: &str, jobs: u64) -> View {
    let document = json!({"queue": queue.as_str(), "file": file, "jobs": jobs});
    let mut table = Table::new(&["QUEUE", "FILE", "JOBS"]);
    table.row([Cell::text(queue.as_str()), Cell::text(file), Cell::Number(jobs)]);
    View::document("QueueExport", document).table(table).names([file.to_owned()])
}

/// Of `queue audit`.
pub(crate) fn audit(queue: &Name, findings: &[String]) -> View {
    let verdict = if findings.is_empty() { "healthy" } else { "failed" };
    let document = json!({"queue": queue.as_str(), "verdict": verdict, "findings": findings});
    let mood = if findings.is_empty() { Mood::Good } else { Mood::Bad };
    let mut table = Table::new(&["QUEUE", "VERDICT", "FINDINGS"]);
    table.row([
        Cell::text(queue.as_str()),
        Cell::State(verdict.to_owned(), mood),
        Cell::Number(u64::try_from(findings.len()).unwrap_or(u64::MAX)),
    ]);
    let view = View::document("QueueAudit", document).table(table).names(findings.iter().cloned());
    findings.iter().fold(view, |view, finding| view.note(format!("- {finding}")))
}

/// Of `queue ring`.
pub(crate) fn ring(ring: &Ring, queue: Option<&Name>) -> View {
    let mut nodes: Vec<_> = ring.members.iter().collect();
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    let members = nodes.iter().map(|member| {
        json!({
            "node": member.node,
            "address": member.address,
            "partitions": member.partitions,
            "live": member.live,
        })
    });
    let members: Value = members.collect();
    let document = json!({
        "store": ring.store,
        "items": members,
        "members": members,
        "queue": queue.map(Name::as_str),
        "partition": ring.partition,
        "owner": ring.owner,
    });
    let mut table = Table::new(&["NODE", "ADDRESS", "PARTITIONS", "LIVE"]);
    for member in &nodes {
        let live = if member.live { ("yes", Mood::Good) } else { ("no", Mood::Bad) };
        table.row([
            Cell::text(&member.node),
            Cell::text(&member.address),
            Cell::Number(u64::from(member.partitions)),
            Cell::State(live.0.to_owned(), live.1),
        ]);
    }
    let view = View::document("QueueRing", document).table(table);
    let view = View { item_kind: Some("QueueRingMember"), ..view };
    let Some(queue) = queue else {
        return view.names(nodes.iter().map(|member| member.node.clone()));
    };
    let owner = ring.owner.as_deref().unwrap_or("nobody");
    let partition = ring.partition.map_or_else(String::new, |p| format!(" (partition {p})"));
    view.note(format!("{queue}{partition}: {owner} is in charge, store {}", ring.store))
        .names(ring.owner.clone())
}

fn document(kind: &'static str, seen: &Seen) -> View {
    let stats = &seen.stats;
    View::document(kind, counts(stats))
        .field("owner", json!(seen.owner))
        .field("store", seen.store.as_str().into())
        .field("limits", limits_document(&stats.limits))
        .field("totals", totals_named(&stats.totals).into_iter().collect())
}

fn counts(stats: &Stats) -> Value {
    json!({
        "queue": stats.queue.as_str(),
        "ready": stats.ready,
        "delayed": stats.delayed,
        "leased": stats.leased,
        "dead": stats.dead,
        "oldest_ms": stats.oldest_ms,
        "bytes": stats.bytes,
        "paused": stats.paused,
    })
}

fn state(stats: &Stats) -> Cell {
    match &stats.paused {
        Some(reason) if reason.is_empty() => Cell::State("paused".to_owned(), Mood::Bad),
        Some(reason) => Cell::State(format!("paused: {reason}"), Mood::Bad),
        None => Cell::State("open".to_owned(), Mood::Good),
    }
}

const fn overflow(limits: &Limits) -> &'static str {
    match limits.overflow {
        Overflow::Reject => "reject",
        Overflow::DropOldest => "drop-oldest",
    }
}

fn limits_document(limits: &Limits) -> Value {
    json!({
        "max_jobs": limits.max_jobs,
        "overflow": overflow(limits),
        "max_in_flight": limits.max_in_flight,
        "rate_per_s": limits.rate_per_s,
        "burst": limits.burst,
        "dedup_ms": limits.dedup_ms,
    })
}

fn limit_fields(limits: &Limits) -> [(&'static str, Cell); 6] {
    let number = |number: u64| match number {
        0 => Cell::text("no limit"),
        some => Cell::Number(some),
    };
    [
        ("max jobs", number(limits.max_jobs)),
        ("overflow", Cell::text(overflow(limits))),
        ("max in flight", number(limits.max_in_flight.into())),
        ("rate per second", number(limits.rate_per_s.into())),
        ("burst", Cell::Number(limits.burst.into())),
        ("dedup window", Cell::Ms(limits.dedup_ms)),
    ]
}

fn totals_named(totals: &Totals) -> [(&'static str, u64); 10] {
    [
        ("pushed", totals.pushed),
        ("duplicates", totals.duplicates),
        ("refused", totals.refused),
        ("delivered", totals.delivered),
        ("acked", totals.acked),
        ("failed", totals.failed),
        ("expired", totals.expired),
        ("died", totals.died),
        ("redriven", totals.redriven),
        ("purged", totals.purged),
    ]
}
