//! Queues with limits.

use std::time::Duration;

use dsync_core::queue::{Limits, NewJob, Overflow, Pushed, Settled, State};
use dsync_tests::jobs::hand::{Hand, job};
use tokio::time::{Instant, sleep};

use crate::place::{LONG, NONE, Place, SLACK, SOON};

pub(crate) async fn a_full_queue_refuses(place: &Place) {
    let [one, two, three] = place.hands();
    one.limit(Limits { max_jobs: 3, ..Limits::default() }).await;
    let delayed = NewJob { delay_ms: 60_000, ..job("delayed", "") };
    two.create([NewJob { priority: 5, ..job("leased", "") }, delayed]).await;
    let leased = two.take(LONG, NONE).await.receipt;
    let pushed = three.push([job("a", ""), job("b", ""), job("a", "")]).await;
    assert!(matches!(&pushed[1], Pushed::Refused(why) if why.contains("3 jobs")), "{pushed:?}");
    assert_eq!(pushed[0], Pushed::Created);
    assert_eq!(pushed[2], Pushed::Duplicate { state: State::Ready }, "no second one, no refusal");
    assert_eq!(two.show("b").await, None);
    assert_eq!(two.ack(vec![leased]).await, [Settled::Done]);
    one.create([job("b", "")]).await;
    assert_eq!(one.stats().await.totals.refused, 1);
}

pub(crate) async fn a_full_queue_drops_the_oldest(place: &Place) {
    let [one, two, three] = place.hands();
    let high = |id| NewJob { priority: 9, ..job(id, "") };
    one.create([NewJob { delay_ms: 60_000, ..job("delayed", "") }, high("b"), job("a", "")]).await;
    one.limit(Limits { max_jobs: 3, overflow: Overflow::DropOldest, ..Limits::default() }).await;
    one.create([high("c")]).await;
    let dropped = three.show("a").await.unwrap();
    assert_eq!(dropped.state, State::Dead, "the oldest of the lowest priority");
    assert!(dropped.cause.is_some_and(|cause| cause.starts_with("dropped")));
    one.create([NewJob { priority: 0, ..job("d", "") }]).await;
    assert_eq!(three.ids(State::Ready).await, ["c", "d"]);
    assert_eq!(three.ids(State::Dead).await, ["a", "b"], "none is gone without a word");
    two.pop(9, LONG, NONE).await;
    let pushed = one.push([job("e", "")]).await;
    assert!(matches!(&pushed[..], [Pushed::Refused(_)]), "nothing ready to drop: {pushed:?}");
    assert_eq!(one.stats().await.totals.refused, 1);
}

pub(crate) async fn rate_and_jobs_in_flight(place: &Place) {
    let [one, two, three] = place.hands();
    one.limit(Limits { rate_per_s: 5, burst: 2, ..Limits::default() }).await;
    one.create((0..7).map(|number| job(&number.to_string(), ""))).await;
    // The bucket is full by then.
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let mut taken = 0;
    while taken < 7 {
        let jobs = two.pop(7, LONG, SOON).await;
        assert!(!jobs.is_empty(), "a waiting pop gets what comes in time");
        taken += jobs.len();
    }
    let took = begun.elapsed();
    // Two at once, then five a second: 1 s for the rest.
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");

    one.limit(Limits { max_in_flight: 9, ..Limits::default() }).await;
    one.create((0..4).map(|number| job(&format!("more-{number}"), ""))).await;
    let jobs = two.pop(4, LONG, NONE).await;
    assert_eq!(jobs.len(), 2, "seven are in flight already");
    let waiter = tokio::spawn(async move { three.take(LONG, SOON).await });
    sleep(Duration::from_millis(300)).await;
    assert!(!waiter.is_finished());
    let acked = Instant::now();
    assert_eq!(one.ack(vec![jobs[0].receipt.clone()]).await, [Settled::Done]);
    assert_eq!(waiter.await.unwrap().receipt.id.as_str(), "more-2");
    assert!(acked.elapsed() < SLACK, "{:?}", acked.elapsed());
}

/// Each of those who wait has its turn as soon as the rate allows it.
pub(crate) async fn a_rate_and_many_who_wait(place: &Place) {
    let [one, two, three] = place.hands();
    one.limit(Limits { rate_per_s: 10, burst: 1, ..Limits::default() }).await;
    let wait = |hand: &Hand| {
        let hand = hand.clone();
        tokio::spawn(async move { hand.take(LONG, SOON).await })
    };
    let waiters: Vec<_> = (0..5).flat_map(|_| [wait(&two), wait(&three)]).collect();
    sleep(Duration::from_millis(700)).await;
    let begun = Instant::now();
    one.create((0..10).map(|number| job(&number.to_string(), ""))).await;
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap().attempt, 1);
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(850), "{took:?}");
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
}
