//! Where connections are that may be silent: a bounded room in which the one that has been there for
//! longest makes place. Callers that have not greeted yet wait in one, callers of HTTP in another.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The room.
#[derive(Debug)]
pub(crate) struct Room {
    limit: usize,
    per_address: usize,
    grace: Duration,
    inside: Mutex<Inside>,
    freed: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    /// In order of entry.
    places: VecDeque<(u64, Instant, CancellationToken)>,
    by_address: HashMap<IpAddr, usize>,
}

/// A place in the room; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    number: u64,
    address: IpAddr,
    leave: CancellationToken,
}

/// The address has too many silent connections already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Room {
    pub(crate) fn new(limit: usize, per_address: usize, grace: Duration) -> Arc<Self> {
        let (inside, freed) = (Mutex::default(), tokio::sync::Notify::new());
        Arc::new(Self { limit, per_address, grace, inside, freed })
    }

    /// Waits until there is place, making some where a connection has been silent beyond the grace.
    ///
    /// Returns whether someone had to leave.
    pub(crate) async fn make_place(&self) -> bool {
        loop {
            let freed = self.freed.notified();
            let wait = {
                let mut inside = self.inside.lock();
                if inside.places.len() < self.limit {
                    return false;
                }
                let Some((_, since, _)) = inside.places.front() else { return false };
                let safe_for = self.grace.saturating_sub(since.elapsed());
                if safe_for.is_zero() {
                    if let Some((_, _, leave)) = inside.places.pop_front() {
                        leave.cancel();
                    }
                    return true;
                }
                safe_for
            };
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, TooMany> {
        let mut inside = self.inside.lock();
        if !address.is_loopback() {
            let from_there = inside.by_address.entry(address).or_default();
            if *from_there >= self.per_address {
                return Err(TooMany);
            }
            *from_there += 1;
        }
        let (number, leave) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.places.push_back((number, Instant::now(), leave.clone()));
        drop(inside);
        Ok(Place { room: Arc::clone(self), number, address, leave })
    }
}

impl Place {
    /// Waits until this connection has to make place.
    pub(crate) async fn must_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.room.inside.lock();
        // Sorted by number: they enter in that order.
        if let Ok(at) = inside.places.binary_search_by_key(&self.number, |place| place.0) {
            inside.places.remove(at);
        }
        if let Some(from_there) = inside.by_address.get_mut(&self.address) {
            *from_there -= 1;
            if *from_there == 0 {
                inside.by_address.remove(&self.address);
            }
        }
        drop(inside);
        self.room.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[tokio::test]
    async fn the_longest_silent_makes_place() {
        let room = Room::new(2, 1, Duration::from_millis(50));
        let first = room.enter(HERE).unwrap();
        let second = room.enter(HERE).unwrap();
        let began = Instant::now();
        assert!(room.make_place().await, "someone had to leave");
        assert!(began.elapsed() >= Duration::from_millis(50), "not before its grace was over");
        first.must_leave().await;
        assert!(!second.leave.is_cancelled());
        drop(first);
        assert!(!room.make_place().await, "there is place now");
    }

    #[tokio::test]
    async fn a_place_given_back_is_used_at_once() {
        let room = Room::new(1, 1, Duration::from_secs(3_600));
        let only = room.enter(HERE).unwrap();
        let (evicted, ()) = tokio::join!(room.make_place(), async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(only);
        });
        assert!(!evicted);
    }

    #[test]
    fn one_address_cannot_fill_it() {
        let room = Room::new(10, 1, Duration::ZERO);
        let there = room.enter(THERE).unwrap();
        assert_eq!(room.enter(THERE).unwrap_err(), TooMany);
        drop(there);
        assert!(room.enter(THERE).is_ok());
        let many: Vec<_> = (0..5).map(|_| room.enter(HERE).unwrap()).collect();
        drop(many);
        let inside = room.inside.lock();
        assert!(inside.places.is_empty() && inside.by_address.is_empty());
    }
}
