//! What a worker does, and how often.

use dsync_core::lock::Mode;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::locks::Way;

/// Permits of a lock.
const PERMITS: u32 = 3;
/// Longest wait of the patient.
const PATIENT_MS: u64 = 30_000;
/// Longest wait of the hasty.
const HASTY_MS: u64 = 1_500;

/// What a worker does. Chances are between 0 and 1.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Number of locks that all workers share.
    pub locks: u32,
    /// Lease.
    pub ttl_ms: u64,
    /// Longest hold.
    pub hold_ms: u64,
    /// Chance that a lock is asked for to be shared.
    pub shared: f64,
    /// Chance that permits of it are asked for.
    pub permits: f64,
    /// Chance that several locks are asked for at once.
    pub group: f64,
    /// Chance that an acquire does not wait.
    pub impatient: f64,
    /// Chance that it waits for a short time only.
    pub hasty: f64,
    /// Chance that it is withdrawn when it has waited for a moment.
    pub cancels: f64,
    /// Chance that a request is sent again after it was answered.
    pub ask_again: f64,
    /// Chance that a holder enters again.
    pub reenter: f64,
    /// Chance that a holder asks for another lock: what cycles are made of.
    pub nested: f64,
    /// Chance that a holder changes how it holds.
    pub convert: f64,
    /// Chance that a holder dies instead of releasing.
    pub dies: f64,
    /// Longest pause between two rounds.
    pub pause_ms: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            locks: 12,
            ttl_ms: 4_000,
            hold_ms: 20,
            shared: 0.25,
            permits: 0.15,
            group: 0.15,
            impatient: 0.2,
            hasty: 0.15,
            cancels: 0.1,
            ask_again: 0.1,
            reenter: 0.1,
            nested: 0.2,
            convert: 0.3,
            dies: 0.01,
            pause_ms: 10,
        }
    }
}

impl Mix {
    /// The locks of one round, each named once.
    pub(super) fn wants(self, random: &mut SmallRng) -> Vec<(String, Mode)> {
        let count = if random.random_bool(self.group) { random.random_range(2..=3) } else { 1 };
        let all: Vec<u32> = (0..self.locks).collect();
        all.choose_multiple(random, count)
            .map(|lock| (lock_name(*lock), self.mode(random)))
            .collect()
    }

    /// Any one lock, or `None` when it is among those held.
    pub(super) fn another(
        self,
        random: &mut SmallRng,
        held: impl Fn(&str) -> bool,
    ) -> Option<(String, Mode)> {
        let want = (lock_name(random.random_range(0..self.locks)), self.mode(random));
        (!held(&want.0)).then_some(want)
    }

    /// A lock to look at.
    pub(super) fn any_lock(self, random: &mut SmallRng) -> String {
        lock_name(random.random_range(0..self.locks))
    }

    fn mode(self, random: &mut SmallRng) -> Mode {
        let drawn = random.random_range(0.0..1.0);
        if drawn < self.shared {
            Mode::Shared
        } else if drawn < self.shared + self.permits {
            Mode::Permits { take: random.random_range(1..=PERMITS), of: PERMITS }
        } else {
            Mode::Exclusive
        }
    }

    pub(super) fn way(self, random: &mut SmallRng) -> Way {
        let drawn = random.random_range(0.0..1.0);
        let wait_ms = if drawn < self.impatient {
            0
        } else if drawn < self.impatient + self.hasty {
            random.random_range(50..HASTY_MS)
        } else {
            PATIENT_MS
        };
        let cancels = random.random_bool(self.cancels);
        let cancel_after_ms = cancels.then(|| random.random_range(0..HASTY_MS / 3));
        Way { wait_ms, cancel_after_ms, ask_again: random.random_bool(self.ask_again) }
    }
}

fn lock_name(lock: u32) -> String {
    format!("lock-{lock}")
}
