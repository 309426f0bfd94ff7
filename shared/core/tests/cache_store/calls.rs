//! What single calls promise.

use crate::api::{Config, Counters, Limits, Page, Policy, Refused, Segment, Shard};
use crate::support::{Small, drain};

fn unlimited<K, V>(policy: Policy) -> Shard<K, V> {
    Shard::new(Config { policy, limits: Limits::default(), seed: 1 })
}

#[test]
fn keys_are_found_as_borrowed_ones() {
    let mut shard: Shard<Box<str>, Vec<u8>> = unlimited(Policy::TinyLfu);
    assert_eq!(shard.insert("key".into(), vec![1], 4), Ok(None));
    assert_eq!(shard.insert("key".into(), vec![2], 5), Ok(Some(vec![1])));
    assert_eq!(shard.get("key"), Some(&vec![2]));
    assert_eq!(shard.peek("key"), Some(&vec![2]));
    shard.get_mut("key").unwrap().push(3);
    assert_eq!(shard.reweigh("key", 6), Ok(true));
    assert_eq!(shard.reweigh("other", 6), Ok(false));
    assert_eq!(shard.bytes(), 6 + Shard::<Box<str>, Vec<u8>>::OVERHEAD);
    assert_eq!(shard.remove("key"), Some(("key".into(), vec![2, 3])));
    assert_eq!(shard.remove("key"), None);
    assert!(shard.is_empty() && shard.bytes() == 0);
}

#[test]
fn what_is_larger_than_the_shard_is_refused_and_changes_nothing() {
    let limits = Limits { bytes: Some(1_000), entries: None };
    let mut shard = Small::new(Config { policy: Policy::TinyLfu, limits, seed: 1 });
    assert_eq!(shard.insert(1, 10, 0), Ok(None));
    let weight = 1_000 + Small::OVERHEAD;
    let refused = shard.insert(1, 11, 1_000).unwrap_err();
    assert_eq!(refused, Refused::TooLarge { weight, limit: 1_000 });
    let words = format!("an entry of {weight} bytes does not fit into a shard of 1000 bytes");
    assert_eq!(refused.to_string(), words);
    assert_eq!(shard.reweigh(&1, u64::MAX).unwrap_err().to_string().find("18446744"), Some(12));
    assert_eq!((shard.peek(&1), shard.bytes()), (Some(&10), Small::OVERHEAD));
    let exactly = 1_000 - Small::OVERHEAD;
    assert_eq!(shard.insert(1, 12, exactly), Ok(Some(10)));
    assert_eq!((shard.bytes(), drain(&mut shard)), (1_000, vec![]));
}

#[test]
fn lookups_are_counted() {
    let mut shard: Small = unlimited(Policy::TinyLfu);
    shard.insert(1, 10, 0).unwrap();
    shard.insert(1, 11, 0).unwrap();
    shard.get(&1);
    shard.get(&2);
    shard.get_if(&1, |value| *value == 11);
    shard.get_if(&1, |value| *value == 10);
    shard.note_miss(&3);
    shard.note_access(&4);
    shard.peek(&1);
    let counters = Counters { hits: 2, misses: 3, insertions: 1, ..Counters::default() };
    assert_eq!(shard.counters(), counters);
    // One replacement and three lookups, the one of no use too.
    let entry = shard.entries_from(0).next().unwrap();
    assert_eq!((entry.frequency, entry.segment), (4, Segment::Window));
    shard.clear();
    assert_eq!((shard.len(), shard.counters()), (0, counters));
    shard.audit().unwrap();
}

#[test]
fn without_limits_nothing_is_proposed() {
    for policy in [Policy::Lru, Policy::TinyLfu] {
        let mut shard: Small = unlimited(policy);
        for key in 0..10_000 {
            shard.insert(key, key, key).unwrap();
            assert_eq!(drain(&mut shard), []);
        }
        assert_eq!(shard.len(), 10_000);
        shard.audit().unwrap();
    }
}

#[test]
fn smaller_limits_are_reached_by_proposals() {
    for policy in [Policy::Lru, Policy::TinyLfu] {
        let mut shard: Small = unlimited(policy);
        for key in 0..100 {
            shard.insert(key, key, 0).unwrap();
        }
        let limits = Limits { bytes: Some(10 * Small::OVERHEAD), entries: Some(50) };
        shard.set_limits(limits);
        assert_eq!((shard.config().limits, shard.is_over()), (limits, true));
        assert_eq!((drain(&mut shard).len(), shard.len()), (90, 10));
        shard.audit().unwrap();
        shard.set_limits(Limits { bytes: None, entries: Some(0) });
        assert_eq!((drain(&mut shard).len(), shard.len()), (10, 0));
        shard.set_limits(Limits::default());
        shard.insert(1, 1, 1).unwrap();
        assert_eq!((drain(&mut shard), shard.len()), (vec![], 1));
    }
}

#[test]
fn pages_show_each_entry_that_stays_once() {
    let mut shard: Small = unlimited(Policy::Lru);
    for key in 0..100 {
        shard.insert(key, key, 0).unwrap();
    }
    let mut seen = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let Page { entries, next: after } = shard.page(from, 7);
        assert!(entries.len() <= 7 && (entries.len() == 7 || after.is_none()));
        seen.extend(entries.iter().map(|entry| *entry.key));
        next = after;
        // Odd keys come and go meanwhile, and take each other's slots.
        for key in (1..100).step_by(2) {
            shard.remove(&key);
        }
        for key in (0..50).rev().map(|half| half * 2 + 1) {
            shard.insert(key, key, 0).unwrap();
        }
    }
    let mut even: Vec<u64> = seen.into_iter().filter(|key| key % 2 == 0).collect();
    even.sort_unstable();
    assert_eq!(even, (0..100).step_by(2).collect::<Vec<_>>());
    assert_eq!(shard.page(100, 7), Page { entries: vec![], next: None });
    assert_eq!(shard.page(u32::MAX, 7), Page { entries: vec![], next: None });
    assert_eq!(shard.page(0, 0), Page { entries: vec![], next: Some(0) });
}
