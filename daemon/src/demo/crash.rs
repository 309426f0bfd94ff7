//! The leader dies; later it comes back.

use std::time::Duration;

use dsync::api::RaftStatus;
use dsync::lock::{Acquire, LockError, LockGuard, Session};
use tokio::time::{Instant, sleep};

use super::contend::token;
use super::story::since;
use super::{Broken, Stage, Story};

const LOCK: &str = "db/migrate";
const TTL: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What was left behind by the kill.
pub(super) struct Killed {
    number: usize,
    name: String,
    holder: Session,
    held: LockGuard,
}

pub(super) async fn kill(stage: &mut Stage, story: &mut Story) -> Result<Killed, Broken> {
    story.step("The leader is killed, and the lock survives");
    let holder = stage.session("carol", TTL).await?;
    let held = holder.acquire(LOCK, &Acquire::exclusive()).await?;
    story.fact(format_args!("carol takes {LOCK}"), token(held.token().0));
    let before = stage.cluster.leader().await?;
    let number = stage.cluster.number(&before.node)?;

    let begun = Instant::now();
    stage.cluster.kill(number).await?;
    story.say(format_args!(
        "{}, the leader of term {}, is dead: its tasks ended where they stood",
        before.node, before.term
    ));
    let found = holder.validate(LOCK, held.token()).await?;
    let answered = since(begun);
    let after = stage.cluster.leader().await?;
    story.fact(
        format_args!("{} leads, in term {}", after.node, after.term),
        format_args!("{answered} after the kill"),
    );
    let Some(found) = found else { return Err(Broken::new("carol lost her lock with the leader")) };
    story.fact(
        format_args!("{} knows that {} holds {LOCK}", after.node, found.owner),
        format_args!("the same {}", token(found.token.0)),
    );
    let refused = stage
        .session("mallory", TTL)
        .await?
        .acquire(LOCK, &Acquire::exclusive().wait(Duration::ZERO))
        .await;
    let Err(LockError::WouldBlock { .. }) = &refused else {
        return Err(Broken::new(format!("carol's lock was given away: {refused:?}")));
    };
    story.fact(
        "mallory tries to take it",
        refused.err().map(|error| error.to_string()).unwrap_or_default(),
    );
    if after.node == before.node || after.term <= before.term || !held.is_valid() {
        return Err(Broken::new("no other node took over, or carol's lease was cut short"));
    }
    Ok(Killed { number, name: before.node, holder, held })
}

pub(super) async fn restart(
    stage: &mut Stage,
    story: &mut Story,
    killed: Killed,
) -> Result<(), Broken> {
    story.step("The killed node comes back");
    let begun = Instant::now();
    let Killed { number, name, holder, held } = killed;
    let start = stage.cluster.start_node(number).await;
    start.map_err(|error| Broken::new(error.what))?;
    story.fact(format_args!("{name} starts on the files that it left"), since(begun));
    let leader = stage.cluster.leader().await?;
    let back = caught_up(stage, number, leader.committed).await?;
    story.fact(
        format_args!("it follows {}", back.leader.clone().unwrap_or_default()),
        format_args!("all {} entries applied, {} after the start", back.applied, since(begun)),
    );
    let found = holder.validate(LOCK, held.token()).await?;
    let Some(found) = found else { return Err(Broken::new("carol lost her lock")) };
    story.fact(format_args!("{} still holds {LOCK}", found.owner), token(found.token.0));
    held.release().await?;
    holder.close().await?;
    Ok(())
}

/// Waits until a follower has applied that index.
async fn caught_up(stage: &Stage, number: usize, index: u64) -> Result<RaftStatus, Broken> {
    loop {
        let said = stage.cluster.statuses().await.into_iter().nth(number);
        if let Some(Ok(status)) = said
            && status.state == "follower"
            && status.leader.is_some()
            && status.applied >= index
        {
            return Ok(status);
        }
        sleep(LOOK).await;
    }
}
