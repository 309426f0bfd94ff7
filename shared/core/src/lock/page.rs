//! How much goes into one reply: what is shown is cut by size, as names may be long and many.

use super::{CycleStep, Delay, Event, EventKind, Holder, LockView, SessionView, Waiter};
use crate::name::Name;

/// A page ends when it has about so many bytes: well below the largest frame of a client.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Numbers, modes and lengths of one item, at most.
const FIXED: usize = 64;

/// About how many bytes something takes in a reply; rather more than fewer.
pub trait Weight {
    /// The estimate.
    fn weight(&self) -> usize;
}

/// What is left of a page.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    begun: bool,
}

impl Room {
    /// An empty page of so many bytes.
    pub const fn new(bytes: usize) -> Self {
        Self { bytes, begun: false }
    }

    /// Takes the room of one more item; `false`: it has no place any more. The first one always
    /// has, so that each page brings its reader on.
    pub fn take(&mut self, item: &impl Weight) -> bool {
        let weight = item.weight();
        let fits = weight <= self.bytes || !self.begun;
        self.bytes = self.bytes.saturating_sub(weight);
        self.begun = true;
        fits
    }
}

/// The first items, as far as they fit into so many bytes.
pub(super) fn fitting<T: Weight>(items: impl Iterator<Item = T>, bytes: usize) -> Vec<T> {
    let mut room = Room::new(bytes);
    items.take_while(|item| room.take(item)).collect()
}

impl Weight for Name {
    fn weight(&self) -> usize {
        self.as_str().len() + 2
    }
}

impl<T: Weight> Weight for Vec<T> {
    fn weight(&self) -> usize {
        self.iter().map(Weight::weight).sum()
    }
}

impl Weight for Holder {
    fn weight(&self) -> usize {
        FIXED + self.owner.weight()
    }
}

impl Weight for Waiter {
    fn weight(&self) -> usize {
        FIXED + self.owner.weight() + self.group.weight()
    }
}

impl Weight for CycleStep {
    fn weight(&self) -> usize {
        FIXED + self.waiter.weight() + self.lock.weight() + self.holder.weight()
    }
}

impl Weight for Delay {
    fn weight(&self) -> usize {
        FIXED + self.reason.len()
    }
}

impl Weight for LockView {
    fn weight(&self) -> usize {
        let delay = self.delay.as_ref().map_or(0, Weight::weight);
        FIXED + self.name.weight() + self.holders.weight() + self.waiters.weight() + delay
    }
}

impl Weight for SessionView {
    fn weight(&self) -> usize {
        FIXED + self.owner.weight() + self.meta.len()
    }
}

impl Weight for Event {
    fn weight(&self) -> usize {
        FIXED
            + match &self.kind {
                EventKind::Granted { grant, owner, .. } => grant.lock.weight() + owner.weight(),
                EventKind::Released { lock, owner, why, .. } => {
                    lock.weight() + owner.weight() + why.len()
                }
                EventKind::Revoke { lock, by, .. } => lock.weight() + by.weight(),
                EventKind::SessionExpired { owner, .. } => owner.weight(),
                EventKind::Deadlock(cycle) => cycle.weight(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_takes_what_fits_and_always_one() {
        let name = |length: usize| Name::parse("name", &"x".repeat(length)).unwrap();
        let of = |lengths: &[usize], bytes| fitting(lengths.iter().map(|n| name(*n)), bytes).len();
        assert_eq!(of(&[8, 8, 8], 30), 3);
        assert_eq!(of(&[8, 8, 8], 29), 2);
        assert_eq!(of(&[8, 200, 8], 100), 1, "nothing passes one that does not fit");
        assert_eq!(of(&[200, 8], 100), 1);
        assert_eq!(of(&[], 0), 0);
    }
}
