//! What operators do, and what happens to nodes.

use std::time::Duration;

use dsync_core::queue::{Command, JobId, Limits, Pushed, Receipt, Settled, State};
use dsync_tests::jobs::Hand;
use dsync_tests::jobs::hand::{ids, job};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use crate::place::{LONG, NONE, Place, SLACK, SOON};

pub(crate) async fn paused_and_resumed(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("a", "")]).await;
    let held = one.take(LONG, NONE).await;
    one.set(Command::Pause { reason: "deploying".to_owned() }).await;
    assert_eq!(two.stats().await.paused.as_deref(), Some("deploying"));
    one.create([job("b", "")]).await;
    let popped = two.popped(Hand::pop_command(1, 9, LONG, false), NONE).await;
    assert_eq!((popped.jobs.len(), popped.paused.as_deref()), (0, Some("deploying")));
    assert_eq!(three.ack(vec![held.receipt]).await, [Settled::Done], "what was taken goes on");
    let begun = Instant::now();
    let waiter = tokio::spawn(async move {
        // A paused queue may be told at once: whoever wants a job asks again.
        while begun.elapsed() < SOON {
            if let Some(job) = two.pop(1, LONG, SOON).await.pop() {
                return Some((job, Instant::now()));
            }
            sleep(Duration::from_millis(50)).await;
        }
        None
    });
    sleep(Duration::from_millis(500)).await;
    assert!(!waiter.is_finished(), "nothing is delivered");
    let resumed = Instant::now();
    three.set(Command::Resume).await;
    let (taken, at) = waiter.await.unwrap().expect("the job");
    assert_eq!(taken.receipt.id.as_str(), "b");
    assert!(at - resumed < SLACK, "{:?}", at - resumed);
    assert_eq!(one.stats().await.paused, None);
}

pub(crate) async fn purged(place: &Place) {
    let [one, two, three] = place.hands();
    one.create(["dead", "leased", "ready"].map(|id| job(id, ""))).await;
    let dead = one.take(LONG, NONE).await.receipt;
    let reject = Command::Reject { receipts: vec![dead], error: String::new() };
    assert_eq!(one.settle(reject).await, [Settled::Dead]);
    let leased = one.take(LONG, NONE).await;
    assert_eq!(two.moved(Command::Purge).await, 2);
    assert_eq!(three.counts().await, [0, 0, 0, 1], "all but the dead letters");
    assert_eq!(three.ack(vec![leased.receipt]).await, [Settled::Stale]);
    let again = three.push([job("leased", ""), job("ready", ""), job("dead", "")]).await;
    let dead = Pushed::Duplicate { state: State::Dead };
    assert_eq!(again, [Pushed::Created, Pushed::Created, dead], "ids are free again");
    assert_eq!(one.stats().await.totals.purged, 2);
}

/// A dead letter, a job that is done, one that is leased, whose receipt it gives, and a ready one.
async fn four_kinds(hand: &Hand) -> Receipt {
    hand.create(["dead", "done", "leased", "ready"].map(|id| job(id, ""))).await;
    let dead = hand.take(LONG, NONE).await.receipt;
    let reject = Command::Reject { receipts: vec![dead], error: String::new() };
    assert_eq!(hand.settle(reject).await, [Settled::Dead]);
    let done = hand.take(LONG, NONE).await.receipt;
    assert_eq!(hand.ack(vec![done]).await, [Settled::Done]);
    hand.take(LONG, NONE).await.receipt
}

/// A queue that is not used any more goes for good, with all that is known of it.
pub(crate) async fn deleted(place: &Place) {
    let [one, two, three] = place.hands();
    let leased = four_kinds(&one).await;
    one.limit(Limits { max_jobs: 7, ..Limits::default() }).await;
    one.set(Command::Pause { reason: "for ever".to_owned() }).await;
    assert_eq!(two.moved(Command::Delete).await, 3);
    assert!(three.try_stats().await.is_none(), "it is not there");
    assert_eq!(two.moved(Command::Delete).await, 0, "nor a second time");
    assert_eq!(three.ack(vec![leased]).await, [Settled::Stale]);
    // Made anew it is like any other.
    three.create(["dead", "done", "leased", "ready"].map(|id| job(id, ""))).await;
    let stats = one.stats().await;
    assert_eq!((stats.limits, stats.paused, stats.totals.pushed), (Limits::default(), None, 4));
    assert_eq!(one.pop(9, LONG, NONE).await.len(), 4);
}

/// Prototype: with the owner of a key down the key could not be used, although Redis was fine.
pub(crate) async fn a_node_less(place: &Place) {
    // So many queues that the killed node is in charge of some.
    let names: Vec<String> = (0..24).map(|number| format!("less-{number}")).collect();
    let hand = |node: usize, name: &str| place.at(node).at(name);
    for name in &names {
        hand(0, name).create([job("a", "")]).await;
    }
    let pid = place.cluster.nodes[0].pid().expect("it runs");
    dsync_tests::process::node::send(pid, rustix::process::Signal::KILL);
    let begun = Instant::now();
    let use_it = |name: &str| {
        let (one, two) = (hand(1, name), hand(2, name));
        async move {
            let pushed = one.push([job("a", ""), job("b", "")]).await;
            assert_eq!(pushed[0], Pushed::Duplicate { state: State::Ready });
            let mut taken = two.pop(9, LONG, SOON).await;
            assert_eq!(ids(&taken), ["a", "b"], "{}", one.queue());
            let last = taken.pop().map(|job| job.receipt).expect("two");
            assert_eq!(one.ack(vec![last]).await, [Settled::Done]);
            one.audit().await;
        }
    };
    join_all(names.iter().map(|name| use_it(name))).await;
    let took = begun.elapsed();
    // An election or a change of the ring, at most 3 s each, and work on 24 queues.
    assert!(took < Duration::from_secs(6) + SLACK, "{took:?}");
}

/// The limits of a queue are what was set last, whole.
pub(crate) async fn limits_are_kept(place: &Place) {
    let [one, two, _] = place.hands();
    let limits = Limits { max_jobs: 9, max_in_flight: 8, dedup_ms: 7, ..Limits::default() };
    one.limit(limits.clone()).await;
    assert_eq!(two.stats().await.limits, limits);
    let bad = Limits { rate_per_s: 1_000_001, ..Limits::default() };
    let fault = two.refused(Command::Limit { limits: bad }).await;
    assert!(fault.message.contains("1000001"), "{fault:?}");
    assert_eq!(one.stats().await.limits, limits);
    assert!(JobId::parse("").is_err());
}
