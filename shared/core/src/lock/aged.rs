//! Views told by a clock that has moved on since the last entry.
//!
//! The machine knows the time of the last entry; its leader knows how long ago that was. Times
//! shown to people and clients are told as of now.

use super::{Delay, Holder, LockView, SessionView, Waiter};

/// A view that can be told `by_ms` later.
pub trait Aged {
    /// The same `by_ms` later, if nothing happens meanwhile.
    #[must_use]
    fn aged(self, by_ms: u64) -> Self;
}

impl Aged for Holder {
    fn aged(self, by_ms: u64) -> Self {
        Self { expires_in_ms: self.expires_in_ms.saturating_sub(by_ms), ..self }
    }
}

impl Aged for Waiter {
    fn aged(self, by_ms: u64) -> Self {
        Self { waiting_ms: self.waiting_ms.saturating_add(by_ms), ..self }
    }
}

impl Aged for Delay {
    fn aged(self, by_ms: u64) -> Self {
        Self { remaining_ms: self.remaining_ms.saturating_sub(by_ms), ..self }
    }
}

impl Aged for SessionView {
    fn aged(self, by_ms: u64) -> Self {
        Self { expires_in_ms: self.expires_in_ms.saturating_sub(by_ms), ..self }
    }
}

impl Aged for LockView {
    fn aged(self, by_ms: u64) -> Self {
        Self {
            holders: self.holders.aged(by_ms),
            waiters: self.waiters.aged(by_ms),
            delay: self.delay.aged(by_ms),
            ..self
        }
    }
}

impl<T: Aged> Aged for Vec<T> {
    fn aged(self, by_ms: u64) -> Self {
        self.into_iter().map(|item| item.aged(by_ms)).collect()
    }
}

impl<T: Aged> Aged for Option<T> {
    fn aged(self, by_ms: u64) -> Self {
        self.map(|item| item.aged(by_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_out_stops_at_zero_and_what_lasts_grows() {
        let delay = Delay { remaining_ms: 100, reason: "lease expired".into() };
        assert_eq!(delay.clone().aged(40).remaining_ms, 60);
        assert_eq!(Some(delay).aged(400).unwrap().remaining_ms, 0);
    }
}
