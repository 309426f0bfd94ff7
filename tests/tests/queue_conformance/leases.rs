//! A job that was taken belongs to one consumer, for a time.

use std::time::Duration;

use dsync_core::queue::{Command, Settled, State};
use dsync_tests::jobs::hand::{Hand, ids, job, receipts};
use tokio::time::{Instant, sleep};

use crate::place::{LONG, NONE, Place, SLACK, SOON};

/// Prototype: a consumer that died kept its message for ever; an ack took whatever was at the head.
pub(crate) async fn a_dead_consumers_job_comes_back(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("a", "x"), job("b", "y")]).await;
    let lease = Duration::from_millis(800);
    let begun = Instant::now();
    let lost = one.take(lease, NONE).await;
    let taken = Instant::now();
    let kept = one.take(LONG, NONE).await;
    assert!(two.pop(2, LONG, NONE).await.is_empty(), "both are taken");
    let again = two.take(LONG, SOON).await;
    assert!(begun.elapsed() + Duration::from_millis(1) >= lease, "{:?}", begun.elapsed());
    assert!(taken.elapsed() < lease + SLACK, "{:?}", taken.elapsed());
    assert_eq!((again.receipt.id.as_str(), again.attempt), ("a", 2));
    assert_eq!(again.last_error.as_deref(), Some("the lease of tester ran out"));
    assert!(again.receipt.token > kept.receipt.token, "tokens rise");
    assert_eq!(three.all_five(&lost.receipt).await, [Settled::Stale; 5]);
    assert_eq!(one.ids(State::Leased).await.len(), 2, "what is stale has no effect");
    let settled = three.ack(vec![again.receipt, kept.receipt, lost.receipt]).await;
    assert_eq!(settled, [Settled::Done, Settled::Done, Settled::Stale]);
}

/// Prototype: a message was lost between two calls to Redis, and with a lost answer.
pub(crate) async fn a_repeated_pop_gives_the_same_jobs(place: &Place) {
    let hands = place.hands();
    hands[0].create(["a", "b", "c", "d"].map(|id| job(id, id))).await;
    let pop = || Hand::pop_command(7, 3, LONG, false);
    let first = hands[0].popped(pop(), NONE).await.jobs;
    assert_eq!(ids(&first), ["a", "b", "c"]);
    for hand in &hands {
        let again = hand.popped(pop(), NONE).await.jobs;
        assert_eq!(receipts(&again), receipts(&first));
        assert!(again.iter().all(|job| job.attempt == 1 && job.payload.len() == 1));
    }
    let settled = hands[1].ack(vec![first[1].receipt.clone()]).await;
    assert_eq!(settled, [Settled::Done]);
    let left = hands[2].popped(pop(), NONE).await.jobs;
    assert_eq!(ids(&left), ["a", "c"], "what is still leased");
    assert_eq!(ids(&hands[2].pop(9, LONG, NONE).await), ["d"], "another request, another job");
}

pub(crate) async fn given_back(place: &Place) {
    let [one, two, three] = place.hands();
    one.create(["a", "b", "c"].map(|id| job(id, ""))).await;
    let taken = one.popped(Hand::pop_command(1, 2, LONG, false), NONE).await.jobs;
    assert_eq!(two.moved(Command::GiveBack { request: 1 }).await, 2);
    assert_eq!(two.moved(Command::GiveBack { request: 1 }).await, 0, "once");
    assert_eq!(three.ids(State::Ready).await, ["a", "b", "c"], "in its old order");
    assert_eq!(three.show("a").await.map(|job| job.attempts), Some(0), "not counted");
    assert_eq!(two.ack(receipts(&taken)).await, [Settled::Stale; 2]);
    let pop = || Hand::pop_command(2, 1, LONG, false);
    let taken = one.popped(pop(), NONE).await.jobs;
    two.popped(pop(), NONE).await;
    assert_eq!(two.moved(Command::GiveBack { request: 2 }).await, 0, "it was asked for again");
    assert_eq!(three.ack(receipts(&taken)).await, [Settled::Done]);
}

pub(crate) async fn released_is_not_counted(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("a", ""), job("b", "")]).await;
    let taken = one.pop(1, LONG, NONE).await;
    let receipts = receipts(&taken);
    assert_eq!(ids(&taken), ["a"]);
    let release = || Command::Release { receipts: receipts.clone() };
    assert_eq!(three.settle(release()).await, [Settled::Done]);
    assert_eq!(three.settle(release()).await, [Settled::Done], "a repetition answers as before");
    let again = two.take(LONG, NONE).await;
    assert_eq!((again.receipt.id.as_str(), again.attempt), ("a", 1), "at the head, uncounted");
    assert_eq!(one.ack(receipts).await, [Settled::Stale]);
}

pub(crate) async fn extended_in_time(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("a", "")]).await;
    // Long enough that a busy machine extends it in time.
    let lease = Duration::from_secs(4);
    let begun = Instant::now();
    let taken = one.take(lease, NONE).await;
    let receipts = vec![taken.receipt.clone()];
    let extend = Command::Extend { receipts: receipts.clone(), lease_ms: 8_000 };
    assert_eq!(two.settle(extend).await, [Settled::Done]);
    let extended = Instant::now();
    let in_between = lease + Duration::from_millis(1_500);
    sleep(in_between.saturating_sub(begun.elapsed())).await;
    let early = three.pop(1, LONG, NONE).await;
    assert!(early.is_empty() || extended.elapsed() > Duration::from_secs(8), "{early:?}");
    assert_eq!(two.ack(receipts).await, [Settled::Done], "the lease began anew");
    let fault = one.refused(Hand::pop_command(9, 1, Duration::from_millis(99), false)).await;
    assert!(fault.message.contains("a lease of 99 ms"), "{fault:?}");
}

/// A pop that acknowledges: at most once, and no lease.
pub(crate) async fn acknowledged_as_it_is_taken(place: &Place) {
    let [one, two, three] = place.hands();
    one.create(["a", "b", "c"].map(|id| job(id, id))).await;
    let taken = two.popped(Hand::pop_command(1, 2, LONG, true), NONE).await.jobs;
    assert_eq!(ids(&taken), ["a", "b"]);
    assert_eq!(three.counts().await, [1, 0, 0, 0]);
    assert_eq!(three.stats().await.totals.acked, 2);
    assert_eq!(three.show("a").await, None);
    let release = Command::Release { receipts: receipts(&taken) };
    assert_eq!(one.settle(release).await, [Settled::Stale; 2], "there is no way back");
    let waiting = two.popped(Hand::pop_command(2, 2, LONG, true), SOON).await.jobs;
    assert_eq!(ids(&waiting), ["c"]);
}
