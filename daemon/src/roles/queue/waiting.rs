//! Who waits for a job: a line per queue, first come first served.
//!
//! A wake names how many jobs are there; the first so many in line try to take one. Whoever tries in
//! vain keeps its place, and whoever leaves with a wake it did not use hands it to the next one, so
//! that a consumer that goes away takes nobody's turn with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync_core::name::Name;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// All lines of a node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    lines: Arc<Mutex<HashMap<Name, Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    places: BTreeMap<u64, Place>,
    /// A wake that is set for then.
    alarm: Option<Instant>,
}

#[derive(Debug, Default)]
struct Place {
    woken: Option<Why>,
    notify: Arc<Notify>,
}

/// Why a place was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Jobs are there, and as many were woken.
    Jobs,
    /// A limit may allow a job by now. Only one is woken, and sees when it may be the next one's
    /// turn if it stays; so if it leaves, the next one looks.
    Time,
}

impl Place {
    fn wake(&mut self, why: Why) {
        self.woken.get_or_insert(why);
        self.notify.notify_one();
    }
}

impl Waiting {
    /// Takes a place at the end of the queue's line.
    pub(super) fn join(&self, queue: &Name) -> Turn {
        let mut lines = self.lines.lock();
        let line = lines.entry(queue.clone()).or_default();
        let number = line.next;
        line.next += 1;
        let place = Place::default();
        let notify = Arc::clone(&place.notify);
        line.places.insert(number, place);
        let by_time = AtomicBool::new(false);
        Turn { waiting: self.clone(), queue: queue.clone(), number, notify, by_time }
    }

    /// So many jobs of the queue may be taken: the first in line try.
    pub(crate) fn wake(&self, queue: &Name, jobs: usize) {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get_mut(queue) {
            line.places.values_mut().take(jobs).for_each(|place| place.wake(Why::Jobs));
        }
    }

    /// Everyone tries: what the queues hold is not known any more.
    pub(crate) fn wake_all(&self) {
        for line in self.lines.lock().values_mut() {
            line.places.values_mut().for_each(|place| place.wake(Why::Jobs));
        }
    }

    /// The first in line tries again after that time.
    pub(super) fn wake_in(&self, queue: &Name, pause: Duration) {
        let at = Instant::now() + pause;
        {
            let mut lines = self.lines.lock();
            let Some(line) = lines.get_mut(queue) else { return };
            if line.alarm.is_some_and(|set| set <= at) {
                return;
            }
            line.alarm = Some(at);
        }
        let (waiting, queue) = (self.clone(), queue.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(at).await;
            if let Some(line) = waiting.lines.lock().get_mut(&queue)
                && line.alarm == Some(at)
            {
                line.alarm = None;
                line.places.values_mut().take(1).for_each(|place| place.wake(Why::Time));
            }
        });
    }

    /// How many wait, over all queues.
    pub(crate) fn count(&self) -> usize {
        self.lines.lock().values().map(|line| line.places.len()).sum()
    }

    /// Someone waits for that queue.
    pub(crate) fn is_awaited(&self, queue: &Name) -> bool {
        self.lines.lock().contains_key(queue)
    }
}

/// A place in a line; dropping it leaves.
#[derive(Debug)]
pub(super) struct Turn {
    waiting: Waiting,
    queue: Name,
    number: u64,
    notify: Arc<Notify>,
    /// The last wake that was used up was one of time.
    by_time: AtomicBool,
}

impl Turn {
    /// Waits for a wake, and uses it up.
    ///
    /// # Cancel safety
    /// Cancel safe: a wake that was not used goes to the next one when this place is left.
    pub(super) async fn woken(&self) {
        loop {
            if self.use_up() {
                return;
            }
            self.notify.notified().await;
        }
    }

    fn use_up(&self) -> bool {
        let mut lines = self.waiting.lines.lock();
        let place = lines.get_mut(&self.queue).and_then(|line| line.places.get_mut(&self.number));
        let woken = place.and_then(|place| place.woken.take());
        if let Some(why) = woken {
            self.by_time.store(why == Why::Time, Ordering::Relaxed);
        }
        woken.is_some()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut lines = self.waiting.lines.lock();
        let Some(line) = lines.get_mut(&self.queue) else { return };
        let unused = line.places.remove(&self.number).and_then(|place| place.woken);
        let by_time = self.by_time.load(Ordering::Relaxed).then_some(Why::Time);
        if let Some(why) = unused.or(by_time)
            && let Some(next) = line.places.values_mut().find(|place| place.woken.is_none())
        {
            next.wake(why);
        }
        if line.places.is_empty() {
            lines.remove(&self.queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn queue() -> Name {
        Name::parse("queue", "q").unwrap()
    }

    #[tokio::test]
    async fn the_first_in_line_are_woken_and_no_more_than_there_are_jobs() {
        let waiting = Waiting::default();
        let turns: Vec<Turn> = (0..4).map(|_| waiting.join(&queue())).collect();
        waiting.wake(&queue(), 2);
        let woken: Vec<bool> = turns.iter().map(|t| t.woken().now_or_never().is_some()).collect();
        assert_eq!(woken, [true, true, false, false]);
        assert!(turns[0].woken().now_or_never().is_none(), "one wake is one try");
    }

    #[tokio::test]
    async fn a_wake_that_was_not_used_is_handed_on() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.join(&queue()), waiting.join(&queue()));
        waiting.wake(&queue(), 1);
        drop(first);
        assert!(second.woken().now_or_never().is_some());
        drop(second);
        assert_eq!(waiting.count(), 0);
        assert!(!waiting.is_awaited(&queue()), "an empty line is forgotten");
    }

    #[tokio::test]
    async fn a_wake_that_was_used_is_not_handed_on() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.join(&queue()), waiting.join(&queue()));
        waiting.wake(&queue(), 1);
        first.woken().await;
        drop(first);
        assert!(second.woken().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_the_first_and_an_earlier_one_counts() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.join(&queue()), waiting.join(&queue()));
        let begun = Instant::now();
        waiting.wake_in(&queue(), Duration::from_secs(5));
        waiting.wake_in(&queue(), Duration::from_secs(1));
        waiting.wake_in(&queue(), Duration::from_secs(3));
        first.woken().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        assert!(second.woken().now_or_never().is_none());
    }

    /// Whoever stays looks again by itself; when it leaves, with a job or without, another must.
    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_was_used_is_handed_on() {
        let waiting = Waiting::default();
        let (first, second) = (waiting.join(&queue()), waiting.join(&queue()));
        let third = waiting.join(&queue());
        waiting.wake_in(&queue(), Duration::from_secs(1));
        first.woken().await;
        drop(first);
        assert!(second.woken().now_or_never().is_some());
        waiting.wake(&queue(), 1);
        assert!(second.woken().now_or_never().is_some(), "jobs are there");
        drop(second);
        assert!(third.woken().now_or_never().is_none(), "and as many were woken");
    }
}
