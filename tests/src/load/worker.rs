//! A client that takes and gives back locks until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::session::{Session, Way};
use crate::history::SharedHistory;

/// What a worker does.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Number of locks that all workers share.
    pub locks: u32,
    /// Lease.
    pub ttl_ms: u64,
    /// Longest hold.
    pub hold_ms: u64,
    /// Chance that an acquire is shared.
    pub shared: f64,
    /// Chance that an acquire does not wait.
    pub impatient: f64,
    /// Chance that a holder dies instead of releasing.
    pub dies: f64,
    /// Longest pause between two rounds.
    pub pause_ms: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            locks: 12,
            ttl_ms: 4_000,
            hold_ms: 20,
            shared: 0.2,
            impatient: 0.2,
            dies: 0.01,
            pause_ms: 10,
        }
    }
}

/// Works until `stop`; a session that is of no more use is followed by a new one.
pub async fn work(
    client: Client,
    recorder: SharedHistory,
    number: u32,
    seed: u64,
    mix: Mix,
    stop: Arc<AtomicBool>,
) {
    let mut random = SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    while !stop.load(Ordering::Relaxed) {
        let opened = Session::open(
            client.clone(),
            Arc::clone(&recorder),
            number,
            mix.ttl_ms,
            random.random(),
        );
        let Some(session) = opened.await else { continue };
        let mut useful = true;
        while useful && !session.is_over() && !stop.load(Ordering::Relaxed) {
            useful = round(&session, &mut random, mix).await.is_ok();
            sleep(Duration::from_millis(random.random_range(0..=mix.pause_ms))).await;
        }
        if useful && !session.is_over() { session.close().await } else { session.die() }
    }
}

/// One acquire, some guarded writes, one release; now and then a look at who holds.
async fn round(session: &Session, random: &mut SmallRng, mix: Mix) -> Result<(), ()> {
    let lock = format!("lock-{}", random.random_range(0..mix.locks));
    if random.random_bool(0.2) {
        session.get(&lock).await;
    }
    let way = Way {
        exclusive: !random.random_bool(mix.shared),
        wait_ms: if random.random_bool(mix.impatient) { 0 } else { 30_000 },
    };
    let Some(held) = session.acquire(&lock, way).await? else { return Ok(()) };
    for _ in 0..2 {
        if way.exclusive {
            session.write(&held);
        }
        sleep(Duration::from_millis(random.random_range(0..=mix.hold_ms) / 2)).await;
    }
    if random.random_bool(mix.dies) { Err(()) } else { session.release(&held).await }
}
