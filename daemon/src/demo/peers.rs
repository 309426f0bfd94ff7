//! How the cluster stands, and how a lock does.

use std::time::Duration;

use dsync::CallOptions;
use dsync::api::{LockReply, LockRequest, RaftStatus};
use dsync_core::lock::LockView;
use dsync_core::name::Name;
use tokio::time::sleep;

use super::{Broken, Stage, Story};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Every node with its figures, and whether all have computed the same state.
pub(super) async fn show(stage: &Stage, story: &mut Story) -> Result<(), Broken> {
    story.step("How the cluster stands");
    let all = same_index(stage).await?;
    story.say(format_args!(
        "{:<12} {:<16} {:<9} {:>4} {:>6} {:>9} {:>7}  STATE HASH",
        "NODE", "ADDRESS", "STATE", "TERM", "LOG", "COMMITTED", "APPLIED"
    ));
    for one in &all {
        story.say(format_args!(
            "{:<12} {:<16} {:<9} {:>4} {:>6} {:>9} {:>7}  {:016x}",
            one.node,
            one.address,
            one.state,
            one.term,
            one.last_log_index,
            one.committed,
            one.applied,
            one.state_hash
        ));
    }
    let leaders = all.iter().filter(|one| one.state == "leader").count();
    let hashes: Vec<u64> = all.iter().map(|one| one.state_hash).collect();
    if leaders != 1 || hashes.windows(2).any(|pair| pair.first() != pair.last()) {
        return Err(Broken::new("the nodes do not agree"));
    }
    story.say("One leader, and the same state on every node.");
    Ok(())
}

/// All statuses, once every node has applied the same entries.
async fn same_index(stage: &Stage) -> Result<Vec<RaftStatus>, Broken> {
    loop {
        let all: Result<Vec<_>, _> = stage.cluster.statuses().await.into_iter().collect();
        if let Ok(all) = all {
            let first = all.first().map(|one| one.applied);
            if all.iter().all(|one| Some(one.applied) == first) {
                return Ok(all);
            }
        }
        sleep(LOOK).await;
    }
}

/// The lock, once that many wait for it.
pub(super) async fn lock_with_waiters(
    stage: &Stage,
    lock: &str,
    waiters: usize,
) -> Result<LockView, Broken> {
    let name = Name::parse("lock", lock)?;
    loop {
        let request = LockRequest::Get { lock: name.clone() };
        let reply = stage.client.lock(request, CallOptions::default()).await?.result?;
        if let LockReply::Lock(Some(view)) = reply
            && view.waiters.len() == waiters
        {
            return Ok(view);
        }
        sleep(LOOK).await;
    }
}
