//! What may be held together: the one place that knows which modes go with which.

use super::Mode;

/// How much of a lock is taken, by mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Occupancy {
    exclusive: u32,
    shared: u32,
    permits: u64,
}

impl Occupancy {
    /// Taken by one exclusive holder.
    pub(super) const EXCLUSIVE: Self = Self { exclusive: 1, shared: 0, permits: 0 };
    /// Taken by one sharer.
    pub(super) const ONE_SHARER: Self = Self { exclusive: 0, shared: 1, permits: 0 };

    /// True when one more of `mode` goes with what is taken.
    pub(super) fn fits(self, mode: Mode) -> bool {
        match mode {
            Mode::Exclusive => self == Self::default(),
            Mode::Shared => self.exclusive == 0 && self.permits == 0,
            Mode::Permits { take, of } => {
                self.exclusive == 0
                    && self.shared == 0
                    && self.permits.saturating_add(u64::from(take)) <= u64::from(of)
            }
        }
    }

    /// Takes one more.
    pub(super) fn add(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive = self.exclusive.saturating_add(1),
            Mode::Shared => self.shared = self.shared.saturating_add(1),
            Mode::Permits { take, .. } => {
                self.permits = self.permits.saturating_add(u64::from(take));
            }
        }
    }

    /// Gives one back.
    pub(super) fn remove(&mut self, mode: Mode) {
        match mode {
            Mode::Exclusive => self.exclusive = self.exclusive.saturating_sub(1),
            Mode::Shared => self.shared = self.shared.saturating_sub(1),
            Mode::Permits { take, .. } => {
                self.permits = self.permits.saturating_sub(u64::from(take));
            }
        }
    }

    /// Permits given out.
    pub(super) fn permits(self) -> u64 {
        self.permits
    }
}

impl Mode {
    /// True when a holder of this mode need not ask for `wanted`: it enters again.
    pub(super) fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Exclusive, _) | (Self::Shared, Self::Shared) => true,
            (Self::Permits { take, of }, Self::Permits { take: less, of: same }) => {
                less <= take && of == same
            }
            (Self::Shared | Self::Permits { .. }, _) => false,
        }
    }

    /// True when the two never, or (permits) not always, go together.
    pub(super) fn conflicts(self, other: Self) -> bool {
        (self, other) != (Self::Shared, Self::Shared)
    }

    /// Number of permits that users of the lock must agree on.
    pub(super) fn permits_of(self) -> Option<u32> {
        match self {
            Self::Permits { of, .. } => Some(of),
            Self::Exclusive | Self::Shared => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_together() {
        let permits = |take| Mode::Permits { take, of: 3 };
        let mut taken = Occupancy::default();
        assert!([Mode::Exclusive, Mode::Shared, permits(3)].into_iter().all(|m| taken.fits(m)));
        assert!(!taken.fits(permits(4)));

        taken.add(Mode::Shared);
        assert_eq!(taken, Occupancy::ONE_SHARER);
        assert!(
            taken.fits(Mode::Shared) && !taken.fits(Mode::Exclusive) && !taken.fits(permits(1))
        );
        taken.remove(Mode::Shared);

        taken.add(permits(2));
        assert!(taken.fits(permits(1)) && !taken.fits(permits(2)) && !taken.fits(Mode::Shared));
        taken.remove(permits(2));

        taken.add(Mode::Exclusive);
        assert_eq!(taken, Occupancy::EXCLUSIVE);
        assert!(![Mode::Exclusive, Mode::Shared, permits(1)].into_iter().any(|m| taken.fits(m)));
    }

    #[test]
    fn who_may_enter_again() {
        let permits = |take, of| Mode::Permits { take, of };
        assert!(Mode::Exclusive.covers(Mode::Shared) && Mode::Shared.covers(Mode::Shared));
        assert!(!Mode::Shared.covers(Mode::Exclusive));
        assert!(permits(2, 3).covers(permits(1, 3)));
        assert!(!permits(1, 3).covers(permits(2, 3)) && !permits(2, 3).covers(permits(2, 4)));
    }
}
