//! Two owners, one lock.

use std::time::Duration;

use dsync::lock::{Acquire, LockError};
use tokio::time::Instant;

use super::story::since;
use super::{Broken, Stage, Story, peers};

const LOCK: &str = "deploy/prod";
const TTL: Duration = Duration::from_secs(15);

pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("Two owners want one lock");
    let (alice, bob) = (stage.session("alice", TTL).await?, stage.session("bob", TTL).await?);
    let begun = Instant::now();
    let held = alice.acquire(LOCK, &Acquire::exclusive()).await?;
    let first = held.token();
    story.fact(format_args!("alice takes {LOCK}, in {}", since(begun)), token(first.0));

    let refused = bob.acquire(LOCK, &Acquire::exclusive().wait(Duration::ZERO)).await;
    let Err(LockError::WouldBlock { holders, .. }) = refused else {
        return Err(Broken::new(format!("bob got what alice holds: {refused:?}")));
    };
    let holder = holders.first().map(|h| h.owner.to_string()).unwrap_or_default();
    story.fact("bob asks and will not wait", format_args!("refused: {holder} holds it"));

    let waiting = tokio::spawn(async move {
        let granted = bob.acquire(LOCK, &Acquire::exclusive()).await;
        (granted, Instant::now(), bob)
    });
    let view = peers::lock_with_waiters(stage, LOCK, 1).await?;
    let place = view.waiters.first().map(|w| format!("{} is number {}", w.owner, w.position));
    story.fact("bob asks again and waits", place.unwrap_or_default());

    let released = Instant::now();
    held.release().await?;
    let (granted, at, bob) = waiting.await.map_err(|e| Broken::new(e.to_string()))?;
    let granted = granted?;
    let took = at.saturating_duration_since(released).as_micros();
    story.fact(
        format_args!(
            "alice releases it; {}.{} ms later bob has it",
            took / 1_000,
            took % 1_000 / 100
        ),
        token(granted.token().0),
    );
    if granted.token() <= first {
        return Err(Broken::new("the second token is not the larger one"));
    }
    granted.release().await?;
    alice.close().await?;
    bob.close().await?;
    Ok(())
}

/// A fencing token, for people.
pub(super) fn token(number: u64) -> String {
    format!("fencing token {number}")
}
