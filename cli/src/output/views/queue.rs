//! Jobs: pushed, taken, settled, looked at.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dsync::api::Durability;
use dsync_core::name::Name;
use dsync_core::queue::{Delivery, JobView, Pushed, Receipt, Settled, State};
use serde_json::{Map, Value, json};

use crate::output::view::Mood;
use crate::output::{Cell, Table, View};

/// Of `queue push`.
pub(crate) fn pushed(queue: &Name, id: &str, pushed: &Pushed, durability: Durability) -> View {
    let (status, state) = match pushed {
        Pushed::Created => ("created", None),
        Pushed::Duplicate { state } => ("duplicate", Some(state.as_str())),
        Pushed::Refused(_) => ("refused", None),
    };
    let mut document = json!({
        "queue": queue.as_str(), "id": id, "status": status, "durability": durability.as_str(),
    });
    if let (Some(state), Some(fields)) = (state, document.as_object_mut()) {
        fields.insert("state".to_owned(), state.into());
    }
    let mut table = Table::new(&["QUEUE", "ID", "STATUS", "STATE", "DURABILITY"]);
    table.row([
        Cell::text(queue.as_str()),
        Cell::text(id),
        Cell::text(status),
        Cell::or_none(state, Cell::text),
        Cell::text(durability.as_str()),
    ]);
    View::document("QueuePush", document).table(table).names([id.to_owned()])
}

/// What became of many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// In the queue now.
    pub(crate) created: u64,
    /// In the queue before.
    pub(crate) duplicates: u64,
    /// What the weakest of the answers promised.
    pub(crate) durability: Option<Durability>,
}

impl Count {
    /// All that need not be pushed again.
    pub(crate) fn all(&self) -> u64 {
        self.created + self.duplicates
    }
}

/// Of `queue push --jsonl` and `queue import`.
pub(crate) fn pushed_many(queue: &Name, count: &Count) -> View {
    let durability = count.durability.map(Durability::as_str);
    let document = json!({
        "queue": queue.as_str(),
        "pushed": count.all(),
        "created": count.created,
        "duplicates": count.duplicates,
        "durability": durability,
    });
    let mut table = Table::new(&["QUEUE", "CREATED", "DUPLICATES", "DURABILITY"]);
    table.row([
        Cell::text(queue.as_str()),
        Cell::Number(count.created),
        Cell::Number(count.duplicates),
        Cell::or_none(durability, Cell::text),
    ]);
    View::document("QueuePushSummary", document).table(table).names([queue.to_string()])
}

/// Of `queue pop`.
pub(crate) fn popped(queue: &Name, jobs: &[Delivery]) -> View {
    let mut table = Table::new(&["RECEIPT", "PRIORITY", "ATTEMPT", "LEASE", "PAYLOAD"]);
    for job in jobs {
        table.row([
            Cell::text(job.receipt.to_string()),
            Cell::Number(u64::from(job.priority)),
            Cell::Number(u64::from(job.attempt)),
            Cell::Ms(job.lease_ms),
            payload_cell(&job.payload),
        ]);
    }
    let items = jobs.iter().map(|job| {
        let mut fields = Map::new();
        fields.insert("id".to_owned(), job.receipt.id.as_str().into());
        fields.insert("receipt".to_owned(), job.receipt.to_string().into());
        payload_fields(&mut fields, &job.payload, false);
        fields.insert("priority".to_owned(), job.priority.into());
        fields.insert("attempt".to_owned(), job.attempt.into());
        fields.insert("max_attempts".to_owned(), job.max_attempts.into());
        fields.insert("lease_ms".to_owned(), job.lease_ms.into());
        fields.insert("age_ms".to_owned(), job.age_ms.into());
        fields.insert("headers".to_owned(), headers(&job.headers));
        fields.insert("last_error".to_owned(), json!(job.last_error));
        Value::Object(fields)
    });
    View::list("QueueJobList", "QueueJob", items)
        .field("queue", queue.as_str().into())
        .table(table)
        .names(jobs.iter().map(|job| job.receipt.to_string()))
}

/// Of `queue ack`, `nack`, `reject`, `release`, `extend`: what was done with each receipt.
pub(crate) fn settled(queue: &Name, verb: &str, done: &[(&Receipt, Settled)]) -> View {
    let result = |settled: Settled| match settled {
        Settled::Done => "done",
        Settled::Dead => "dead",
        Settled::Stale => "stale",
    };
    let mut table = Table::new(&["RECEIPT", "VERB", "RESULT"]);
    for (receipt, settled) in done {
        let mood = if *settled == Settled::Done { Mood::Good } else { Mood::Bad };
        table.row([
            Cell::text(receipt.to_string()),
            Cell::text(verb),
            Cell::State(result(*settled).to_owned(), mood),
        ]);
    }
    let items = done.iter().map(|(receipt, settled)| {
        json!({
            "id": receipt.id.as_str(),
            "receipt": receipt.to_string(),
            "result": result(*settled),
        })
    });
    View::list("QueueReceiptList", "QueueReceipt", items)
        .field("queue", queue.as_str().into())
        .field("verb", verb.into())
        .table(table)
        .names(done.iter().map(|(receipt, _)| receipt.to_string()))
}

/// Of `queue peek`.
pub(crate) fn peeked(queue: &Name, jobs: &[JobView]) -> View {
    let mut table =
        Table::new(&["ID", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "TIME", "BYTES", "PAYLOAD"]);
    for job in jobs {
        table.row([
            Cell::text(job.id.as_str()),
            Cell::text(job.state.as_str()),
            Cell::Number(u64::from(job.priority)),
            Cell::text(attempts(job)),
            Cell::Ms(job.age_ms),
            if job.state == State::Ready { Cell::None } else { Cell::Ms(job.time_ms) },
            Cell::Number(u64::from(job.payload_bytes)),
            short_payload(job),
        ]);
    }
    job_list("QueueJobViewList", "QueueJobView", queue, jobs).table(table)
}

/// Of `queue dlq list`.
pub(crate) fn dead(queue: &Name, jobs: &[JobView]) -> View {
    let mut table = Table::new(&["ID", "DEAD FOR", "ATTEMPTS", "CAUSE", "PAYLOAD"]);
    for job in jobs {
        table.row([
            Cell::text(job.id.as_str()),
            Cell::Ms(job.time_ms),
            Cell::text(attempts(job)),
            Cell::or_none(job.cause.clone(), Cell::text),
            short_payload(job),
        ]);
    }
    job_list("QueueDeadLetterList", "QueueDeadLetter", queue, jobs).table(table)
}

/// Of `queue peek --id` and `queue dlq show`.
pub(crate) fn job(queue: &Name, job: &JobView) -> View {
    let mut fields = vec![
        ("id", Cell::text(job.id.as_str())),
        ("queue", Cell::text(queue.as_str())),
        ("state", Cell::text(job.state.as_str())),
        ("priority", Cell::Number(u64::from(job.priority))),
        ("attempts", Cell::text(attempts(job))),
        ("age", Cell::Ms(job.age_ms)),
    ];
    match job.state {
        State::Delayed => fields.push(("due in", Cell::Ms(job.time_ms))),
        State::Leased => fields.push(("lease ends in", Cell::Ms(job.time_ms))),
        State::Dead => fields.push(("dead for", Cell::Ms(job.time_ms))),
        State::Ready | State::Done => {}
    }
    fields
        .push(("consumer", Cell::or_none(job.consumer.as_ref(), |name| Cell::text(name.as_str()))));
    fields.push(("cause", Cell::or_none(job.cause.clone(), Cell::text)));
    fields.extend(job.errors.iter().map(|error| ("error", Cell::text(error))));
    let header =
        |(name, value): &(String, String)| ("header", Cell::text(format!("{name}={value}")));
    fields.extend(job.headers.iter().map(header));
    fields.push(("bytes", Cell::Number(u64::from(job.payload_bytes))));
    fields.push(("payload", payload_cell(&job.payload)));
    let view = View::document("QueueJobView", Value::Object(job_fields(job)));
    view.field("queue", queue.as_str().into()).fields(fields).names([job.id.to_string()])
}

fn job_list(kind: &'static str, item: &'static str, queue: &Name, jobs: &[JobView]) -> View {
    View::list(kind, item, jobs.iter().map(|job| Value::Object(job_fields(job))))
        .field("queue", queue.as_str().into())
        .names(jobs.iter().map(|job| job.id.to_string()))
}

fn job_fields(job: &JobView) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("id", job.id.as_str().into());
    add("state", job.state.as_str().into());
    add("priority", job.priority.into());
    add("attempts", job.attempts.into());
    add("max_attempts", job.max_attempts.into());
    add("age_ms", job.age_ms.into());
    match job.state {
        State::Delayed => drop(add("due_ms", job.time_ms.into())),
        State::Leased => drop(add("expires_in_ms", job.time_ms.into())),
        State::Dead => drop(add("died_ms_ago", job.time_ms.into())),
        State::Ready | State::Done => {}
    }
    add("consumer", json!(job.consumer.as_ref().map(Name::as_str)));
    add("errors", json!(job.errors));
    add("cause", json!(job.cause));
    add("headers", headers(&job.headers));
    add("payload_bytes", job.payload_bytes.into());
    add("truncated", is_cut(job).into());
    payload_fields(&mut fields, &job.payload, is_cut(job));
    fields
}

fn attempts(job: &JobView) -> String {
    match job.max_attempts {
        0 => job.attempts.to_string(),
        most => format!("{}/{most}", job.attempts),
    }
}

/// Only the beginning of the payload is there.
pub(crate) fn is_cut(job: &JobView) -> bool {
    usize::try_from(job.payload_bytes).is_ok_and(|all| all > job.payload.len())
}

/// A payload as text, else in base64. One that is `cut` may end within a character.
pub(crate) fn payload_fields(fields: &mut Map<String, Value>, payload: &[u8], cut: bool) {
    match as_text(payload, cut) {
        Some(text) => fields.insert("payload".to_owned(), text.into()),
        None => fields.insert("payload_base64".to_owned(), BASE64_STANDARD.encode(payload).into()),
    };
}

fn as_text(payload: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(payload) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => {
            payload.get(..error.valid_up_to()).and_then(|whole| std::str::from_utf8(whole).ok())
        }
        Err(_) => None,
    }
}

/// Headers in JSON.
pub(crate) fn headers(headers: &[(String, String)]) -> Value {
    headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// A payload as text, else in base64.
pub(super) fn payload_cell(payload: &[u8]) -> Cell {
    match as_text(payload, true) {
        Some(text) => Cell::text(text),
        None => Cell::text(format!("base64:{}", BASE64_STANDARD.encode(payload))),
    }
}

/// Characters of a payload in a table.
const SHOWN: usize = 60;

fn short_payload(job: &JobView) -> Cell {
    let Some(text) = as_text(&job.payload, is_cut(job)) else {
        return Cell::text(format!("({} bytes)", job.payload_bytes));
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cell::text(format!("{}…", text.get(..end).unwrap_or_default())),
        None if is_cut(job) => Cell::text(format!("{text}…")),
        None => Cell::text(text),
    }
}
