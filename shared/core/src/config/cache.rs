//! How the cache role works.

use super::Key;
use super::problem::shown;
use super::tuning::{milliseconds, number};
use super::values::Values;
use crate::cache::store::Policy;
use crate::cache::told::WritePolicy;

const MIB: u64 = 1024 * 1024;

/// Settings of the cache role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    /// `CACHE_BYTES`: what a node's own copies may take.
    pub bytes: u64,
    /// `CACHE_ENTRIES`: how many there may be; 0: no limit but that of bytes.
    pub entries: u64,
    /// `CACHE_POLICY`: which copy gives way.
    pub policy: Policy,
    /// `CACHE_MEMORY_BYTES`: what all values may take where the nodes keep them themselves.
    pub memory_bytes: u64,
    /// `CACHE_LEASE_MS`: how long a node may go on reading that nobody hears of.
    pub lease_ms: u64,
    /// `WRITE_POLICY`.
    pub write: WritePolicy,
    /// `CACHE_MAX_DIRTY_MS`: how old a change may become that the memory does not have.
    pub max_dirty_ms: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            bytes: 256 * MIB,
            entries: 0,
            policy: Policy::TinyLfu,
            memory_bytes: 256 * MIB,
            lease_ms: 2_000,
            write: WritePolicy::Through,
            max_dirty_ms: 200,
        }
    }
}

pub(super) fn cache(values: &mut Values) -> CacheConfig {
    let default = CacheConfig::default();
    let policies = [("tinylfu", Policy::TinyLfu), ("lru", Policy::Lru)];
    let policy = choice(values, Key::CachePolicy, policies);
    let write = [("through", WritePolicy::Through), ("back", WritePolicy::Back)];
    let write = choice(values, Key::WritePolicy, write);
    CacheConfig {
        bytes: bytes(values, Key::CacheBytes, default.bytes),
        entries: count(values, Key::CacheEntries),
        policy,
        memory_bytes: bytes(values, Key::CacheMemoryBytes, default.memory_bytes),
        lease_ms: milliseconds(values, Key::CacheLeaseMs, default.lease_ms, 100, 60_000),
        write,
        max_dirty_ms: milliseconds(values, Key::CacheMaxDirtyMs, default.max_dirty_ms, 10, 60_000),
    }
}

/// One of two names; the first one is the default.
fn choice<T: Copy>(values: &mut Values, key: Key, names: [(&'static str, T); 2]) -> T {
    let [first, second] = names;
    let fix = format!("{}={} or {}={}", key.name(), first.0, key.name(), second.0);
    let (name, value) = values.read(key, first, &fix, |text| {
        let lower = text.to_ascii_lowercase();
        let found = names.into_iter().find(|(name, _)| *name == lower);
        found.ok_or_else(|| format!("{} is neither of them", shown(text)))
    });
    values.settle(key, name);
    value
}

/// A number of bytes, `64MiB` or `64mb` or plain.
fn bytes(values: &mut Values, key: Key, default: u64) -> u64 {
    let fix = format!("{}=256MiB, or a number of bytes, from 1MiB on", key.name());
    let value = values.read(key, default, &fix, |text| {
        let lower = text.to_ascii_lowercase();
        let units = [("kib", 1024), ("mib", MIB), ("gib", 1024 * MIB)];
        let short = [("kb", 1024), ("mb", MIB), ("gb", 1024 * MIB)];
        let unit = units.iter().chain(&short).find(|(unit, _)| lower.ends_with(unit));
        let (digits, factor) = match unit {
            Some((unit, factor)) => (lower.trim_end_matches(unit).trim(), *factor),
            None => (lower.as_str(), 1),
        };
        let most = u64::MAX / (1024 * MIB);
        let bytes = number(digits, 1, if factor == 1 { u64::MAX } else { most })
            .map_err(|_| format!("{} is not a number of bytes", shown(text)))?
            .saturating_mul(factor);
        if bytes < MIB { Err(format!("{} is less than 1MiB", shown(text))) } else { Ok(bytes) }
    });
    values.settle(key, value.to_string());
    value
}

fn count(values: &mut Values, key: Key) -> u64 {
    let fix = format!("{}=100000, or 0 for no limit but that of bytes", key.name());
    let value = values.read(key, 0, &fix, |text| number(text, 0, u64::from(u32::MAX)));
    values.settle(key, value.to_string());
    value
}
