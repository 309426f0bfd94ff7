//! Keeps the lease of a job up in the background.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::queue::Command;
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
        let left = held.time_left();
        if left.is_zero() {
            tracing::warn!(receipt = %held.delivery.receipt, "the lease ran out");
            return;
        }
        // The next try gets its share of the lease too.
        let how = How { timeout: lease.attempt().min(left), ..How::default() };
        match extend(held, lease.ttl, how).await {
            Ok(()) => (pause, certain) = (Duration::ZERO, true),
            Err(QueueError::Stale { receipt }) => {
                tracing::warn!(%receipt, "the lease was lost");
                return;
            }
            Err(error) => {
                tracing::debug!(receipt = %held.delivery.receipt, %error, "not extended; trying on");
                pause = lease.retry_after();
            }
        }
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
