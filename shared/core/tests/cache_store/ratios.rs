//! Hit ratios against slow references, and against each other.
#![expect(clippy::print_stderr, reason = "the table is the point")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use crate::api::{Config, Limits, Policy};
use crate::support::slow_lfu::{LongLru, SlowLfu};
use crate::support::trace::{rounds, scans, shifting, zipf};
use crate::support::{Small, drain};

const KEYS: u64 = 100_000;
const LENGTH: usize = 300_000;
/// How far a ratio may be from the reference's, in percentage points.
const NEAR: f64 = 1.0;

/// Percent of hits when every key that is not there is put there.
fn ratio(trace: &[u64], mut ask: impl FnMut(u64) -> bool) -> f64 {
    let hits = trace.iter().filter(|key| ask(**key)).count();
    hits as f64 * 100.0 / trace.len() as f64
}

fn shard_ratio(trace: &[u64], policy: Policy, limits: Limits) -> f64 {
    let mut shard = Small::new(Config { policy, limits, seed: 17 });
    let ratio = ratio(trace, |key| {
        let hit = shard.get(&key).is_some();
        if !hit {
            shard.insert(key, key, 0).unwrap();
            drain(&mut shard);
        }
        hit
    });
    shard.audit().unwrap();
    assert!(!shard.is_over());
    let counters = shard.counters();
    assert_eq!(counters.hits + counters.misses, trace.len() as u64);
    let left = counters.insertions - counters.evictions - counters.rejections;
    assert_eq!((counters.insertions, left), (counters.misses, shard.len()));
    ratio
}

/// Ratios of LRU and W-TinyLFU, near to their references'.
fn compare(what: &str, trace: &[u64], capacity: usize) -> (f64, f64) {
    let entries = Limits { entries: Some(capacity as u64), bytes: None };
    let bytes = Limits { entries: None, bytes: Some(capacity as u64 * Small::OVERHEAD) };
    let (mut lru, mut lfu) = (LongLru::new(capacity), SlowLfu::new(capacity));
    let wanted = [ratio(trace, |key| lru.ask(key)), ratio(trace, |key| lfu.ask(key))];
    let ours = [Policy::Lru, Policy::TinyLfu].map(|policy| shard_ratio(trace, policy, entries));
    let by_bytes = [Policy::Lru, Policy::TinyLfu].map(|policy| shard_ratio(trace, policy, bytes));
    eprintln!(
        "{what:<22} {capacity:>6}  {:>6.2} {:>6.2} {:>6.2}   {:>6.2} {:>6.2} {:>6.2}",
        ours[0], by_bytes[0], wanted[0], ours[1], by_bytes[1], wanted[1]
    );
    for (has, wanted) in ours.iter().chain(&by_bytes).zip(wanted.iter().cycle()) {
        // In a loop all keys are asked for equally often, and where the sketch takes some for more
        // it keeps to these: that may be better than the reference, and must not be worse.
        let above = if what.starts_with("loop") { 3.0 * NEAR } else { NEAR };
        let near = -NEAR..=above;
        assert!(near.contains(&(has - wanted)), "{what}: {has} %, the reference has {wanted} %");
    }
    (ours[0], ours[1])
}

#[test]
fn hit_ratios_are_those_of_the_references() {
    eprintln!("hits in percent                   LRU                     W-TinyLFU");
    eprintln!("trace                entries  entries bytes  slow   entries  bytes  slow");
    for capacity in [500, 5_000] {
        for exponent in [0.9, 1.0, 1.1] {
            let trace = zipf(KEYS, exponent, LENGTH);
            let (lru, lfu) = compare(&format!("Zipf {exponent}"), &trace, capacity);
            assert!(lfu > lru, "Zipf {exponent}: {lfu} % is not above LRU's {lru} %");
        }
        let scan = capacity as u64 * 2;
        let trace = scans(KEYS, capacity * 4, scan, LENGTH);
        let (lru, lfu) = compare("Zipf 1 with scans", &trace, capacity);
        assert!(lfu > lru, "scans: {lfu} % is not above LRU's {lru} %");
        let (lru, lfu) = compare("loop of 1.5 x", &rounds(scan * 3 / 4, LENGTH), capacity);
        assert!(lru == 0.0 && lfu > 40.0, "loop: {lru} %, {lfu} %");
        compare("loop of 0.9 x", &rounds(scan * 9 / 20, LENGTH), capacity);
        compare("Zipf 1, all shift", &shifting(KEYS, 30_000, LENGTH), capacity);
    }
}
