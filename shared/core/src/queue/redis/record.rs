//! Jobs as the scripts keep them: the Rust side of RECORD and MARKS in `lua/common.lua`.

use crate::name::Name;
use crate::queue::{JobId, Limits, Overflow, Totals};
use crate::redis::bytes::Bytes;
use crate::redis::reply::Read;

/// A job's record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: JobId,
    pub(super) pushed_ms: u64,
    pub(super) priority: u8,
    pub(super) max_attempts: u32,
    pub(super) headers: Vec<(String, String)>,
    pub(super) payload: Vec<u8>,
    /// Of the whole payload, of which there may be but the beginning here.
    pub(super) payload_bytes: u32,
}

impl Record {
    pub(super) fn read(id16: &[u8], mut record: Vec<u8>) -> Read<Self> {
        let mut bytes = Bytes(&record);
        bytes.take(6)?;
        let pushed_ms = bytes.number(6)?;
        bytes.take(6)?;
        let priority = bytes.narrow(1)?;
        let payload_bytes = bytes.narrow(4)?;
        bytes.take(2)?;
        let max_attempts = bytes.narrow(4)?;
        bytes.take(12)?;
        let text = bytes.text(1)?;
        let id = if text.is_empty() {
            let bits = id16.try_into().map_err(|_| "an id in Redis has not 16 bytes".to_owned())?;
            JobId::random(u128::from_be_bytes(bits))
        } else {
            JobId::parse(&text).map_err(|fault| fault.message)?
        };
        let mut list = bytes.sized(2)?;
        let mut headers = Vec::new();
        while !list.0.is_empty() {
            headers.push((list.text(2)?, list.text(2)?));
        }
        let payload_at = record.len() - bytes.0.len();
        record.drain(..payload_at);
        let payload = record;
        Ok(Self { id, pushed_ms, priority, max_attempts, headers, payload, payload_bytes })
    }
}

/// What a job that was leased before has from then.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pub(super) attempts: u32,
    pub(super) consumer: Option<Name>,
    pub(super) errors: Vec<String>,
}

impl Marks {
    pub(super) fn read(marks: Option<Vec<u8>>) -> Read<Self> {
        let Some(marks) = marks else { return Ok(Self::default()) };
        let mut bytes = Bytes(&marks);
        let attempts = bytes.narrow(4)?;
        bytes.take(9)?;
        let consumer = Some(consumer(&bytes.text(1)?)?);
        let mut errors = Vec::new();
        for _ in 0..bytes.number(1)? {
            errors.push(bytes.text(2)?);
        }
        Ok(Self { attempts, consumer, errors })
    }
}

pub(super) fn consumer(text: &str) -> Read<Name> {
    Name::parse("consumer", text).map_err(|fault| fault.message)
}

/// Limits, the default ones if there are none.
pub(super) fn limits(bytes: Option<Vec<u8>>) -> Read<Limits> {
    let Some(bytes) = bytes else { return Ok(Limits::default()) };
    let mut bytes = Bytes(&bytes);
    Ok(Limits {
        max_jobs: bytes.number(8)?,
        overflow: if bytes.number(1)? == 1 { Overflow::DropOldest } else { Overflow::Reject },
        max_in_flight: bytes.narrow(4)?,
        rate_per_s: bytes.narrow(4)?,
        burst: bytes.narrow(4)?,
        dedup_ms: bytes.number(8)?,
    })
}

/// Bytes of all payloads, and the counters, of STATE.
pub(super) fn state(packed: &[u8]) -> Read<(u64, Totals)> {
    let mut bytes = Bytes(packed);
    // The token, the next number, the next due time.
    bytes.take(24)?;
    let payloads = bytes.number(8)? + bytes.number(8)?;
    bytes.take(40)?;
    let totals = Totals {
        pushed: bytes.number(8)?,
        duplicates: bytes.number(8)?,
        refused: bytes.number(8)?,
        delivered: bytes.number(8)?,
        acked: bytes.number(8)?,
        failed: bytes.number(8)?,
        expired: bytes.number(8)?,
        died: bytes.number(8)?,
        redriven: bytes.number(8)?,
        purged: bytes.number(8)?,
    };
    Ok((payloads, totals))
}
