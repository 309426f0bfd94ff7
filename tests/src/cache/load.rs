//! Clients at work on few keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::{Changed, Got, Source};
use dsync_core::cache::op::{Action, Condition, Outcome};
use dsync_core::{Effect, Fault};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use super::hand::{Hand, set, set_if, text};
use super::journal::{Journal, Seen};

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Keys that are set.
    pub keys: u32,
    /// Keys that are counted up.
    pub counters: u32,
    /// Longest pause between two requests.
    pub pause_ms: u64,
    /// Of a hundred requests so many are reads, at most 95.
    pub reads: u32,
    /// Keys are deleted, too.
    pub deletes: bool,
}

/// What is shared by the clients of a run.
#[derive(Debug, Default)]
pub struct Work {
    /// What they saw.
    pub journal: Journal,
    /// They end.
    pub stop: AtomicBool,
    /// Reads that a node answered from its own memory.
    pub local: AtomicU64,
}

/// Works until it is told to stop: reads mostly, and writes of all kinds. Each request goes to one of
/// the hands.
pub async fn work(number: u32, seed: u64, mix: Mix, hands: Vec<Hand>, work: Arc<Work>) {
    let mut rng = StdRng::seed_from_u64(seed ^ u64::from(number));
    let client = format!("client-{number}");
    let mut serial = 0_u64;
    while !work.stop.load(Ordering::Relaxed) {
        let at = rng.random_range(0..hands.len());
        let hand = hands.get(at).expect("below the length");
        let which = rng.random_range(0..mix.keys + mix.counters);
        let counter = which >= mix.keys;
        let name = if counter { format!("counter-{which}") } else { format!("key-{which}") };
        let begun = work.journal.now();
        let kind = rng.random_range(0..100);
        let seen = if kind < mix.reads {
            read(hand, &name, &work).await.into_iter().collect()
        } else if counter {
            count(hand, &name).await.into_iter().collect()
        } else {
            serial += 1;
            let rest = 100 - mix.reads;
            let share = (kind - mix.reads) * 20 / rest;
            change(hand, &name, format!("{client}:{serial}"), (share, mix.deletes)).await
        };
        for seen in seen {
            work.journal.note(&client, &name, begun, seen);
        }
        let pause = rng.random_range(0..mix.pause_ms);
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn read(hand: &Hand, name: &str, work: &Work) -> Option<Seen> {
    let got = hand.got(name, None).await.ok()?;
    if matches!(got.from, Source::Shared | Source::Exclusive | Source::Modified) {
        work.local.fetch_add(1, Ordering::Relaxed);
    }
    Some(seen(&got))
}

/// What was read.
pub fn seen(got: &Got) -> Seen {
    match &got.value {
        Some(value) => Seen::Read(got.version, text(value)),
        None => Seen::Absent(got.version),
    }
}

/// One of twenty kinds of changes.
async fn change(
    hand: &Hand,
    name: &str,
    value: String,
    (share, deletes): (u32, bool),
) -> Vec<Seen> {
    let action = match share {
        0..=9 => set(&value),
        10 | 11 => set_if(&value, Condition::Present),
        12 | 13 => set_if(&value, Condition::Absent),
        14..=16 => {
            // As of what is there now: somebody may be quicker.
            let Ok(now) = hand.got(name, None).await else { return Vec::new() };
            set_if(&value, Condition::Version(now.version))
        }
        _ if deletes => return delete(hand, name).await.into_iter().collect(),
        _ => set(&value),
    };
    match hand.act(name, action).await {
        Ok(Changed { outcome: Outcome::Set, version }) => vec![Seen::Wrote(value, version)],
        Ok(Changed { outcome: Outcome::Unmet(now), version }) => {
            let had = now.map_or(Seen::Absent(version), Seen::Had);
            vec![Seen::Refused(value), had]
        }
        Ok(_) => vec![Seen::Refused(value)],
        Err(fault) if fault.effect == Effect::None => vec![Seen::Refused(value)],
        Err(_) => vec![Seen::Perhaps(value)],
    }
}

async fn delete(hand: &Hand, name: &str) -> Option<Seen> {
    match hand.act(name, Action::Delete { condition: Condition::Always }).await {
        Ok(Changed { outcome: Outcome::Deleted(true), version }) => Some(Seen::Deleted(version)),
        Ok(Changed { version, .. }) => Some(Seen::Absent(version)),
        Err(Fault { effect: Effect::None, .. }) => None,
        Err(_) => Some(Seen::PerhapsDeleted),
    }
}

async fn count(hand: &Hand, name: &str) -> Option<Seen> {
    match hand.act(name, Action::Increment { by: 1 }).await {
        Ok(Changed { outcome: Outcome::Number(sum), version }) => Some(Seen::Counted(sum, version)),
        Ok(other) => panic!("{other:?}"),
        Err(Fault { effect: Effect::None, .. }) => None,
        Err(_) => Some(Seen::PerhapsCounted),
    }
}
