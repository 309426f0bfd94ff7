//! What is left when all clients are gone.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync::{CallOptions, Client};
use dsync_core::lock::SessionId;
use tokio::time::{Instant, sleep};

/// Looks until nothing is held, waited for or open any more, at most `patience`; gives what is
/// still there then, in words.
pub async fn left(client: &Client, patience: Duration) -> Vec<String> {
    let deadline = Instant::now() + patience;
    loop {
        let found = look(client).await;
        let over = Instant::now() >= deadline;
        match found {
            Some(left) if left.is_empty() || over => return left,
            None if over => return vec!["nobody could tell what is left".to_owned()],
            _ => sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn look(client: &Client) -> Option<Vec<String>> {
    let ask = |request| async move {
        let options = CallOptions { timeout: Duration::from_secs(3), ..CallOptions::default() };
        client.lock(request, options).await.and_then(|a| a.result).ok()
    };
    let everything =
        LockRequest::List { prefix: String::new(), waiting: false, after: None, limit: 1_000 };
    let Some(LockReply::Locks { items, .. }) = ask(everything).await else { return None };
    let sessions = LockRequest::Sessions { after: SessionId(0), limit: 1_000 };
    let Some(LockReply::Sessions { items: sessions, .. }) = ask(sessions).await else {
        return None;
    };
    let mut found = Vec::new();
    for lock in items {
        let name = &lock.name;
        found.extend(lock.holders.iter().map(|h| format!("{} holds {name}", h.owner)));
        found.extend(lock.waiters.iter().map(|w| format!("{} waits for {name}", w.owner)));
        if lock.holders.is_empty() && lock.waiters.is_empty() {
            found.push(format!("{name} is free, and still there"));
        }
    }
    found.extend(sessions.iter().map(|s| format!("session {} is open", s.session.0)));
    Some(found)
}
