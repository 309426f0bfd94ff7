//! What a session was answered, so that a repetition has no second effect (L8).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// Most outcomes kept for one session, whatever it says it still waits for. When one more comes,
/// the half that was decided first goes.
pub const SAVED_MAX: usize = 1_024;

/// Outcomes by `seq`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// With the order in which they were decided.
    outcomes: BTreeMap<u64, (u64, Outcome)>,
    decided: u64,
    /// What is below, and neither kept nor waiting, is over for good.
    floor: u64,
}

impl Saved {
    /// The client awaits nothing below `first_outstanding`.
    pub(super) fn raise_floor(&mut self, first_outstanding: u64) {
        if first_outstanding <= self.floor {
            return;
        }
        self.floor = first_outstanding;
        while self.outcomes.first_key_value().is_some_and(|(seq, _)| *seq < first_outstanding) {
            self.outcomes.pop_first();
        }
    }

    /// Keeps an outcome.
    pub(super) fn keep(&mut self, seq: u64, outcome: Outcome) {
        self.decided = self.decided.saturating_add(1);
        self.outcomes.insert(seq, (self.decided, outcome));
        if self.outcomes.len() > SAVED_MAX {
            self.drop_older_half();
        }
    }

    fn drop_older_half(&mut self) {
        let mut order: Vec<u64> = self.outcomes.values().map(|(order, _)| *order).collect();
        order.sort_unstable();
        let Some(middle) = order.get(order.len() / 2).copied() else { return };
        let floor = &mut self.floor;
        self.outcomes.retain(|seq, (order, _)| {
            let stays = *order >= middle;
            if !stays {
                *floor = (*floor).max(seq.saturating_add(1));
            }
            stays
        });
    }

    /// The outcome, while it is kept.
    pub(super) fn get(&self, seq: u64) -> Option<&Outcome> {
        self.outcomes.get(&seq).map(|(_, outcome)| outcome)
    }

    /// True when a request of that number comes too late to be carried out.
    pub(super) fn is_stale(&self, seq: u64) -> bool {
        seq < self.floor
    }

    /// All outcomes.
    pub(super) fn into_outcomes(self) -> impl Iterator<Item = (u64, Outcome)> {
        self.outcomes.into_iter().map(|(seq, (_, outcome))| (seq, outcome))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_drops_what_is_below() {
        let mut saved = Saved::default();
        (1..=4).for_each(|seq| saved.keep(seq, Outcome::Timeout));
        saved.raise_floor(3);
        saved.raise_floor(2);
        assert_eq!((saved.get(2), saved.get(3)), (None, Some(&Outcome::Timeout)));
        assert!(saved.is_stale(2) && !saved.is_stale(3));
    }

    #[test]
    fn what_was_decided_last_stays_though_its_number_is_low() {
        let mut saved = Saved::default();
        (2..=1_025).for_each(|seq| saved.keep(seq, Outcome::Timeout));
        saved.keep(1, Outcome::Cancelled);
        assert_eq!(saved.get(1), Some(&Outcome::Cancelled));
        assert_eq!((saved.get(513), saved.get(514)), (None, Some(&Outcome::Timeout)));
        assert!(saved.is_stale(513) && !saved.is_stale(514));
    }
}
