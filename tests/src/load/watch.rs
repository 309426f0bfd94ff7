//! Follows the cluster's own log of events and holds L1 against it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::EventKind;
use tokio::time::sleep;

use crate::history::rise_in_log_order;

/// Follows the events until `stop`; gives the number of grants seen.
///
/// # Panics
/// When a token is not larger than every one before it in the log.
pub async fn watch(client: Client, stop: Arc<AtomicBool>) -> usize {
    let mut tokens = Vec::new();
    let mut from_index = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = LockRequest::Events { from_index, wait_ms: 1_000 };
        let options = CallOptions { timeout: Duration::from_secs(3), ..CallOptions::default() };
        let answer = client.lock(request, options).await.and_then(|a| a.result);
        let Ok(LockReply::Events { items, next_index, .. }) = answer else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        from_index = next_index;
        for event in items {
            if let EventKind::Granted { grant, .. } = event.kind {
                tokens.push(grant.token.0);
            }
        }
    }
    if let Err(violation) = rise_in_log_order(tokens.iter().copied()) {
        panic!("{violation}");
    }
    tokens.len()
}
