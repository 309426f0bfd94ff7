//! What a shard is made with, and what it refuses.

/// Which entry gives way when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// The one that was used least recently.
    Lru,
    /// The one that is used least often lately: a short queue of new entries, and behind it only
    /// those that are asked for more often than what they displace (W-TinyLFU).
    #[default]
    TinyLfu,
}

/// How much a shard may hold; `None`: no limit of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Limits {
    /// Bytes of all entries, each with its overhead.
    pub bytes: Option<u64>,
    /// Number of entries.
    pub entries: Option<u64>,
}

/// How a shard works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Config {
    /// Which entry gives way.
    pub policy: Policy,
    /// How much there may be.
    pub limits: Limits,
    /// Of the hash: one that others do not know keeps them from choosing keys that collide. Equal
    /// seeds and equal calls give equal shards.
    pub seed: u64,
}

/// Why an entry was not taken. The shard is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// It would not fit if it were alone.
    #[error("an entry of {weight} bytes does not fit into a shard of {limit} bytes")]
    TooLarge {
        /// Bytes of the entry, with its overhead.
        weight: u64,
        /// Bytes that the shard may have.
        limit: u64,
    },
    /// Numbers for its entries have run out.
    #[error("a shard has at most {max} entries")]
    TooMany {
        /// As many as there are.
        max: u32,
    },
}

/// What happened since the shard was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Counters {
    /// Lookups that found what they wanted.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys that were added; not those whose value was replaced.
    pub insertions: u64,
    /// Entries that gave way to others.
    pub evictions: u64,
    /// New entries that gave way themselves, being asked for no more often than the others.
    pub rejections: u64,
}

/// Room for one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) bytes: u64,
    pub(super) entries: u64,
}

impl Room {
    const ENDLESS: Self = Self { bytes: u64::MAX, entries: u64::MAX };

    pub(super) const fn exceeded(self, bytes: u64, entries: u64) -> bool {
        bytes > self.bytes || entries > self.entries
    }

    const fn percent(self, percent: u64) -> Self {
        Self { bytes: part(self.bytes, percent), entries: part(self.entries, percent) }
    }
}

const fn part(of: u64, percent: u64) -> u64 {
    if of == u64::MAX { of } else { of / 100 * percent + of % 100 * percent / 100 }
}

/// The part of the window, in percent of the shard.
const WINDOW_PERCENT: u64 = 1;
/// The part of what was used twice, in percent of what is not the window.
const PROTECTED_PERCENT: u64 = 80;

/// How the limits are divided among the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rooms {
    pub(super) all: Room,
    pub(super) window: Room,
    pub(super) protected: Room,
}

impl Rooms {
    pub(super) fn new(policy: Policy, limits: Limits) -> Self {
        let all = Room {
            bytes: limits.bytes.unwrap_or(u64::MAX),
            entries: limits.entries.unwrap_or(u64::MAX),
        };
        // LRU is a window that is the whole shard.
        if policy == Policy::Lru {
            return Self { all, window: Room::ENDLESS, protected: Room::ENDLESS };
        }
        let share = all.percent(WINDOW_PERCENT);
        let window = Room { entries: share.entries.max(1), ..share };
        let main = Room {
            bytes: rest(all.bytes, window.bytes),
            entries: rest(all.entries, window.entries),
        };
        Self { all, window, protected: main.percent(PROTECTED_PERCENT) }
    }
}

const fn rest(of: u64, taken: u64) -> u64 {
    if of == u64::MAX { of } else { of.saturating_sub(taken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        let limits = Limits { bytes: Some(1_000_050), entries: None };
        let rooms = Rooms::new(Policy::TinyLfu, limits);
        assert_eq!(rooms.window, Room { bytes: 10_000, entries: u64::MAX });
        assert_eq!(rooms.protected, Room { bytes: 792_040, entries: u64::MAX });
        let few = Limits { bytes: None, entries: Some(2) };
        let rooms = Rooms::new(Policy::TinyLfu, few);
        assert_eq!(rooms.window, Room { bytes: u64::MAX, entries: 1 });
        assert_eq!(rooms.protected, Room { bytes: u64::MAX, entries: 0 });
        assert_eq!(Rooms::new(Policy::Lru, few).window, Room::ENDLESS);
    }
}
