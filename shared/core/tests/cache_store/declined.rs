//! What happens to entries that their owner cannot let go.

use crate::api::{Cause, Config, Limits, Policy, Proposed, Segment, Verdict};
use crate::support::{Small, drain, drain_but};

fn shard(policy: Policy, entries: u64) -> Small {
    let limits = Limits { entries: Some(entries), bytes: None };
    Small::new(Config { policy, limits, seed: 1 })
}

/// As many entries as may be there, keys from 0 on.
fn full(policy: Policy, entries: u64) -> Small {
    let mut shard = shard(policy, entries);
    for key in 0..entries {
        shard.insert(key, 0, 0).unwrap();
        assert_eq!(drain(&mut shard), []);
    }
    shard
}

fn segment(shard: &Small, key: u64) -> Segment {
    shard.entries_from(0).find(|entry| *entry.key == key).unwrap().segment
}

fn proposals(shard: &mut Small) -> Vec<u64> {
    let (mut seen, most) = (Vec::new(), shard.len());
    let mut note = |key: u64| {
        seen.push(key);
        assert!(seen.len() as u64 <= most, "more proposals than entries");
        Verdict::Decline
    };
    while shard.propose(|key, _| note(*key)).is_some() {}
    seen
}

#[test]
fn another_is_proposed_and_the_declined_one_counts_on() {
    let mut shard = full(Policy::Lru, 4);
    shard.insert(4, 0, 0).unwrap();
    assert_eq!(drain_but(&mut shard, |key| key < 2), [2]);
    assert_eq!((shard.len(), shard.is_over()), (4, false));
    // 0 and 1 became the most recently used.
    shard.insert(5, 0, 0).unwrap();
    assert_eq!(drain(&mut shard), [3]);
    assert_eq!(shard.counters().evictions, 2);
    shard.audit().unwrap();
}

#[test]
fn when_all_are_declined_each_was_asked_once() {
    for policy in [Policy::Lru, Policy::TinyLfu] {
        let mut shard = full(policy, 50);
        // Some in each segment.
        for key in 0..10 {
            shard.get(&key);
        }
        for key in 50..53 {
            shard.insert(key, 0, 0).unwrap();
        }
        for _ in 0..3 {
            let mut seen = proposals(&mut shard);
            seen.sort_unstable();
            assert_eq!(seen, (0..53).collect::<Vec<_>>(), "{policy:?}");
            assert!(shard.is_over());
            shard.audit().unwrap();
        }
        assert_eq!(drain(&mut shard).len(), 3);
        assert!(!shard.is_over());
        shard.audit().unwrap();
    }
}

#[test]
fn declined_ones_stay_in_their_segments() {
    let mut shard = full(Policy::TinyLfu, 100);
    for key in 0..20 {
        shard.get(&key);
    }
    shard.insert(100, 0, 0).unwrap();
    let before: Vec<Segment> = (0..101).map(|key| segment(&shard, key)).collect();
    assert_eq!(proposals(&mut shard).len(), 101);
    let after: Vec<Segment> = (0..101).map(|key| segment(&shard, key)).collect();
    assert_eq!(before, after);
    assert_eq!(
        [after[0], after[50], after[100]],
        [Segment::Protected, Segment::Probation, Segment::Window]
    );
}

#[test]
fn a_candidate_that_cannot_go_lets_the_next_one_be_judged() {
    // One place in the window; 99 is there, and nothing was asked for.
    let mut shard = full(Policy::TinyLfu, 100);
    shard.insert(100, 0, 0).unwrap();
    // 99 is the candidate and loses the tie. It is pinned, so 100 is next, and loses too.
    let mut seen = Vec::new();
    let mut judge = |key: u64| {
        seen.push(key);
        if key == 99 { Verdict::Decline } else { Verdict::Evict }
    };
    assert_eq!(shard.propose(|key, _| judge(*key)), Some(Proposed::Declined));
    let gone = shard.propose(|key, _| judge(*key));
    let cause = Cause::Rejected;
    assert_eq!(gone, Some(Proposed::Gone { key: 100, value: 0, weight: Small::OVERHEAD, cause }));
    assert_eq!(shard.propose(|key, _| judge(*key)), None);
    assert_eq!(seen, [99, 100]);
    assert_eq!(segment(&shard, 99), Segment::Window);
}

#[test]
fn a_victim_that_cannot_go_lets_the_next_one_be_compared() {
    let mut shard = full(Policy::TinyLfu, 100);
    shard.get(&1);
    shard.get(&1);
    shard.note_access(&100);
    shard.insert(100, 0, 0).unwrap();
    // 99 is judged first and was never asked for.
    assert_eq!(drain(&mut shard), [99]);
    // 100 was: it beats 0, which is pinned, and then 2; 1 is protected.
    shard.insert(101, 0, 0).unwrap();
    assert_eq!(drain_but(&mut shard, |key| key == 0), [2]);
    assert_eq!(segment(&shard, 100), Segment::Probation);
    assert_eq!(shard.counters().rejections, 1);
}

#[test]
fn with_all_but_one_pinned_that_one_goes() {
    for policy in [Policy::Lru, Policy::TinyLfu] {
        for free in [0, 7, 99, 100] {
            let mut shard = full(policy, 100);
            shard.get(&7);
            shard.insert(100, 0, 0).unwrap();
            assert_eq!(drain_but(&mut shard, |key| key != free), [free], "{policy:?}");
        }
    }
}

#[test]
fn the_judge_may_change_the_value() {
    let mut shard = full(Policy::Lru, 2);
    shard.insert(2, 0, 0).unwrap();
    let mark = |_: &u64, value: &mut u64| {
        *value = 9;
        Verdict::Decline
    };
    assert_eq!(shard.propose(mark), Some(Proposed::Declined));
    assert_eq!(shard.peek(&0), Some(&9));
}
