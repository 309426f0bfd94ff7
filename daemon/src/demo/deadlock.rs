//! Two owners who would wait for each other for ever.

use std::time::Duration;

use dsync::lock::{Acquire, LockError};
use tokio::time::Instant;

use super::contend::token;
use super::story::since;
use super::{Broken, Stage, Story, peers};

const FIRST: &str = "account/1";
const SECOND: &str = "account/2";
const TTL: Duration = Duration::from_secs(15);

pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("A deadlock is refused, and says why");
    let (alice, bob) = (stage.session("alice", TTL).await?, stage.session("bob", TTL).await?);
    let how = Acquire::exclusive();
    let of_alice = alice.acquire(FIRST, &how).await?;
    let of_bob = bob.acquire(SECOND, &how).await?;
    story.say(format_args!("alice holds {FIRST}, bob holds {SECOND}"));
    let waiting = tokio::spawn({
        let (alice, how) = (alice.clone(), how.clone());
        async move { alice.acquire(SECOND, &how).await }
    });
    peers::lock_with_waiters(stage, SECOND, 1).await?;
    story.say(format_args!("alice waits for {SECOND}"));

    let begun = Instant::now();
    let refused = bob.acquire(FIRST, &how).await;
    let Err(LockError::Deadlock(cycle)) = refused else {
        return Err(Broken::new(format!("bob was not refused: {refused:?}")));
    };
    story.fact(format_args!("bob asks for {FIRST}"), format_args!("refused in {}:", since(begun)));
    for step in &cycle {
        let (waiter, lock, holder) = (&step.waiter, &step.lock, &step.holder);
        story.say(format_args!("    {waiter} waits for {lock}, which {holder} holds"));
    }
    if cycle.len() != 2 {
        return Err(Broken::new(format!("the cycle has {} steps, not 2", cycle.len())));
    }
    of_bob.release().await?;
    let granted = waiting.await.map_err(|e| Broken::new(e.to_string()))??;
    story.fact(
        format_args!("bob gives up {SECOND}: alice has both"),
        format_args!("tokens {} and {}", of_alice.token().0, granted.token().0),
    );
    if granted.token() <= of_alice.token() {
        return Err(Broken::new(format!("{} came after it", token(of_alice.token().0))));
    }
    alice.close().await?;
    bob.close().await?;
    Ok(())
}
