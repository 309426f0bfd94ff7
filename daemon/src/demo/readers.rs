//! Readers share, writers do not, and nobody overtakes.

use std::time::Duration;

use dsync::lock::{Acquire, LockGuard, Session};
use tokio::task::JoinHandle;

use super::contend::token;
use super::{Broken, Stage, Story, peers};

const LOCK: &str = "config/main";
const TTL: Duration = Duration::from_secs(15);

pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("Readers share a lock, a writer has it alone, and nobody overtakes");
    let early = stage.session("reader-1", TTL).await?;
    let also = stage.session("reader-2", TTL).await?;
    let first = early.acquire(LOCK, &Acquire::shared()).await?;
    let second = also.acquire(LOCK, &Acquire::shared()).await?;
    let view = peers::lock_with_waiters(stage, LOCK, 0).await?;
    story.fact(
        format_args!("reader-1 and reader-2 share {LOCK}"),
        format_args!("{} holders", view.holders.len()),
    );
    if view.holders.len() != 2 {
        return Err(Broken::new("the two readers do not share it"));
    }

    let writer = wait_for(stage.session("writer", TTL).await?, Acquire::exclusive());
    peers::lock_with_waiters(stage, LOCK, 1).await?;
    let late = wait_for(stage.session("reader-3", TTL).await?, Acquire::shared());
    let view = peers::lock_with_waiters(stage, LOCK, 2).await?;
    let queue: Vec<String> =
        view.waiters.iter().map(|w| format!("{}. {}", w.position, w.owner)).collect();
    story.fact("a writer comes, then reader-3; both wait", queue.join("  "));

    first.release().await?;
    second.release().await?;
    let wrote = writer.await.map_err(|e| Broken::new(e.to_string()))??;
    let view = peers::lock_with_waiters(stage, LOCK, 1).await?;
    let still = view.waiters.first().map(|w| w.owner.to_string()).unwrap_or_default();
    story.fact(
        "both readers leave: the writer has it, alone",
        format_args!("{}; {still} waits on", token(wrote.token().0)),
    );
    let written = wrote.token();
    wrote.release().await?;
    let read = late.await.map_err(|e| Broken::new(e.to_string()))??;
    story.fact("the writer leaves: reader-3 has it", token(read.token().0));
    if view.holders.len() != 1 || still != "reader-3" || read.token() <= written {
        return Err(Broken::new("reader-3 overtook the writer"));
    }
    read.release().await?;
    Ok(())
}

type Waiting = JoinHandle<Result<LockGuard, dsync::lock::LockError>>;

fn wait_for(session: Session, how: Acquire) -> Waiting {
    tokio::spawn(async move { session.acquire(LOCK, &how).await })
}
