//! Who wants to know when a grant is taken away.

use std::collections::HashMap;

use dsync_core::lock::{EventKind, Mode, Token};
use dsync_core::name::Name;
use tokio::sync::oneshot;

/// Senders by grant; dropped to wake those who wait.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    locks: HashMap<Name, HashMap<Token, Vec<oneshot::Sender<()>>>>,
}

impl Watchers {
    /// Wakes that one when something happens to the grant.
    pub(super) fn add(&mut self, lock: &Name, token: Token, watcher: oneshot::Sender<()>) {
        self.tidy(lock, token);
        self.locks.entry(lock.clone()).or_default().entry(token).or_default().push(watcher);
    }

    /// Forgets those who watched the grant and gave up.
    pub(super) fn tidy(&mut self, lock: &Name, token: Token) {
        self.edit(lock, |grants| {
            if let Some(watchers) = grants.get_mut(&token) {
                watchers.retain(|one| !one.is_closed());
                if watchers.is_empty() {
                    grants.remove(&token);
                }
            }
        });
    }

    /// Wakes whom an event concerns.
    pub(super) fn wake(&mut self, event: &EventKind) {
        match event {
            EventKind::Released { lock, token, .. } | EventKind::Revoke { lock, token, .. } => {
                self.edit(lock, |grants| drop(grants.remove(token)));
            }
            // An upgrade ends the token of the sharer without a word: this one holds alone.
            EventKind::Granted { grant, .. } if grant.mode == Mode::Exclusive => {
                self.edit(&grant.lock, |grants| grants.retain(|token, _| *token == grant.token));
            }
            EventKind::Granted { .. }
            | EventKind::SessionExpired { .. }
            | EventKind::Deadlock(_) => {}
        }
    }

    fn edit(
        &mut self,
        lock: &Name,
        change: impl FnOnce(&mut HashMap<Token, Vec<oneshot::Sender<()>>>),
    ) {
        if let Some(grants) = self.locks.get_mut(lock) {
            change(grants);
            if grants.is_empty() {
                self.locks.remove(lock);
            }
        }
    }

    /// Nobody watches anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }
}
