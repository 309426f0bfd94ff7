//! A job as a line of JSON. Pure.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;

use dsync_core::Fault;
use dsync_core::queue::{
    Command, DELAY_MAX_MS, JobId, JobView, NewJob, PAYLOAD_MAX, PRIORITY_MAX, State, check,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::output::views::queue::{headers, payload_fields};

/// What a line may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    payload: Option<Value>,
    payload_base64: Option<Value>,
    id: Option<Value>,
    priority: Option<Value>,
    delay_ms: Option<Value>,
    max_attempts: Option<Value>,
    backoff_ms: Option<Value>,
    ttl_ms: Option<Value>,
    headers: Option<Value>,
}

/// A text.
fn text(field: &str, value: Option<Value>) -> Result<Option<String>, String> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("{field} is {}; it must be a text in quotes", short(&other))),
    }
}

/// A whole number of at most `most`.
fn number(field: &str, value: Option<&Value>, most: u64) -> Result<Option<u64>, String> {
    let Some(value) = value else { return Ok(None) };
    match value.as_u64() {
        Some(number) if number <= most => Ok(Some(number)),
        _ => {
            let what = if field.ends_with("_ms") { " of milliseconds" } else { "" };
            let value = short(value);
            Err(format!("{field} is {value}; it must be a whole number{what} from 0 to {most}"))
        }
    }
}

/// Names with texts.
fn texts(field: &str, value: Option<Value>) -> Result<Option<Vec<(String, String)>>, String> {
    let Some(value) = value else { return Ok(None) };
    let Value::Object(fields) = value else {
        let value = short(&value);
        return Err(format!(
            "{field} is {value}; it must be an object, such as {{\"lang\":\"en\"}}"
        ));
    };
    let mut all = BTreeMap::new();
    for (name, value) in fields {
        let inner = format!("{field}.{name}");
        if let Some(text) = text(&inner, Some(value))? {
            all.insert(name, text);
        }
    }
    Ok(Some(all.into_iter().collect()))
}

/// A value as the user wrote it, or what it is if it is long.
fn short(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The job of a line. What it leaves out is that of `template`; `bits` make its id.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn read(line: &[u8], template: &NewJob, bits: u128) -> Result<NewJob, String> {
    let text = str::from_utf8(line).map_err(|_| "it is no UTF-8".to_owned())?;
    if text.starts_with('\u{feff}') {
        let why = "it begins with a byte order mark (UTF-8 BOM); write the file without one";
        return Err(why.to_owned());
    }
    // A list would be taken for the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    let line: Line = serde_json::from_str(text).map_err(|error| in_words(&error))?;
    let payload = payload(line.payload, line.payload_base64)?;
    if payload.len() > PAYLOAD_MAX {
        let bytes = payload.len();
        return Err(format!("the payload has {bytes} bytes, at most {PAYLOAD_MAX} are possible"));
    }
    let id = match self::text("id", line.id)? {
        Some(id) => JobId::parse(&id).map_err(with_hint)?,
        None => JobId::random(bits),
    };
    let mut job = NewJob { id, payload, ..template.clone() };
    let priority = number("priority", line.priority.as_ref(), u64::from(PRIORITY_MAX))?;
    job.priority = priority.map_or(job.priority, |priority| priority.try_into().unwrap_or(0));
    let attempts = number("max_attempts", line.max_attempts.as_ref(), u64::from(u32::MAX))?;
    job.max_attempts =
        attempts.map_or(job.max_attempts, |attempts| attempts.try_into().unwrap_or(u32::MAX));
    let ms = |field, value: Option<Value>| number(field, value.as_ref(), DELAY_MAX_MS);
    job.delay_ms = ms("delay_ms", line.delay_ms)?.unwrap_or(job.delay_ms);
    job.ttl_ms = ms("ttl_ms", line.ttl_ms)?.unwrap_or(job.ttl_ms);
    if let Some(base_ms) = ms("backoff_ms", line.backoff_ms)? {
        job.backoff.base_ms = base_ms;
        job.backoff.max_ms = job.backoff.max_ms.max(base_ms);
    }
    job.headers = texts("headers", line.headers)?.unwrap_or(job.headers);
    // All other rules, so that no line makes a node refuse those beside it.
    let command = Command::Push { jobs: vec![job] };
    check(&command).map_err(with_hint)?;
    match command {
        Command::Push { jobs } => jobs.into_iter().next().ok_or_else(String::new),
        _ => Err(String::new()),
    }
}

/// The payload, in whichever way it is given.
fn payload(plain: Option<Value>, base64: Option<Value>) -> Result<Vec<u8>, String> {
    match (text("payload", plain)?, text("payload_base64", base64)?) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(text)) => {
            BASE64_STANDARD.decode(&text).map_err(|_| "payload_base64 is no base64".to_owned())
        }
        (None, None) => Err("it has neither payload nor payload_base64".to_owned()),
        (Some(_), Some(_)) => Err("it has both payload and payload_base64".to_owned()),
    }
}

fn with_hint(fault: Fault) -> String {
    match fault.hint {
        Some(hint) => format!("{}; {hint}", fault.message),
        None => fault.message,
    }
}

/// Without serde's "at line 1 column 7", which would be mistaken for the line of the file.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match error.column() {
        0 => format!("it is no job: {text}"),
        column => format!("it is no job: {text} (column {column})"),
    }
}

/// The line of a job that was looked at; its payload must be whole.
pub(super) fn write(job: &JobView) -> String {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), job.id.as_str().into());
    payload_fields(&mut fields, &job.payload, false);
    let mut add = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    add("priority", job.priority.into());
    if job.state == State::Delayed {
        add("delay_ms", job.time_ms.into());
    }
    add("max_attempts", job.max_attempts.into());
    if !job.headers.is_empty() {
        add("headers", headers(&job.headers));
    }
    format!("{}\n", Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use dsync_core::queue::{Backoff, DEFAULT_ATTEMPTS};

    use super::*;

    fn template() -> NewJob {
        NewJob {
            id: JobId::random(0),
            payload: Vec::new(),
            priority: 3,
            delay_ms: 7,
            max_attempts: DEFAULT_ATTEMPTS,
            backoff: Backoff::default(),
            ttl_ms: 0,
            headers: vec![("from".to_owned(), "flags".to_owned())],
        }
    }

    fn parse(line: &str) -> Result<NewJob, String> {
        read(line.as_bytes(), &template(), 0xff)
    }

    #[test]
    fn a_line_says_what_it_wants_and_the_flags_the_rest() {
        let short = parse(r#"{"payload":"héllo"}"#).unwrap();
        assert_eq!(short.payload, "héllo".as_bytes());
        assert_eq!((short.priority, short.delay_ms), (3, 7));
        assert_eq!(short.id, JobId::random(0xff));
        assert_eq!(short.headers, template().headers);
        let long = parse(
            r#" {"payload_base64":"AP8=","id":"a","priority":9,"delay_ms":0,"max_attempts":0,
                "backoff_ms":5,"ttl_ms":60000,"headers":{"b":"c"}} "#,
        )
        .unwrap();
        assert_eq!(long.payload, [0, 255]);
        assert_eq!((long.id.as_str(), long.priority, long.delay_ms), ("a", 9, 0));
        assert_eq!((long.max_attempts, long.ttl_ms, long.backoff.base_ms), (0, 60_000, 5));
        assert_eq!(long.headers, [("b".to_owned(), "c".to_owned())]);
    }

    #[test]
    fn a_broken_line_is_named_by_what_is_wrong() {
        let lines = [
            "",
            "nonsense",
            "{",
            "[]",
            "{}",
            r#"{"payload":1}"#,
            r#"{"payload":"a","payload_base64":"YQ=="}"#,
            r#"{"payload_base64":"?"}"#,
            r#"{"payload":"a","prioriti":1}"#,
            r#"{"payload":"a","priority":10}"#,
            r#"{"payload":"a","priority":-1}"#,
            r#"{"payload":"a","delay_ms":-5}"#,
            r#"{"payload":"a","delay_ms":99999999999999}"#,
            r#"{"payload":"a","id":"a b"}"#,
            r#"{"payload":"a","headers":{"":"x"}}"#,
            r#"{"payload":"a","headers":{"n":1}}"#,
            r#"{"payload":"a","headers":["n"]}"#,
            r#"{"payload":"a","max_attempts":"5"}"#,
            r#"{"payload":"a","backoff_ms":1.5}"#,
            "\u{feff}{\"payload\":\"a\"}",
            r#"{"payload":"a"} trailing"#,
        ];
        let mut said: Vec<_> =
            lines.iter().map(|line| format!("{line} => {}", parse(line).unwrap_err())).collect();
        said.push(read(b"\xff", &template(), 1).unwrap_err());
        let large = format!(r#"{{"payload":"{}"}}"#, "x".repeat(PAYLOAD_MAX + 1));
        said.push(parse(&large).unwrap_err());
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("broken-lines", said.join("\n"));
        });
    }

    #[test]
    fn what_is_written_is_read_back() {
        for payload in [&b"hello\n"[..], &[0, 255, 128], b""] {
            let view = JobView {
                id: JobId::parse("order-17").unwrap(),
                state: State::Delayed,
                priority: 5,
                attempts: 1,
                max_attempts: 9,
                age_ms: 10,
                time_ms: 1_234,
                consumer: None,
                errors: Vec::new(),
                cause: None,
                headers: vec![("a".to_owned(), "b".to_owned())],
                payload: payload.to_vec(),
                payload_bytes: u32::try_from(payload.len()).unwrap(),
            };
            let line = write(&view);
            assert_eq!(line.lines().count(), 1);
            let job = read(line.trim_end().as_bytes(), &template(), 1).unwrap();
            assert_eq!((job.id, job.payload), (view.id, payload.to_vec()));
            assert_eq!((job.priority, job.delay_ms, job.max_attempts), (5, 1_234, 9));
            assert_eq!(job.headers, view.headers);
        }
    }
}
