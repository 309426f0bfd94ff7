//! Identities and modes as texts: 64-bit numbers are strings in JSON.

use dsync_core::lock::{Mode, SessionId, Token};
use serde_json::Value;

/// A request id: 32 hexadecimal digits.
pub(crate) fn hex_id(id: u128) -> String {
    format!("{id:032x}")
}

/// A 64-bit number in JSON.
pub(crate) fn long(number: u64) -> Value {
    Value::String(number.to_string())
}

/// A token in JSON.
pub(crate) fn token(token: Token) -> Value {
    long(token.0)
}

/// A session in JSON.
pub(crate) fn session(session: SessionId) -> Value {
    long(session.0)
}

/// A mode: `exclusive`, `shared`, `permits 2/5`.
pub(crate) fn mode(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Permits { take, of } => format!("permits {take}/{of}"),
    }
}
