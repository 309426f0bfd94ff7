//! `dsctl bench …`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse;

/// Verbs of `bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Measure the lock service
    ///
    /// Each client has a session of its own and takes and releases a lock of its own, over and over; a
    /// pair of both is one operation. --contended: all clients want one lock, so that each operation
    /// is a hand-off. --sessions N: nothing but N sessions that are kept alive.
    #[command(
        before_help = "Example:\n  dsctl bench lock --clients 64 --duration 10s --slo p99=50ms,rate=1000"
    )]
    Lock(BenchLock),
    /// Measure the job queue
    ///
    /// Each client pushes jobs into a queue that all clients share, takes as many, and acknowledges
    /// them, over and over; push, take and acknowledgement of one job are one operation, and its latency
    /// is that of the whole cycle. The queue has a name of its own and is purged at the end.
    #[command(
        before_help = "Example:\n  dsctl bench queue --clients 32 --duration 10s --size 200 --batch 10"
    )]
    Queue(BenchQueue),
    /// Measure the cache
    ///
    /// Each client reads and sets keys that all clients share, drawn by chance, over and over; a key that
    /// is read or set is one operation, and with --batch its latency is that of the whole request. The
    /// keys have a prefix of their own, are set once before, and are deleted at the end.
    #[command(
        before_help = "Example:\n  dsctl bench cache --clients 64 --duration 10s --keys 10000 --reads 95"
    )]
    Cache(BenchCache),
}

/// What every measurement has.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct BenchRun {
    /// How long to measure
    #[arg(long, short = 'd', value_name = "DURATION", default_value = "10s", value_parser = parse::positive, allow_hyphen_values = true)]
    pub(crate) duration: Duration,
    /// How long to warm up before
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = parse::duration, allow_hyphen_values = true)]
    pub(crate) warmup: Duration,
    /// Connections that the clients share
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256), allow_negative_numbers = true)]
    pub(crate) connections: u32,
}

/// Arguments of `bench queue`.
#[derive(Debug, Args)]
pub(crate) struct BenchQueue {
    /// Clients at the same time
    #[arg(long, short = 'c', value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) clients: u32,
    #[command(flatten)]
    pub(crate) run: BenchRun,
    /// Bytes of each payload
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=524_288), allow_negative_numbers = true)]
    pub(crate) size: u32,
    /// Jobs of one push, one take, one acknowledgement
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), allow_negative_numbers = true)]
    pub(crate) batch: u32,
    /// Limits: p50=, p99= at most so long, rate= at least, errors= at most; exit 1 when missed
    #[arg(long, value_name = "LIMIT,…", value_delimiter = ',', value_parser = slo)]
    pub(crate) slo: Vec<Slo>,
}

/// Arguments of `bench cache`.
#[derive(Debug, Args)]
pub(crate) struct BenchCache {
    /// Clients at the same time
    #[arg(long, short = 'c', value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub(crate) clients: u32,
    #[command(flatten)]
    pub(crate) run: BenchRun,
    /// Bytes of each value
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=524_288), allow_negative_numbers = true)]
    pub(crate) size: u32,
    /// Keys of one request
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), allow_negative_numbers = true)]
    pub(crate) batch: u32,
    /// Keys altogether
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    pub(crate) keys: u32,
    /// Requests in a hundred that read; the others set
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u32).range(0..=100), allow_negative_numbers = true)]
    pub(crate) reads: u32,
    /// Limits: p50=, p99= at most so long, rate= at least, errors= at most; exit 1 when missed
    #[arg(long, value_name = "LIMIT,…", value_delimiter = ',', value_parser = slo)]
    pub(crate) slo: Vec<Slo>,
}

/// Arguments of `bench lock`.
#[derive(Debug, Args)]
pub(crate) struct BenchLock {
    /// Clients at the same time
    #[arg(long, short = 'c', value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000), allow_negative_numbers = true)]
    pub(crate) clients: u32,
    #[command(flatten)]
    pub(crate) run: BenchRun,
    /// All clients want the same lock
    #[arg(long, conflicts_with = "sessions")]
    pub(crate) contended: bool,
    /// Only hold so many sessions and keep them alive
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), allow_negative_numbers = true)]
    pub(crate) sessions: Option<u32>,
    /// Lease of the sessions
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse::ttl, allow_hyphen_values = true)]
    pub(crate) ttl: Duration,
    /// Limits: p50=, p99= at most so long, rate= at least, errors= at most; exit 1 when missed
    #[arg(long, value_name = "LIMIT,…", value_delimiter = ',', value_parser = slo)]
    pub(crate) slo: Vec<Slo>,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Slo {
    /// Median at most.
    P50(Duration),
    /// 99th percentile at most.
    P99(Duration),
    /// Operations per second at least.
    Rate(f64),
    /// Errors at most.
    Errors(u64),
}

fn slo(text: &str) -> Result<Slo, String> {
    let bad = || format!("{text:?} is no limit; write p99=50ms, p50=5ms, rate=1000 or errors=0");
    let (what, value) = text.trim().split_once('=').ok_or_else(bad)?;
    match what {
        "p50" => parse::positive(value).map(Slo::P50),
        "p99" => parse::positive(value).map(Slo::P99),
        "rate" => match value.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Slo::Rate(rate)),
            _ => Err(bad()),
        },
        "errors" => value.parse().map(Slo::Errors).map_err(|_| bad()),
        _ => Err(bad()),
    }
}
