//! A client that takes and gives back locks until it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync::Client;
use dsync_core::lock::Mode;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::locks::Useless;
use super::mix::Mix;
use super::session::Session;
use crate::history::{Granted, SharedHistory};

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

/// One round under one owner label: some locks, some use of them, and all given back; now and then
/// a look at who holds.
async fn round(session: &Session, random: &mut SmallRng, mix: Mix) -> Result<(), Useless> {
    if random.random_bool(0.2) {
        session.get(&mix.any_lock(random)).await;
    }
    let owner = session.new_owner();
    let wants = mix.wants(random);
    let way = mix.way(random);
    let Some(mut held) = session.acquire(&owner, &wants, way).await? else { return Ok(()) };
    use_them(session, random, mix, &held).await;
    if random.random_bool(mix.reenter) {
        enter_again(session, &owner, random, mix, &mut held).await?;
    }
    if random.random_bool(mix.nested)
        && let Some(want) = mix.another(random, |lock| held.iter().any(|h| h.lock == lock))
    {
        let more = session.acquire(&owner, &[want], mix.way(random)).await?;
        held.extend(more.into_iter().flatten());
    }
    if random.random_bool(mix.convert) {
        convert(session, &owner, random, mix, &mut held).await?;
    }
    use_them(session, random, mix, &held).await;
    if random.random_bool(mix.dies) {
        return Err(Useless);
    }
    while !held.is_empty() {
        let mut grant = held.swap_remove(random.random_range(0..held.len()));
        // One level after the other, or all at once.
        let all = random.random_bool(0.7);
        grant.count = session.release(&owner, &grant, all).await?;
        if grant.count > 0 {
            held.push(grant);
        }
    }
    Ok(())
}

/// Some writes to what is held alone.
async fn use_them(session: &Session, random: &mut SmallRng, mix: Mix, held: &[Granted]) {
    for grant in held.iter().filter(|grant| grant.mode == Mode::Exclusive) {
        session.write(grant);
    }
    sleep(Duration::from_millis(random.random_range(0..=mix.hold_ms) / 2)).await;
}

async fn enter_again(
    session: &Session,
    owner: &str,
    random: &mut SmallRng,
    mix: Mix,
    held: &mut [Granted],
) -> Result<(), Useless> {
    let at = random.random_range(0..held.len());
    let Some(grant) = held.get_mut(at) else { return Ok(()) };
    let want = (grant.lock.clone(), grant.mode);
    let again = session.acquire(owner, &[want], mix.way(random)).await?;
    if let Some(again) = again.and_then(|grants| grants.into_iter().next()) {
        *grant = again;
    }
    Ok(())
}

/// Down if it is held alone, up if it is shared; permits stay as they are.
async fn convert(
    session: &Session,
    owner: &str,
    random: &mut SmallRng,
    mix: Mix,
    held: &mut [Granted],
) -> Result<(), Useless> {
    let at = random.random_range(0..held.len());
    let Some(grant) = held.get_mut(at) else { return Ok(()) };
    let to = match grant.mode {
        Mode::Exclusive => Mode::Shared,
        Mode::Shared => Mode::Exclusive,
        Mode::Permits { .. } => return Ok(()),
    };
    if let Some(converted) = session.convert(owner, grant, to, mix.way(random)).await? {
        *grant = converted;
    }
    Ok(())
}
