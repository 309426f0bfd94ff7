//! Keeps a log short by its bytes: openraft counts entries alone, and a thousand entries may be a
//! megabyte or a gigabyte.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::machine::Machine;

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What a log needs that has grown too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A snapshot of what was applied.
    Snapshot,
    /// Removal of what the newest snapshot covers, up to that index.
    Purge(u64),
}

/// What to do about a log of so many bytes: first the snapshot, then the removal of what it covers.
/// A follower that is behind that is sent the snapshot.
fn decide(
    bytes: usize,
    limit: usize,
    (purged, snapshot, applied): (u64, u64, u64),
) -> Option<Step> {
    if bytes <= limit {
        return None;
    }
    // Most of the log is covered already: what is left is removed first.
    if snapshot > purged && applied.saturating_sub(snapshot) <= snapshot - purged {
        return Some(Step::Purge(snapshot));
    }
    (applied > snapshot).then_some(Step::Snapshot)
}

/// Watches the log of an engine, which may take so many bytes of memory, until `stop`.
pub async fn keep_short<M: Machine>(engine: Engine<M>, limit: usize, stop: CancellationToken) {
    let watching = async {
        loop {
            tokio::time::sleep(EVERY).await;
            let log = engine.log().status();
            let (snapshot, applied) = engine.covered();
            let places = (log.purged.map_or(0, |id| id.index()), snapshot, applied);
            let Some(step) = decide(log.memory_bytes, limit, places) else { continue };
            tracing::debug!(bytes = log.memory_bytes, ?step, "the log is long");
            let trigger = engine.raft().trigger();
            let done = match step {
                Step::Snapshot => trigger.snapshot().await,
                Step::Purge(upto) => trigger.purge_log(upto).await,
            };
            // The engine has stopped, and says why.
            if done.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(watching).await.unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_is_covered_and_then_removed() {
        assert_eq!(decide(10, 10, (0, 0, 100)), None, "short enough");
        assert_eq!(decide(11, 10, (0, 0, 100)), Some(Step::Snapshot));
        assert_eq!(decide(11, 10, (0, 100, 100)), Some(Step::Purge(100)));
        assert_eq!(decide(11, 10, (0, 100, 120)), Some(Step::Purge(100)), "most is covered");
        assert_eq!(decide(11, 10, (100, 100, 300)), Some(Step::Snapshot));
        assert_eq!(decide(11, 10, (90, 100, 300)), Some(Step::Snapshot), "little is covered");
        assert_eq!(decide(11, 10, (100, 100, 100)), None, "nothing can be done");
    }
}
