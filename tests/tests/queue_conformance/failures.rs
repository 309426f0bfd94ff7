//! Deliveries that fail, and the dead letters.

use std::time::Duration;

use dsync_core::queue::{
    Backoff, Command, JobId, NewJob, Pushed, Receipt, Settled, State, backoff_ms,
};
use dsync_tests::jobs::Hand;
use dsync_tests::jobs::hand::{ids, job};
use dsync_tests::process::node::http_get;
use tokio::time::{Instant, sleep};

use crate::place::{LONG, NONE, Place, SLACK, SOON};

/// The pause that was wanted, then the job's own, doubled each time.
pub(crate) async fn nacked_with_a_pause(place: &Place) {
    let [one, two, three] = place.hands();
    let backoff = Backoff { base_ms: 400, max_ms: 500 };
    one.create([NewJob { backoff, ..job("a", "") }]).await;
    let id = JobId::parse("a").unwrap();
    let pauses = [
        (Some(600), 600),
        (None, backoff_ms(backoff, &id, 2)),
        (None, backoff_ms(backoff, &id, 3)),
    ];
    let mut taken = one.take(LONG, NONE).await;
    for ((delay, pause), attempt) in pauses.into_iter().zip(1..) {
        assert_eq!(taken.attempt, attempt);
        let error = format!("error {attempt}");
        let begun = Instant::now();
        assert_eq!(two.nack(&taken.receipt, delay, &error).await, Settled::Done);
        let nacked = Instant::now();
        assert_eq!(one.all_five(&taken.receipt).await[0], Settled::Stale, "no lease to extend");
        taken = three.take(LONG, SOON).await;
        let pause = Duration::from_millis(pause);
        assert!(begun.elapsed() + Duration::from_millis(1) >= pause, "{:?}", begun.elapsed());
        assert!(nacked.elapsed() < pause + SLACK, "{:?}, not {pause:?}", nacked.elapsed());
        assert_eq!(taken.last_error, Some(error));
    }
    let shown = one.show("a").await.unwrap();
    assert_eq!((shown.attempts, shown.errors.len()), (4, 3));
    assert_eq!(one.stats().await.totals.failed, 3);
}

/// Four dead letters, and a job that lives.
async fn bury(hand: &Hand) {
    for name in ["a", "b", "c", "d"] {
        hand.create([NewJob { max_attempts: 1, ..job(name, name) }]).await;
        let taken = hand.take(LONG, NONE).await;
        assert_eq!(hand.nack(&taken.receipt, None, name).await, Settled::Dead);
    }
    hand.create([job("live", "")]).await;
    assert_eq!(hand.ids(State::Dead).await, ["a", "b", "c", "d"]);
}

fn some(ids: &[&str]) -> Vec<JobId> {
    ids.iter().map(|id| JobId::parse(id).unwrap()).collect()
}

/// What happens without a command is in the figures too, once for all nodes.
pub(crate) async fn deaths_are_counted(place: &Place) {
    let hand = place.at(0);
    let once = |name: &str| NewJob { max_attempts: 1, ..job(name, "") };
    let dying = NewJob { ttl_ms: 300, ..job("ttl", "") };
    hand.create([once("lease")]).await;
    hand.take(Duration::from_millis(200), NONE).await;
    hand.create([dying, job("done", "")]).await;
    sleep(Duration::from_secs(1)).await;
    let pop = Hand::pop_command(1, 1, LONG, true);
    assert_eq!(hand.popped(pop, NONE).await.jobs.len(), 1);
    let mut sums = [0; 3];
    for node in &place.cluster.nodes {
        let page = http_get(&node.metrics, "/metrics").await;
        for (sum, event) in sums.iter_mut().zip(["dead", "expired", "acked"]) {
            let name = format!("dsync_queue_jobs_total{{event=\"{event}\"}} ");
            let count = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
            *sum += count.trim().parse::<u64>().unwrap();
        }
    }
    assert_eq!(sums, [2, 1, 1], "dead, expired, acked");
}

/// Prototype: a message that could not be handled was lost, or came back for ever.
pub(crate) async fn dead_after_the_last_attempt(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([NewJob { max_attempts: 2, ..job("nacked", "n") }]).await;
    let first = one.take(LONG, NONE).await;
    assert_eq!(one.nack(&first.receipt, None, "one").await, Settled::Done);
    let last = two.take(LONG, SOON).await;
    assert_eq!((last.attempt, last.max_attempts), (2, 2));
    assert_eq!(two.nack(&last.receipt, None, "two").await, Settled::Dead);
    assert_eq!(three.nack(&last.receipt, None, "two").await, Settled::Dead, "as before");
    let dead = three.show("nacked").await.unwrap();
    assert_eq!((dead.state, dead.cause.as_deref()), (State::Dead, Some("failed 2 times")));
    assert_eq!(dead.errors, ["one", "two"]);
    let pushed = three.push([job("nacked", "")]).await;
    assert_eq!(pushed, [Pushed::Duplicate { state: State::Dead }], "the id is taken");
    let stats = one.stats().await;
    assert_eq!((stats.dead, stats.totals.died, stats.totals.failed), (1, 1, 2), "once");
}

pub(crate) async fn dead_after_the_last_lease(place: &Place) {
    let [one, two, _] = place.hands();
    let lease = Duration::from_millis(300);
    one.create([NewJob { max_attempts: 2, ..job("forgotten", "") }]).await;
    one.take(lease, NONE).await;
    one.take(lease, SOON).await;
    let dead = place
        .cluster
        .wait_until("the dead letter", async || {
            two.show("forgotten").await.filter(|job| job.state == State::Dead)
        })
        .await;
    assert_eq!(dead.cause.as_deref(), Some("failed 2 times"));
    assert_eq!(dead.errors, ["the lease of tester ran out"; 2]);
    assert!(one.pop(9, LONG, NONE).await.is_empty());
    let stats = one.stats().await;
    assert_eq!((stats.dead, stats.totals.died, stats.totals.expired), (1, 1, 2), "once");
}

async fn reject(hand: &Hand, receipt: Receipt) -> Vec<Settled> {
    hand.settle(Command::Reject { receipts: vec![receipt], error: "never".to_owned() }).await
}

pub(crate) async fn rejected(place: &Place) {
    let [one, two, three] = place.hands();
    one.create([job("bad", "")]).await;
    let bad = one.take(LONG, NONE).await.receipt;
    assert_eq!(
        two.nack(&Receipt { token: bad.token + 1, ..bad.clone() }, None, "").await,
        Settled::Stale
    );
    assert_eq!(reject(&two, bad.clone()).await, [Settled::Dead]);
    assert_eq!(reject(&three, bad).await, [Settled::Dead], "as before");
    let dead = three.show("bad").await.unwrap();
    assert_eq!((dead.cause.as_deref(), dead.errors), (Some("rejected"), vec!["never".to_owned()]));
}

pub(crate) async fn expired_in_its_time(place: &Place) {
    let [one, two, three] = place.hands();
    let ttl = |id| NewJob { ttl_ms: 500, ..job(id, "") };
    one.create([ttl("held")]).await;
    let held = one.take(LONG, NONE).await.receipt;
    one.create([ttl("ready"), NewJob { delay_ms: 60_000, ..ttl("delayed") }]).await;
    sleep(Duration::from_millis(900)).await;
    assert!(two.pop(9, LONG, NONE).await.is_empty(), "what is over is not delivered");
    for id in ["ready", "delayed"] {
        let dead = three.show(id).await.unwrap();
        assert_eq!(dead.state, State::Dead, "{dead:?}");
        assert!(dead.cause.is_some_and(|cause| cause.starts_with("expired")));
    }
    let leased = three.show("held").await.map(|job| job.state);
    assert_eq!(leased, Some(State::Leased), "it is being worked on");
    assert_eq!(one.nack(&held, Some(0), "late").await, Settled::Dead);
}

pub(crate) async fn dead_letters_are_moved(place: &Place) {
    let [one, two, three] = place.hands();
    bury(&one).await;
    let redrive = Command::Redrive { ids: some(&["c", "c", "nobody", "live"]), max: 10 };
    assert_eq!(two.moved(redrive).await, 1);
    assert_eq!(three.ids(State::Ready).await, ["live", "c"], "at the tail");
    assert_eq!(three.moved(Command::Redrive { ids: Vec::new(), max: 1 }).await, 1, "the oldest");
    let taken = two.pop(9, LONG, NONE).await;
    assert_eq!(ids(&taken), ["live", "c", "a"]);
    assert!(taken.iter().all(|job| job.attempt == 1 && job.last_error.is_none()), "{taken:?}");
    assert_eq!(taken[1].payload, b"c");
    let totals = three.stats().await.totals;
    assert_eq!((totals.died, totals.redriven), (4, 2));
}

pub(crate) async fn dead_letters_are_purged(place: &Place) {
    let [one, two, three] = place.hands();
    bury(&one).await;
    let purge = Command::PurgeDead { ids: some(&["d", "live"]), max: 10 };
    assert_eq!(two.moved(purge).await, 1, "what is not dead is not touched");
    assert_eq!(one.ids(State::Dead).await, ["a", "b", "c"]);
    assert_eq!(one.push([job("d", "")]).await, [Pushed::Created], "its id is free");
    assert_eq!(three.moved(Command::PurgeDead { ids: Vec::new(), max: 1 }).await, 1);
    assert_eq!(one.ids(State::Dead).await, ["b", "c"], "the oldest went");
    assert_eq!(three.moved(Command::PurgeDead { ids: Vec::new(), max: 10 }).await, 2);
    assert_eq!(one.stats().await.totals.purged, 4);
}
