//! Redis's values as the core reads them.

use dsync_core::redis::Reply;
use redis::Value;

/// What a script of ours answered.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else comes from a script over RESP2")]
pub(super) fn reply(value: Value) -> Reply {
    match value {
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::SimpleString(text) => Reply::Bytes(text.into_bytes()),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(items) | Value::Set(items) => {
            Reply::List(items.into_iter().map(reply).collect())
        }
        _ => Reply::Nil,
    }
}
