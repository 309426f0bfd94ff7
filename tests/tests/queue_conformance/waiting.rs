//! Consumers that wait.

use std::time::Duration;

use dsync::queue::{Consumer, ConsumerOptions};
use dsync_core::queue::Settled;
use dsync_tests::jobs::Hand;
use dsync_tests::jobs::hand::job;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::place::{LONG, NONE, Place, SLACK, SOON};

/// In line before the next one comes.
const IN_LINE: Duration = Duration::from_millis(500);

fn wait(hand: &Hand) -> tokio::task::JoinHandle<(String, u32, Instant)> {
    let hand = hand.clone();
    tokio::spawn(async move {
        let job = hand.take(LONG, SOON).await;
        let at = Instant::now();
        assert_eq!(hand.ack(vec![job.receipt.clone()]).await, [Settled::Done]);
        (job.receipt.id.to_string(), job.attempt, at)
    })
}

/// Prototype: consumers polled.
pub(crate) async fn a_push_at_another_node_wakes(place: &Place) {
    let hands = place.hands();
    for consumer in 0..3 {
        for producer in 0..3 {
            let waiter = wait(&hands[consumer]);
            sleep(IN_LINE).await;
            let id = format!("{consumer}-{producer}");
            let pushed = Instant::now();
            hands[producer].create([job(&id, "")]).await;
            let (got, attempt, at) = waiter.await.unwrap();
            assert_eq!((got, attempt), (id, 1));
            assert!(at - pushed < SLACK, "{:?}", at - pushed);
        }
    }
    let begun = Instant::now();
    let nothing = hands[0].pop(1, LONG, Duration::from_millis(700)).await;
    assert!(nothing.is_empty());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(690) && took < SLACK, "{took:?}");
    let fault = hands[1]
        .try_do(Hand::pop_command(3, 1, LONG, false), Duration::from_secs(21), None)
        .await
        .unwrap_err();
    assert!(fault.message.contains("21000 ms"), "{fault:?}");
}

pub(crate) async fn first_come_first_served(place: &Place) {
    let hands = place.hands();
    let mut waiters = Vec::new();
    for number in 0..6 {
        waiters.push(wait(&hands[number * 2 % 3]));
        sleep(IN_LINE).await;
    }
    for number in 0..3 {
        hands[0].create([job(&number.to_string(), "")]).await;
        sleep(Duration::from_millis(200)).await;
    }
    hands[1].create((3..6).map(|number| job(&number.to_string(), ""))).await;
    let got = join_all(waiters).await;
    let got: Vec<String> = got.into_iter().map(|one| one.unwrap().0).collect();
    assert_eq!(got[..3], ["0", "1", "2"], "in the order in which they came");
    let mut rest = got[3..].to_vec();
    rest.sort();
    assert_eq!(rest, ["3", "4", "5"], "one each");
}

/// Prototype: a message that was popped for a consumer who had gone was lost.
pub(crate) async fn who_goes_away_takes_nothing_along(place: &Place) {
    let hands = place.hands();
    for round in 0..9 {
        let at = round % 3;
        // Connections of its own, which end with it.
        let gone = place.at(at);
        let waiting = tokio::spawn(async move { gone.pop(1, LONG, SOON).await });
        let name = format!("gone-{round}");
        let library = Consumer::new(
            place.at(at).client(),
            place.queue,
            ConsumerOptions::new(name).lease(LONG),
        )
        .unwrap();
        let next = tokio::spawn(async move { library.next(SOON).await.map(|job| job.is_some()) });
        sleep(IN_LINE).await;
        waiting.abort();
        next.abort();
        if round >= 3 {
            // The node has seen that they are gone; before that it finds out as it answers.
            sleep(Duration::from_millis(300)).await;
        }
        let id = format!("job-{round}");
        hands[(at + 1) % 3].create([job(&id, "")]).await;
        let pushed = Instant::now();
        let taken = hands[(at + 2) % 3].take(LONG, SOON).await;
        assert_eq!((taken.receipt.id.as_str(), taken.attempt), (id.as_str(), 1));
        assert!(pushed.elapsed() < SLACK, "round {round}: {:?}", pushed.elapsed());
        assert_eq!(hands[0].ack(vec![taken.receipt]).await, [Settled::Done]);
    }
    assert!(hands[0].pop(1, LONG, NONE).await.is_empty());
    assert_eq!(hands[0].counts().await, [0; 4]);
}
