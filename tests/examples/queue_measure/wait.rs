//! Consumers that wait: how soon they are woken, and what a thousand of them cost.

use std::time::Duration;

use dsync_core::queue::DEFAULT_LEASE_MS;
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::load::{ack, job, name, pop, push, quantile_ms};
use super::place::{Place, Store, cpu_percent};

/// Lease of a job that nobody acknowledges.
const LEASE: Duration = Duration::from_millis(500);
/// Longest wait of a consumer.
const WAIT: Duration = Duration::from_secs(15);
/// Leases that end at about the same time.
const TOGETHER: usize = 10;

/// From a push at one node to the job at a consumer that waits at another; and from the end of a
/// lease to the job at the next consumer.
pub(crate) async fn wake(store: Store, rounds: usize) {
    let place = Place::start(store).await;
    let mut times = Vec::new();
    for round in 0..rounds {
        // A queue of its own each time, so that nobody knows yet which node is in charge of it.
        let queue = name(&format!("wake/{round}"));
        let (consumer, producer) = (place.client_from(round), place.client_from(round + 1));
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move {
                let jobs = pop(&consumer, &queue, (1, DEFAULT_LEASE_MS), WAIT).await;
                let woken = Instant::now();
                ack(&consumer, &queue, jobs.into_iter().map(|job| job.receipt).collect()).await;
                woken
            }
        });
        // Connected, as a producer is that pushes now and then.
        push(&producer, &name("wake-warm"), vec![job(100)]).await;
        sleep(Duration::from_millis(30)).await;
        let pushed = Instant::now();
        push(&producer, &queue, vec![job(100)]).await;
        times.push(waiting.await.expect("a consumer ends") - pushed);
    }
    times.sort();
    print_times(&format!("wake     {}: push to a waiting consumer", store.name()), &times);
    let late = futures::stream::iter((0..rounds).map(|round| redelivered(&place, round)));
    let mut late: Vec<Duration> = late.buffer_unordered(TOGETHER).collect().await;
    late.sort();
    print_times(&format!("wake     {}: end of a lease to the next delivery", store.name()), &late);
}

fn print_times(what: &str, sorted: &[Duration]) {
    println!(
        "{what} rounds={} p50={:.2}ms p99={:.2}ms max={:.2}ms",
        sorted.len(),
        quantile_ms(sorted, 50),
        quantile_ms(sorted, 99),
        quantile_ms(sorted, 100)
    );
}

/// How late a job comes back whose consumer is silent. The lease is counted from when the pop was
/// sent, so a little too much is told rather than too little.
async fn redelivered(place: &Place, round: usize) -> Duration {
    // Not all at the same moment.
    sleep(Duration::from_millis(7 * u64::try_from(round % TOGETHER).unwrap_or(0))).await;
    let queue = name(&format!("lease/{round}"));
    let (first, second) = (place.client_from(round), place.client_from(round + 1));
    push(&first, &queue, vec![job(100)]).await;
    let sent = Instant::now();
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(0);
    let taken = pop(&first, &queue, (1, lease_ms), Duration::ZERO).await;
    assert_eq!(taken.len(), 1, "a job that was pushed is there");
    let again = pop(&second, &queue, (1, DEFAULT_LEASE_MS), WAIT).await;
    let late = Instant::now().saturating_duration_since(sent + LEASE);
    assert_eq!(again.len(), 1, "an expired lease comes back");
    ack(&second, &queue, again.into_iter().map(|job| job.receipt).collect()).await;
    late
}

/// What so many waiting consumers cost, and whether each is woken.
pub(crate) async fn waiters(store: Store, count: usize, queues: usize) {
    let place = Place::start(store).await;
    sleep(Duration::from_secs(2)).await;
    let idle = place.usage();
    let queue = |at: usize| name(&format!("waiters/{}", at % queues));
    let clients: Vec<_> = (0..9).map(|at| place.client_from(at)).collect();
    let waiting = clients.iter().cycle().take(count).enumerate().map(|(at, client)| {
        let (client, queue) = (client.clone(), queue(at));
        async move { pop(&client, &queue, (1, DEFAULT_LEASE_MS), WAIT).await.len() }
    });
    let waiting = tokio::spawn(join_all(waiting));
    sleep(Duration::from_secs(3)).await;
    let seconds = 5;
    let (before, redis_before) = (place.usage(), place.redis_usage());
    sleep(Duration::from_secs(seconds)).await;
    let seconds = Duration::from_secs(seconds).as_secs_f64();
    let after = place.usage();
    for (at, ((idle, before), after)) in idle.into_iter().zip(before).zip(after).enumerate() {
        println!(
            "waiters  {}: {count} on {queues} queues, node {}: {:.1} % of a core, {:.1} MiB resident ({:.1} before)",
            store.name(),
            at + 1,
            cpu_percent(before, after, seconds),
            mib(after.resident_kib),
            mib(idle.resident_kib)
        );
    }
    if let (Some(redis), Some(before)) = (&place.redis, redis_before) {
        let after = place.redis_usage().expect("Redis runs");
        let list: String =
            redis::cmd("CLIENT").arg("LIST").query(&mut redis.connection()).expect("CLIENT LIST");
        // The one that asks is none of theirs.
        let connections = list.lines().count() - 1;
        println!(
            "waiters  redis: {connections} connections of 3 nodes, Redis {:.1} % of a core",
            cpu_percent(before, after, seconds)
        );
    }
    let begun = Instant::now();
    for at in 0..count {
        push(&place.client_from(0), &queue(at), vec![job(100)]).await;
    }
    let got: usize = waiting.await.expect("the consumers end").into_iter().sum();
    println!(
        "waiters  {}: {got} of {count} were given a job, {} ms after the first push",
        store.name(),
        begun.elapsed().as_millis()
    );
}

pub(crate) fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / 1024.0
}
