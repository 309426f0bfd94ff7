//! How many jobs go through in a second.

use std::time::Duration;

use super::load::{self, Load, name, quantile_ms};
use super::place::{Place, Store, cpu_percent};

/// Measures cycles of push, pop and ack.
pub(crate) async fn run(
    store: Store,
    (clients, connections): (usize, usize),
    seconds: usize,
    batch: usize,
) {
    let place = Place::start(store).await;
    let time = Duration::from_secs(u64::try_from(seconds).expect("not so many"));
    let warm_up = Duration::from_millis(700);
    let queue = name("bench");
    let load = Load { queue, clients, connections, batch, bytes: 100, warm_up, time };
    let (before, redis_before) = (place.usage(), place.redis_usage());
    let figures = load::run(&place, &load).await;
    let all = (warm_up + time).as_secs_f64();
    let nodes = before.into_iter().zip(place.usage()).map(|(b, a)| cpu_percent(b, a, all));
    let nodes: Vec<String> = nodes.map(|percent| format!("{percent:.0}")).collect();
    let redis = redis_before.zip(place.redis_usage()).map(|(b, a)| cpu_percent(b, a, all));
    println!(
        "dsync-{} clients={clients} connections={connections} batch={batch} ops/s={:.0} p50={:.2}ms p99={:.2}ms cpu={}%{}",
        store.name(),
        figures.per_second,
        quantile_ms(&figures.times, 50),
        quantile_ms(&figures.times, 99),
        nodes.join("+"),
        redis.map(|percent| format!(" redis={percent:.0}%")).unwrap_or_default(),
    );
}
