//! What the tests share.

pub(crate) mod slow_lfu;
pub(crate) mod slow_lru;
pub(crate) mod trace;

use crate::api::{Proposed, Shard, Verdict};

/// A shard of small values.
pub(crate) type Small = Shard<u64, u64>;

/// Lets every proposal go; the keys in their order.
pub(crate) fn drain(shard: &mut Small) -> Vec<u64> {
    drain_but(shard, |_| false)
}

/// Lets every proposal go that is not pinned; the keys that went, in their order.
pub(crate) fn drain_but(shard: &mut Small, pinned: impl Fn(u64) -> bool) -> Vec<u64> {
    let (mut gone, mut seen) = (Vec::new(), Vec::new());
    let most = shard.len();
    let judge = |seen: &mut Vec<u64>, key: u64| {
        seen.push(key);
        assert!(seen.len() as u64 <= most, "more proposals than entries");
        if pinned(key) { Verdict::Decline } else { Verdict::Evict }
    };
    while let Some(proposed) = shard.propose(|key, _| judge(&mut seen, *key)) {
        if let Proposed::Gone { key, .. } = proposed {
            gone.push(key);
        }
    }
    let proposals = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), proposals, "twice in one round");
    gone
}
