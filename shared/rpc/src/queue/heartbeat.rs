//! Keeps the lease of a job up in the background.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::queue::{Command, Receipt};
use tokio_util::sync::CancellationToken;

use super::call::How;
use super::error::QueueError;
use super::guard::{Held, LOOK};
use crate::dial::millis;

/// Runs until the guard is gone or the lease is lost.
pub(super) async fn run(held: Arc<Held>, late: bool, ended: CancellationToken) {
    tokio::select! {
        () = ended.cancelled() => {}
        () = keep(&held, late) => held.lose(),
    }
}

/// Ends when the lease is lost.
async fn keep(held: &Held, late: bool) {
    let mut pause = Duration::ZERO;
    // When a pop that waited was answered is not known: the first extension, which makes that
    // certain, comes early, though not before most jobs are done.
    let mut certain = !late;
    loop {
        let lease = held.lease();
        let due = if certain { lease.renew_at() } else { lease.confirmed + lease.ttl / 10 };
        let due = due.saturating_sub(held.now()).max(pause);
        tokio::time::sleep(due.min(LOOK)).await;
        if due > LOOK {
            continue;
        }
        match beat(held).await {
            Some(next) if next.is_zero() => (pause, certain) = (next, true),
            Some(next) => pause = next,
            None => return,
        }
    }
}

/// Extends the lease as it is. The pause before the next try; `None`: the lease is lost.
async fn beat(held: &Held) -> Option<Duration> {
    let receipt = &held.delivery.receipt;
    let (lease, left) = (held.lease(), held.time_left());
    if left.is_zero() {
        note(receipt, "it ran out before an extension was acknowledged", true);
        return None;
    }
    // The next try gets its share of the lease too.
    let how = How { timeout: lease.attempt().min(left), ..How::default() };
    match extend(held, lease.ttl, how).await {
        Ok(()) => Some(Duration::ZERO),
        Err(QueueError::Stale { .. }) => {
            note(receipt, "the node says so", true);
            None
        }
        Err(error) => {
            note(receipt, &error.to_string(), false);
            Some(lease.retry_after())
        }
    }
}

fn note(receipt: &Receipt, why: &str, lost: bool) {
    if lost {
        tracing::warn!(%receipt, why, "the lease of a job was lost");
    } else {
        tracing::debug!(%receipt, why, "a lease was not extended; trying on");
    }
}

/// Extends the lease once.
pub(super) async fn extend(held: &Held, lease: Duration, how: How) -> Result<(), QueueError> {
    let receipts = vec![held.delivery.receipt.clone()];
    let sent = held.now();
    let extended =
        held.settle(Command::Extend { receipts, lease_ms: millis(lease) }, how).await.map(drop);
    match &extended {
        Ok(()) => held.acknowledge(sent, lease),
        Err(QueueError::Stale { .. }) => held.lose(),
        Err(_) => {}
    }
    extended
}
