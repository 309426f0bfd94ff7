//! How the node works: store, timers, logs, metrics.

use super::address::is_unspecified;
use super::node_config::host_port;
use super::problem::shown;
use super::values::Values;
use super::{Address, Key, LogFormat, Store, Timers};
use crate::lock::{DEFAULT_LOCK_DELAY_MS, Settings};
use crate::node::Role;

/// Longest `RAFT_ELECTION_MAX_MS` and `RAFT_HEARTBEAT_MS`.
const TIMER_MAX_MS: u64 = 60_000;
/// Longest LOCK_DELAY_MS and `LOCK_WOUND_GRACE_MS`.
const DELAY_MAX_MS: u64 = 60_000;

pub(super) fn store(values: &mut Values, role: Option<Role>, has_redis: bool) -> Store {
    const FIX: &str = "STORE=raft or STORE=redis";
    let default = match role {
        Some(Role::Queue | Role::Cache) if has_redis => Store::Redis,
        _ => Store::Raft,
    };
    let store = values.read(Key::Store, default, FIX, |text| {
        [Store::Raft, Store::Redis]
            .into_iter()
            .find(|store| store.as_str() == text.to_ascii_lowercase())
            .ok_or_else(|| format!("{} is not a store", shown(text)))
    });
    let place = values.place(Key::Store);
    if store == Store::Redis && role == Some(Role::Lock) {
        values.problem(&place, "STORE=redis: locks are kept in Raft only", "remove STORE");
    } else if store == Store::Redis && !has_redis {
        values.problem(&place, "STORE=redis, but REDIS_HOST is not set", "REDIS_HOST=localhost");
    }
    values.settle(Key::Store, store.as_str());
    store
}

/// A whole number from `least` to `most`.
pub(super) fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("{} is not a whole number from {least} to {most}", shown(text))),
    }
}

pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{} is neither true nor false", shown(text))),
    }
}

pub(super) fn milliseconds(
    values: &mut Values,
    key: Key,
    default: u64,
    least: u64,
    most: u64,
) -> u64 {
    let fix = format!("{}={default}", key.name());
    let value = values.read(key, default, &fix, |text| number(text, least, most));
    values.settle(key, value.to_string());
    value
}

pub(super) fn timers(values: &mut Values) -> Timers {
    let default = Timers::default();
    let before = values.problems.len();
    let timers = Timers {
        heartbeat_ms: milliseconds(
            values,
            Key::RaftHeartbeatMs,
            default.heartbeat_ms,
            10,
            TIMER_MAX_MS,
        ),
        election_min_ms: milliseconds(
            values,
            Key::RaftElectionMinMs,
            default.election_min_ms,
            20,
            TIMER_MAX_MS,
        ),
        election_max_ms: milliseconds(
            values,
            Key::RaftElectionMaxMs,
            default.election_max_ms,
            21,
            TIMER_MAX_MS,
        ),
    };
    if values.problems.len() > before {
        return timers;
    }
    let Timers { heartbeat_ms, election_min_ms, election_max_ms } = timers;
    if election_min_ms < 2 * heartbeat_ms {
        let place = first_set(values, Key::RaftElectionMinMs, Key::RaftHeartbeatMs);
        let message = format!(
            "RAFT_ELECTION_MIN_MS={election_min_ms} is less than twice \
             RAFT_HEARTBEAT_MS={heartbeat_ms}: one late heartbeat would start an election"
        );
        values.problem(&place, message, format!("RAFT_ELECTION_MIN_MS={}", 3 * heartbeat_ms));
    }
    if election_max_ms <= election_min_ms {
        let place = first_set(values, Key::RaftElectionMaxMs, Key::RaftElectionMinMs);
        let message = format!(
            "RAFT_ELECTION_MAX_MS={election_max_ms} is not above \
             RAFT_ELECTION_MIN_MS={election_min_ms}: the nodes would stand for election together"
        );
        values.problem(&place, message, format!("RAFT_ELECTION_MAX_MS={}", 2 * election_min_ms));
    }
    timers
}

/// The place of `key`, or of `other` where `key` has its default.
fn first_set(values: &Values, key: Key, other: Key) -> String {
    values.place(if values.get(key).is_some() { key } else { other })
}

pub(super) fn lock_timers(values: &mut Values) -> (u64, u64) {
    let grace = Settings::default().wound_grace_ms;
    (
        milliseconds(values, Key::LockDelayMs, DEFAULT_LOCK_DELAY_MS, 0, DELAY_MAX_MS),
        milliseconds(values, Key::LockWoundGraceMs, grace, 0, DELAY_MAX_MS),
    )
}

pub(super) fn log_format(values: &mut Values) -> LogFormat {
    const FIX: &str = "LOG_FORMAT=text or LOG_FORMAT=json";
    let format = values.read(Key::LogFormat, LogFormat::Text, FIX, |text| {
        [LogFormat::Text, LogFormat::Json]
            .into_iter()
            .find(|format| format.as_str() == text.to_ascii_lowercase())
            .ok_or_else(|| format!("{} is not a log format", shown(text)))
    });
    values.settle(Key::LogFormat, format.as_str());
    format
}

/// Levels, alone or per target: `info`, `warn,dsd::raft=debug`.
pub(super) fn log_level(values: &mut Values) -> String {
    const FIX: &str = "LOG_LEVEL=info (or off, error, warn, debug, trace), or by target: \
                       LOG_LEVEL=info,dsd=debug";
    let is_level = |text: &str| {
        ["off", "error", "warn", "info", "debug", "trace"]
            .iter()
            .any(|level| level.eq_ignore_ascii_case(text))
    };
    let is_target = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':'))
    };
    let level = values.read(Key::LogLevel, "info".to_owned(), FIX, |text| {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|p| !p.is_empty()).collect();
        for part in &parts {
            let good = match part.split_once('=') {
                Some((target, level)) => is_target(target) && is_level(level),
                None => is_level(part),
            };
            if !good {
                return Err(format!("{} is not a log level", shown(part)));
            }
        }
        Ok(parts.join(","))
    });
    values.settle(Key::LogLevel, &level);
    level
}

pub(super) fn metrics_addr(values: &mut Values, host: &str, port: Option<u16>) -> Option<String> {
    const FIX: &str = "METRICS_ADDR=127.0.0.1:9100, or nothing for none";
    let address = values.read(Key::MetricsAddr, None, FIX, |text| Address::parse(text).map(Some));
    if let (Some(address), Some(port)) = (&address, port) {
        let listen = Address { host: host.to_owned(), port };
        let everywhere = is_unspecified(host) || is_unspecified(&address.host);
        if address.same_place(&listen) || (everywhere && address.port == port) {
            let place = values.place(Key::MetricsAddr);
            let message = format!(
                "METRICS_ADDR={address} is the port of the node itself, {}",
                host_port(host, port)
            );
            values.problem(&place, message, "another port");
        }
    }
    let text = address.map(|address| address.to_string());
    values.settle(Key::MetricsAddr, text.clone().unwrap_or_default());
    text
}
