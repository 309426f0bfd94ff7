//! Clients that use the library as programs do: guards, and futures that are dropped on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsync::Client;
use dsync::lock::{Acquire, LockError, LockGuard, Mode, Session, SessionOptions};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

/// Locks that all workers share.
const LOCKS: u32 = 4;
/// Pause after a session could not be opened, or a request failed.
const AGAIN: Duration = Duration::from_millis(100);

/// Who is inside of what, as the holders see it, and the largest token each lock has shown.
#[derive(Debug, Default)]
pub struct Ledger {
    locks: Mutex<BTreeMap<String, Entry>>,
    /// Holds that were entered.
    pub entered: AtomicU64,
    /// Requests that were dropped before they were decided.
    pub dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Entry {
    largest: u64,
    inside: BTreeMap<u64, Inside>,
}

#[derive(Debug)]
struct Inside {
    exclusive: bool,
    session: Session,
}

impl Ledger {
    /// A holder begins. One whose session is lost holds nothing, whatever it was granted.
    ///
    /// # Panics
    /// When another one is inside, or the token is not larger than those of the holds before.
    fn enter(&self, session: &Session, guard: &LockGuard) {
        if !guard.is_valid() {
            return;
        }
        let (token, exclusive) = (guard.token().0, guard.mode() == Mode::Exclusive);
        let mut locks = self.locks.lock();
        let entry = locks.entry(guard.name().to_string()).or_default();
        entry.inside.retain(|_, other| other.session.is_valid());
        for (other, inside) in &entry.inside {
            let apart = !exclusive && !inside.exclusive;
            assert!(apart, "{} is held by token {other} and by token {token}", guard.name());
        }
        if exclusive {
            let largest = entry.largest;
            assert!(token > largest, "{}: token {token} after {largest}", guard.name());
        }
        entry.largest = entry.largest.max(token);
        entry.inside.insert(token, Inside { exclusive, session: session.clone() });
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// It is about to give the lock up.
    fn leave(&self, guard: &LockGuard) {
        if let Some(entry) = self.locks.lock().get_mut(guard.name().as_str()) {
            entry.inside.remove(&guard.token().0);
        }
    }
}

/// Works until `stop`. Gives the session back open, with nothing asked for any more: whatever it
/// still holds then was forgotten by the library.
pub async fn use_library(
    client: Client,
    ledger: Arc<Ledger>,
    number: u32,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> Option<Session> {
    let mut random = SmallRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut open: Option<Session> = None;
    let mut label = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let Some(session) = open.clone().filter(Session::is_valid) else {
            let options = SessionOptions::new(format!("library-{number}"));
            open = Session::open(&client, options).await.ok();
            sleep(if open.is_some() { Duration::ZERO } else { AGAIN }).await;
            continue;
        };
        let owner = format!("library-{number}/{label}");
        if !round(&session, &ledger, &owner, &mut random).await {
            label += 1;
        }
    }
    open
}

/// One request and what becomes of it. False when a grant is still being given up in the
/// background: the same owner would enter it again.
async fn round(session: &Session, ledger: &Ledger, owner: &str, random: &mut SmallRng) -> bool {
    let lock = |random: &mut SmallRng| format!("library-{}", random.random_range(0..LOCKS));
    let (one, two) = (lock(random), lock(random));
    let shared = random.random_bool(0.2);
    let how = if shared { Acquire::shared() } else { Acquire::exclusive() };
    let how = Acquire { owner: Some(owner.to_owned()), ..how };
    let patience = Duration::from_millis(random.random_range(0..40));
    let asked = match random.random_range(0..10) {
        // Given up on at some moment: before it is sent, while it waits, or just when granted.
        0..=4 => {
            let Ok(asked) = timeout(patience, session.acquire(&one, &how)).await else {
                ledger.dropped.fetch_add(1, Ordering::Relaxed);
                return true;
            };
            asked.map(|guard| vec![guard])
        }
        5 if one != two => {
            let wants = [(one.as_str(), how.mode), (two.as_str(), how.mode)];
            let Ok(asked) = timeout(4 * patience, session.acquire_many(&wants, &how)).await else {
                ledger.dropped.fetch_add(1, Ordering::Relaxed);
                return true;
            };
            asked
        }
        6 => session.try_acquire(&one, &how).await.map(|guard| guard.into_iter().collect()),
        _ => session.acquire(&one, &how).await.map(|guard| vec![guard]),
    };
    let mut free = true;
    match asked {
        Ok(guards) => {
            for guard in guards {
                free &= hold(session, ledger, guard, random).await;
            }
        }
        Err(LockError::SessionLost | LockError::Timeout | LockError::WouldBlock { .. }) => {}
        Err(LockError::Fault(fault)) if fault.retryable => sleep(AGAIN).await,
        Err(error) => panic!("{one}: {error}"),
    }
    free
}

/// Holds a lock for a moment and gives it up in one of the ways there are. True when it is known
/// to be free.
async fn hold(session: &Session, ledger: &Ledger, guard: LockGuard, random: &mut SmallRng) -> bool {
    ledger.enter(session, &guard);
    sleep(Duration::from_millis(random.random_range(0..8))).await;
    ledger.leave(&guard);
    match random.random_range(0..3) {
        0 => drop(guard),
        // Dropped on its way: it goes on in the background.
        1 => drop(timeout(Duration::from_millis(1), guard.release()).await),
        _ => match guard.release().await {
            Ok(()) => return true,
            Err(LockError::SessionLost | LockError::Fault(_)) => {}
            Err(error) => assert!(!session.is_valid(), "a release failed: {error}"),
        },
    }
    false
}
