//! A queue that is far behind: what its jobs cost in memory and in speed.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep};

use super::load::{self, Load, job, name, push, quantile_ms};
use super::place::{Place, Store};

/// Bytes of a payload.
const BYTES: usize = 200;
/// Jobs of one push.
const PUSH: usize = 500;

/// Fills a queue with ready jobs, and compares work on it with work on an empty one.
pub(crate) async fn run(store: Store, jobs: usize, seconds: usize) {
    let place = Place::start(store).await;
    let full = name("full");
    // In turns, for the machine is not always the same.
    let mut rates = [Vec::new(), Vec::new()];
    rates[0].push(measure(&place, "an empty queue", "empty", seconds).await);
    let before = memory(&place);
    let begun = Instant::now();
    let clients: Vec<_> = (0..6).map(|at| place.client_from(at)).collect();
    let pushes = clients.iter().cycle().take(jobs / PUSH);
    let pushes = pushes.map(|client| push(client, &full, (0..PUSH).map(|_| job(BYTES)).collect()));
    futures::stream::iter(pushes).buffer_unordered(clients.len()).collect::<Vec<()>>().await;
    let took = begun.elapsed();
    let after = memory(&place);
    let count = f64::from(u32::try_from(jobs).expect("not so many"));
    for (what, before, after) in before.into_iter().zip(after).map(|((w, b), (_, a))| (w, b, a)) {
        let bytes =
            f64::from(u32::try_from(after.saturating_sub(before) / 1024).unwrap_or(u32::MAX));
        println!(
            "ready    {}: {jobs} jobs of {BYTES} bytes, {what}: {:.0} bytes per job",
            store.name(),
            bytes * 1024.0 / count
        );
    }
    println!("ready    {}: pushed by {PUSH} in {} ms", store.name(), took.as_millis());
    settle(&place).await;
    for _ in 0..2 {
        rates[1].push(measure(&place, "the full queue", "full", seconds).await);
        rates[0].push(measure(&place, "an empty queue", "empty", seconds).await);
    }
    let best = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    let [empty, full] = rates.map(|all| best(&all));
    println!(
        "ready    {}: full/empty {:.2} of the rate (best of each)",
        store.name(),
        full / empty
    );
}

async fn measure(place: &Place, what: &str, queue: &str, seconds: usize) -> f64 {
    let load = Load {
        queue: name(queue),
        clients: 64,
        connections: 64,
        batch: 1,
        bytes: BYTES,
        warm_up: Duration::from_millis(500),
        time: Duration::from_secs(u64::try_from(seconds).expect("not so many")),
    };
    let figures = load::run(place, &load).await;
    println!(
        "ready    {what}: clients=64 ops/s={:.0} p50={:.2}ms p99={:.2}ms ({} jobs)",
        figures.per_second,
        quantile_ms(&figures.times, 50),
        quantile_ms(&figures.times, 99),
        figures.jobs
    );
    figures.per_second
}

/// Bytes in use: what Redis says, and what is resident of each process.
fn memory(place: &Place) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    if place.redis.is_some() {
        all.push(("Redis used_memory".to_owned(), place.redis_info("used_memory")));
    }
    for (at, usage) in place.usage().into_iter().enumerate() {
        all.push((format!("node {} resident", at + 1), usage.resident_kib * 1024));
    }
    all
}

/// Redis rewrites its file after it has grown so much: that is not what is measured.
async fn settle(place: &Place) {
    sleep(Duration::from_secs(2)).await;
    while place.redis.is_some() && place.redis_info("aof_rewrite_in_progress") > 0 {
        sleep(Duration::from_millis(200)).await;
    }
}
