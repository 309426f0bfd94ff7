//! Arguments of the verbs that read and change keys.

use std::time::Duration;

use clap::Args;
use dsync::cache::Key;
use dsync_core::name::Name;

use crate::args::parse;

/// A key.
#[derive(Debug, Args)]
pub(crate) struct CacheKey {
    /// The key
    #[arg(value_parser = parse::name)]
    pub(crate) key: Key,
}

/// Several keys.
#[derive(Debug, Args)]
pub(crate) struct CacheKeys {
    /// The keys
    #[arg(required = true, value_name = "KEY", value_parser = parse::name)]
    pub(crate) keys: Vec<Key>,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct CacheGet {
    /// The key
    #[arg(value_parser = parse::name)]
    pub(crate) key: Key,
    /// If there is no way to the current value, one that was current so long ago is good enough
    #[arg(long, value_name = "DURATION", value_parser = parse::positive, allow_hyphen_values = true)]
    pub(crate) max_stale: Option<Duration>,
}

/// What a value is set with.
#[derive(Debug, Args)]
pub(crate) struct ValueFields {
    /// The key is gone so long after; without it: it stays
    #[arg(long, value_name = "DURATION", value_parser = parse::ttl_of_key, allow_hyphen_values = true)]
    pub(crate) ttl: Option<Duration>,
    /// A mark by which keys are invalidated together; may be repeated
    #[arg(long = "tag", value_name = "TAG", value_parser = parse::name)]
    pub(crate) tags: Vec<Name>,
}

/// When a value is set.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct When {
    /// Only if there is no such key
    #[arg(long)]
    pub(crate) nx: bool,
    /// Only if there is such a key
    #[arg(long)]
    pub(crate) xx: bool,
    /// Only if the key has this version
    #[arg(long = "if-version", value_name = "VERSION", value_parser = parse::version, allow_negative_numbers = true)]
    pub(crate) version: Option<u64>,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The key
    #[arg(value_parser = parse::name)]
    pub(crate) key: Key,
    /// The value; @FILE: that file; - or nothing: stdin
    #[arg(value_name = "VALUE")]
    pub(crate) value: Option<String>,
    #[command(flatten)]
    pub(crate) when: When,
    #[command(flatten)]
    pub(crate) fields: ValueFields,
}

/// Arguments of `del`.
#[derive(Debug, Args)]
pub(crate) struct Del {
    /// The keys
    #[arg(required = true, value_name = "KEY", value_parser = parse::name)]
    pub(crate) keys: Vec<Key>,
    /// Only if the key has this version; for one key
    #[arg(long, value_name = "VERSION", value_parser = parse::version, allow_negative_numbers = true)]
    pub(crate) if_version: Option<u64>,
}

/// Arguments of `incr`.
#[derive(Debug, Args)]
pub(crate) struct Incr {
    /// The key
    #[arg(value_parser = parse::name)]
    pub(crate) key: Key,
    /// What is added; may be negative
    #[arg(value_name = "N", default_value = "1", value_parser = parse::signed, allow_negative_numbers = true)]
    pub(crate) by: i64,
}

/// Arguments of `mset`.
#[derive(Debug, Args)]
pub(crate) struct Mset {
    /// Keys and values; the key ends at the first =
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = parse::key_value)]
    pub(crate) pairs: Vec<(Key, String)>,
    #[command(flatten)]
    pub(crate) fields: ValueFields,
}

/// Arguments of `invalidate`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Inv {
    /// Keys that begin so
    #[arg(long, value_name = "TEXT", conflicts_with = "tag")]
    pub(crate) prefix: Option<String>,
    /// Keys that have this tag
    #[arg(long, value_name = "TAG", value_parser = parse::name)]
    pub(crate) tag: Option<Name>,
    /// All keys there are
    #[arg(long, conflicts_with = "tag")]
    pub(crate) all: bool,
}
