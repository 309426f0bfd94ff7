//! Random calls: against a plain LRU, and against what must hold whatever the policy is.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::api::{Config, Limits, Policy, Proposed, Refused, Verdict};
use crate::support::slow_lru::SlowLru;
use crate::support::{Small, drain_but};

#[derive(Debug, Clone)]
enum Call {
    Get(u64),
    /// Found, but of no use.
    Useless(u64),
    Peek(u64),
    Change(u64),
    Insert(u64, u64),
    Reweigh(u64, u64),
    Remove(u64),
    Miss(u64),
    Pin(u64),
    Unpin(u64),
    Limit(u64, u64),
    Clear,
}

const KEYS: u64 = 24;

fn call() -> impl Strategy<Value = Call> {
    let (key, bytes) = (0..KEYS, 0_u64..400);
    prop_oneof![
        8 => key.clone().prop_map(Call::Get),
        1 => key.clone().prop_map(Call::Useless),
        1 => key.clone().prop_map(Call::Peek),
        1 => key.clone().prop_map(Call::Change),
        9 => (key.clone(), bytes.clone()).prop_map(|(key, bytes)| Call::Insert(key, bytes)),
        2 => (key.clone(), bytes).prop_map(|(key, bytes)| Call::Reweigh(key, bytes)),
        2 => key.clone().prop_map(Call::Remove),
        2 => key.clone().prop_map(Call::Miss),
        1 => key.clone().prop_map(Call::Pin),
        2 => key.prop_map(Call::Unpin),
        1 => limits().prop_map(|(bytes, entries)| Call::Limit(bytes, entries)),
        1 => prop::bool::weighted(0.1).prop_map(|all| if all { Call::Clear } else { Call::Get(0) }),
    ]
}

/// Bytes and entries; the highest stand for none.
fn limits() -> impl Strategy<Value = (u64, u64)> {
    let bytes = prop_oneof![3 => 0_u64..4_000, 1 => Just(u64::MAX)];
    let entries = prop_oneof![3 => 0_u64..20, 1 => Just(u64::MAX)];
    (bytes, entries)
}

fn as_limits((bytes, entries): (u64, u64)) -> Limits {
    let some = |limit| if limit == u64::MAX { None } else { Some(limit) };
    Limits { bytes: some(bytes), entries: some(entries) }
}

/// A shard and what must be in it.
struct Pair {
    shard: Small,
    model: SlowLru,
    pins: u64,
    value: u64,
}

impl Pair {
    fn new(policy: Policy, limits: (u64, u64)) -> Self {
        let config = Config { policy, limits: as_limits(limits), seed: 5 };
        let model = SlowLru { entries: Vec::new(), max_bytes: limits.0, max_entries: limits.1 };
        Self { shard: Small::new(config), model, pins: 0, value: 0 }
    }

    fn is_pinned(&self) -> impl Fn(u64) -> bool + use<> {
        let pins = self.pins;
        move |key| pins >> key & 1 == 1
    }

    /// Makes a call on both; they must answer alike.
    fn call(&mut self, call: &Call) {
        let Self { shard, model, .. } = self;
        match *call {
            Call::Get(key) => assert_eq!(shard.get(&key).copied(), model.get(key)),
            Call::Useless(key) => assert_eq!(shard.get_if(&key, |_| false), None),
            Call::Peek(key) => {
                assert_eq!(shard.peek(&key).copied(), model.find(key).map(|entry| entry.1));
            }
            Call::Change(key) => {
                self.value += 1;
                let changed = shard.get_mut(&key).map(|value| *value = self.value);
                assert_eq!(changed, model.find(key).map(|entry| entry.1 = self.value));
            }
            Call::Insert(key, bytes) => {
                self.value += 1;
                let weight = bytes + Small::OVERHEAD;
                let answer = shard.insert(key, self.value, bytes);
                if weight > model.max_bytes {
                    let limit = model.max_bytes;
                    assert_eq!(answer, Err(Refused::TooLarge { weight, limit }));
                } else {
                    assert_eq!(answer, Ok(model.insert(key, self.value, weight)));
                }
            }
            Call::Reweigh(key, bytes) => {
                let weight = bytes + Small::OVERHEAD;
                let limit = model.max_bytes;
                let wanted = match model.find(key) {
                    None => Ok(false),
                    Some(_) if weight > limit => Err(Refused::TooLarge { weight, limit }),
                    Some(entry) => {
                        entry.2 = weight;
                        Ok(true)
                    }
                };
                assert_eq!(shard.reweigh(&key, bytes), wanted);
            }
            Call::Remove(key) => {
                assert_eq!(shard.remove(&key), model.remove(key).map(|value| (key, value)));
            }
            Call::Miss(key) => shard.note_miss(&key),
            Call::Pin(key) => self.pins |= 1 << key,
            Call::Unpin(key) => self.pins &= !(1 << key),
            Call::Limit(bytes, entries) => {
                shard.set_limits(as_limits((bytes, entries)));
                (model.max_bytes, model.max_entries) = (bytes, entries);
            }
            Call::Clear => {
                shard.clear();
                model.entries.clear();
            }
        }
    }

    /// Same keys, values, weights and sums.
    fn compare(&self) {
        self.shard.audit().unwrap();
        let listed = self.shard.entries_from(0);
        let ours: BTreeMap<_, _> =
            listed.map(|entry| (*entry.key, (*entry.value, entry.weight))).collect();
        let theirs = self.model.entries.iter().map(|entry| (entry.0, (entry.1, entry.2)));
        assert_eq!(ours, theirs.collect());
        let sums = (self.shard.len(), self.shard.bytes());
        assert_eq!(sums, (self.model.entries.len() as u64, self.model.bytes()));
        assert_eq!(self.shard.is_over(), self.model.is_over());
        for key in 0..KEYS {
            let value = ours.get(&key).map(|(value, _)| value);
            assert_eq!(self.shard.peek(&key), value);
        }
    }
}

/// A round on a shard of any policy, with entries taken out of the model as they go: with no pins
/// left it is within its limits.
fn round(pair: &mut Pair) {
    let pinned = pair.is_pinned();
    let gone = drain_but(&mut pair.shard, &pinned);
    for key in gone {
        assert!(pair.model.is_over(), "nothing is proposed while there is room");
        assert!(!pinned(key), "what is declined stays");
        pair.model.remove(key).unwrap();
    }
    if pair.model.is_over() {
        assert!(pair.model.entries.iter().all(|entry| pinned(entry.0)), "someone was not asked");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn lru_gives_the_victims_of_a_plain_list(
        limits in limits(),
        calls in prop::collection::vec(call(), 0..300),
    ) {
        let mut pair = Pair::new(Policy::Lru, limits);
        for call in &calls {
            pair.call(call);
            let pinned = pair.is_pinned();
            let gone = drain_but(&mut pair.shard, &pinned);
            prop_assert_eq!(gone, pair.model.drain_but(&pinned));
            pair.compare();
        }
    }

    #[test]
    fn every_policy_keeps_its_books(
        limits in limits(),
        lru in any::<bool>(),
        calls in prop::collection::vec((call(), 0_u8..4), 0..300),
    ) {
        let policy = if lru { Policy::Lru } else { Policy::TinyLfu };
        let mut pair = Pair::new(policy, limits);
        for (call, rest) in &calls {
            pair.call(call);
            pair.compare();
            // Now and then the owner lets it be above its limits for a while.
            if *rest > 0 {
                round(&mut pair);
                pair.compare();
            }
        }
        pair.pins = 0;
        while pair.model.is_over() {
            round(&mut pair);
        }
        pair.compare();
        prop_assert!(!pair.shard.is_over());
    }

    /// The owner breaks off rounds, and makes other calls between two proposals.
    #[test]
    fn rounds_that_are_broken_off_harm_nothing(
        limits in limits(),
        calls in prop::collection::vec((call(), any::<bool>()), 0..300),
    ) {
        let mut pair = Pair::new(Policy::TinyLfu, limits);
        for (call, evict) in &calls {
            pair.call(call);
            let verdict = if *evict { Verdict::Evict } else { Verdict::Decline };
            if let Some(Proposed::Gone { key, value, weight, .. }) =
                pair.shard.propose(|_, _| verdict)
            {
                prop_assert!(pair.model.is_over());
                prop_assert_eq!(pair.model.find(key), Some(&mut (key, value, weight)));
                pair.model.remove(key);
            }
            pair.compare();
        }
        // What was declined last is asked again after any other call.
        pair.call(&Call::Limit(pair.model.max_bytes, pair.model.max_entries));
        round(&mut pair);
        pair.pins = 0;
        round(&mut pair);
        pair.compare();
        prop_assert!(!pair.shard.is_over());
    }

    #[test]
    fn equal_calls_give_equal_shards(
        limits in limits(),
        calls in prop::collection::vec(call(), 0..200),
    ) {
        let run = || {
            let mut pair = Pair::new(Policy::TinyLfu, limits);
            let gone: Vec<u64> = calls
                .iter()
                .flat_map(|call| {
                    // What goes is asked of the shard alone here.
                    pair.call(call);
                    let pinned = pair.is_pinned();
                    let gone = drain_but(&mut pair.shard, pinned);
                    for key in &gone {
                        pair.model.remove(*key);
                    }
                    gone
                })
                .collect();
            let rest: Vec<_> = pair
                .shard
                .entries_from(0)
                .map(|e| (e.slot, *e.key, *e.value, e.segment, e.frequency))
                .collect();
            (gone, rest, pair.shard.counters())
        };
        prop_assert_eq!(run(), run());
    }
}
