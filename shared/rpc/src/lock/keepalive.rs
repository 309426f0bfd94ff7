//! Keeps a session alive in the background.

use std::sync::Weak;
use std::time::Duration;

use dsync_core::Code;
use dsync_core::lock::SessionId;

use super::inner::{Inner, LOOK};
use crate::api::{LockReply, LockRequest};
use crate::client::CallOptions;

/// Runs as long as someone has a handle on the session and it is not over.
pub(super) async fn keep_alive(session: Weak<Inner>) {
    let mut pause = Duration::ZERO;
    loop {
        let Some(inner) = session.upgrade() else { return };
        let due = inner.lease().renew_at().saturating_sub(inner.now()).max(pause);
        let over = inner.over();
        drop(inner);
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(due.min(LOOK)) => {}
        }
        if due > LOOK {
            continue;
        }
        match renew(&session).await {
            Some(next) => pause = next,
            None => return,
        }
    }
}

/// Sends one keep-alive. The pause before the next try; `None`: the session is over.
///
/// Nothing here holds the session while it waits, so that dropping the last handle ends it.
async fn renew(session: &Weak<Inner>) -> Option<Duration> {
    let inner = session.upgrade()?;
    let (client, id, left) = (inner.client.clone(), inner.id, inner.time_left());
    if left.is_zero() {
        inner.end();
        note(id, "its lease ran out before a keep-alive was acknowledged", true);
        return None;
    }
    // The next try gets its share of the lease too.
    let options =
        CallOptions { timeout: inner.lease().attempt().min(left), ..CallOptions::default() };
    let sent = inner.now();
    drop(inner);
    let answer = client.lock(LockRequest::KeepAlive { session: id }, options).await;
    let inner = session.upgrade()?;
    let failed = match answer.and_then(|answer| answer.result) {
        Ok(LockReply::KeptAlive { expires_in_ms }) => {
            inner.acknowledge(sent, Duration::from_millis(expires_in_ms));
            return Some(Duration::ZERO);
        }
        Ok(other) => format!("a reply out of place: {other:?}"),
        Err(fault) if matches!(fault.code, Code::SessionExpired | Code::NotFound) => {
            inner.end();
            note(id, &fault.message, true);
            return None;
        }
        Err(fault) => fault.message,
    };
    note(id, &failed, false);
    Some(inner.lease().retry_after())
}

fn note(session: SessionId, why: &str, over: bool) {
    if over {
        tracing::warn!(session = session.0, why, "the session is over");
    } else {
        tracing::debug!(session = session.0, why, "a keep-alive failed; trying on");
    }
}
