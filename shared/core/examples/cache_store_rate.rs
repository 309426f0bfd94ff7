//! Hits per second of one shard, in this process on one thread:
//! `cargo run --release -p dsync-core --example cache_store_rate`.
#![expect(clippy::print_stdout, reason = "the figure is the point")]
#![expect(clippy::disallowed_methods, reason = "a measurement looks at the clock")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]
#![expect(clippy::as_conversions, reason = "counts are small")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::hint::black_box;
use std::time::Instant;

use dsync_core::cache::store::{Config, Limits, Policy, Shard, Verdict};

const LOOKUPS: usize = 10_000_000;

type Store = Shard<Box<str>, Vec<u8>>;

fn main() {
    // The largest first: later ones get memory that was resident before.
    for entries in [1_000_000, 100_000, 10_000, 1_000] {
        for policy in [Policy::TinyLfu, Policy::Lru] {
            measure(policy, entries);
        }
    }
}

fn measure(policy: Policy, entries: usize) {
    let before = resident_kb();
    let limits = Limits { bytes: None, entries: Some(entries as u64) };
    let mut shard = Store::new(Config { policy, limits, seed: 1 });
    let keys: Vec<Box<str>> = (0..entries).map(|n| format!("key:{n:012}").into()).collect();
    let keys_kb = resident_kb().saturating_sub(before);
    for key in &keys {
        shard.insert(key.clone(), vec![7; 100], key.len() as u64 + 100).unwrap();
        while shard.propose(|_, _| Verdict::Evict).is_some() {}
    }
    let resident = resident_kb().saturating_sub(before + keys_kb);
    let counted = shard.bytes() / 1024;
    let all = hits(&mut shard, &keys, &draws(|unit| unit * entries as f64));
    // The inverse of the sum of 1/x: Zipf with exponent 1.
    let zipf = hits(&mut shard, &keys, &draws(|unit| (entries as f64).powf(unit) - 1.0));
    let misses = misses(&mut shard);
    println!(
        "{policy:?}, {entries} entries: {all:.1} M hits/s of all alike, {zipf:.1} M of Zipf 1; \
         {misses:.1} M misses/s with insertion and eviction; {counted} KB counted, {resident} KB \
         more resident",
    );
}

/// Places by random numbers from 0 to 1, drawn before the clock runs.
fn draws(place: impl Fn(f64) -> f64) -> Vec<u32> {
    let mut state = 1_u64;
    let draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        let unit = (state >> 11) as f64 / (1_u64 << 53) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
        let place = place(unit) as u32;
        place
    };
    std::iter::repeat_with(draw).take(LOOKUPS / 10).collect()
}

/// Million hits per second.
fn hits(shard: &mut Store, keys: &[Box<str>], draws: &[u32]) -> f64 {
    let begun = Instant::now();
    let found: usize = draws
        .iter()
        .cycle()
        .take(LOOKUPS)
        .map(|at| keys.get(*at as usize).and_then(|key| shard.get(&**key)).map_or(0, Vec::len))
        .sum();
    assert_eq!(black_box(found), LOOKUPS * 100);
    LOOKUPS as f64 / begun.elapsed().as_secs_f64() / 1e6
}

/// Million new keys per second.
fn misses(shard: &mut Store) -> f64 {
    let begun = Instant::now();
    let mut gone = 0;
    for n in 0..LOOKUPS / 10 {
        let key: Box<str> = format!("new:{n:012}").into();
        shard.note_miss(&*key);
        shard.insert(key, vec![7; 100], 116).unwrap();
        while shard.propose(|_, _| Verdict::Evict).is_some() {
            gone += 1;
        }
    }
    assert_eq!(gone, LOOKUPS / 10);
    (LOOKUPS / 10) as f64 / begun.elapsed().as_secs_f64() / 1e6
}

/// Memory of this process.
fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(0)
}
