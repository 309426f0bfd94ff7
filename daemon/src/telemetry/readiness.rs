//! Whether the node serves requests, and why not.

use tokio::sync::watch;

/// A shared answer to "do you serve?", cheap to clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Why not; `None` when it does.
    reason: watch::Sender<Option<String>>,
}

impl Readiness {
    /// Not ready, for that reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: watch::Sender::new(Some(reason.into())) }
    }

    /// The node serves.
    pub fn set_ready(&self) {
        self.set(None);
    }

    /// The node does not serve, for that reason.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.set(Some(reason.into()));
    }

    /// Why the node does not serve; `None` when it does.
    pub fn reason(&self) -> Option<String> {
        self.reason.borrow().clone()
    }

    /// Sees every change from now on.
    pub fn subscribe(&self) -> watch::Receiver<Option<String>> {
        self.reason.subscribe()
    }

    fn set(&self, reason: Option<String>) {
        self.reason.send_if_modified(|old| {
            let changed = *old != reason;
            *old = reason;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_hears_of_changes_only() {
        let readiness = Readiness::new("starting");
        let mut seen = readiness.subscribe();
        assert_eq!(readiness.reason().as_deref(), Some("starting"));
        readiness.set_not_ready("starting");
        assert!(!seen.has_changed().unwrap());
        readiness.set_ready();
        assert!(seen.has_changed().unwrap());
        assert_eq!(seen.borrow_and_update().as_deref(), None);
        readiness.set_not_ready("no leader");
        assert_eq!(readiness.reason().as_deref(), Some("no leader"));
    }
}
