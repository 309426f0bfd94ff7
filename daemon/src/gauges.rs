//! Keeps metrics and readiness up to date with Raft and the lock state.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::node::{NodeService, RunningRole};
use crate::raft::Leadership;
use crate::telemetry::{Plane, RaftState};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Follows a node until it stops.
pub async fn watch(
    service: NodeService,
    mut leadership: watch::Receiver<Leadership>,
    stop: CancellationToken,
) {
    let mut leader = None;
    while !stop.is_cancelled() {
        let now = leadership.borrow_and_update().clone();
        let id = now.leader.as_ref().map(|(id, _)| *id);
        if id.is_some() && id != leader {
            service.parts().telemetry.metrics.raft_leader_changes.inc();
            leader = id;
        }
        refresh(&service, &now).await;
        tokio::select! {
            _ = leadership.changed() => {}
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn refresh(service: &NodeService, now: &Leadership) {
    let parts = service.parts();
    let metrics = &parts.telemetry.metrics;
    let connections = parts.counters.read();
    metrics.open_connections(Plane::Client, connections.clients);
    metrics.open_connections(Plane::Peer, connections.peers);
    let refused = connections.refused + connections.foreign + connections.evicted;
    metrics.refused_connections.inc_by(refused.saturating_sub(metrics.refused_connections.get()));
    let mut takes_writes = true;
    if let RunningRole::Queue(role) = &parts.role {
        takes_writes = role.takes_writes();
        metrics.consumers.set(u64::try_from(role.waiters()).unwrap_or(u64::MAX));
    }
    let mut has_lease = true;
    if let RunningRole::Cache(role) = &parts.role {
        has_lease = role.has_lease();
        role.show(&metrics.cache);
    }
    let initialized = parts.raft.initialized().await;
    let raft = parts.raft.figures(initialized);
    metrics.raft_term.set(raft.term);
    metrics.raft_committed.set(raft.committed);
    metrics.raft_applied.set(raft.applied);
    metrics.raft_state(raft.state);
    let on_redis = raft.state == RaftState::None;
    let redis_up = on_redis && parts.raft.has_leader();
    metrics.redis_up.set(u64::from(redis_up));
    metrics.redis_takes_writes.set(u64::from(redis_up && takes_writes));
    let readiness = &parts.telemetry.readiness;
    let waiting = parts.raft.waiting_for();
    if stopping(service) {
        return;
    }
    match (&now.stopped, initialized, parts.raft.has_leader()) {
        (Some(why), _, _) => readiness.set_not_ready(format!("raft has stopped: {why}")),
        (None, false, _) => readiness.set_not_ready(format!("forming: {waiting}")),
        (None, true, false) if raft.state == RaftState::None => readiness.set_not_ready(waiting),
        (None, true, false) => readiness.set_not_ready("no leader that a quorum follows"),
        (None, true, true) if !has_lease => {
            readiness.set_not_ready("this node takes no part in the cache: it has no lease");
        }
        (None, true, true) => readiness.set_ready(),
    }
}

/// A node that is stopping has said so itself.
fn stopping(service: &NodeService) -> bool {
    let reason = service.parts().telemetry.readiness.reason();
    reason.is_some_and(|why| why.contains("stopping"))
}
