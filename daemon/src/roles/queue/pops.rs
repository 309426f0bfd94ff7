//! Pops on their way to the store: each in a task of its own, so that a consumer that goes away
//! in the middle leaves nothing behind. What nobody is left to receive is given back at once,
//! uncounted.

use std::collections::HashMap;
use std::sync::Arc;

use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::{Command, Outcome, Popped};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// Where commands are carried out.
pub(super) trait Store: Clone + Send + Sync + 'static {
    /// Carries a command out.
    fn submit(
        &self,
        queue: Name,
        command: Command,
    ) -> impl Future<Output = Result<Outcome, Fault>> + Send;

    /// Who carries them out, for an error text.
    fn name(&self) -> String;
}

type Given = Result<Popped, Fault>;

/// The pops on their way, by request: a repetition waits for the first one's answer, which is its
/// own too.
#[derive(Debug, Clone, Default)]
pub(super) struct Pops {
    running: Arc<Mutex<HashMap<u128, Vec<oneshot::Sender<Given>>>>>,
}

/// A pop as the wire has it.
#[derive(Debug, Clone)]
pub(super) struct Pop {
    pub(super) queue: Name,
    pub(super) request: u128,
    pub(super) command: Command,
}

impl Pops {
    /// Takes jobs.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Dropping the future gives back what the pop takes, unless it acknowledges at once.
    pub(super) async fn take<S: Store>(&self, store: &S, pop: Pop) -> Given {
        let (sender, receiver) = oneshot::channel();
        let first = {
            let mut running = self.running.lock();
            let asking = running.entry(pop.request).or_default();
            asking.push(sender);
            asking.len() == 1
        };
        if first {
            let (pops, store) = (self.clone(), store.clone());
            tokio::spawn(async move { pops.run(store, pop).await }.in_current_span());
        }
        receiver.await.unwrap_or_else(|_| Err(Fault::unknown("the pop was abandoned")))
    }

    async fn run<S: Store>(&self, store: S, pop: Pop) {
        // If the store panics, those who wait must not wait for ever.
        let asking = Asking { pops: self, request: pop.request };
        let given = match store.submit(pop.queue.clone(), pop.command).await {
            Ok(Outcome::Popped(popped)) => Ok(popped),
            Ok(other) => Err(super::not_done(other)),
            Err(fault) => Err(fault),
        };
        let mut received = false;
        for sender in asking.end() {
            received |= sender.send(given.clone()).is_ok();
        }
        let taken = given.is_ok_and(|popped| !popped.jobs.is_empty());
        if received || !taken {
            return;
        }
        tracing::debug!(queue = %pop.queue, "given back: nobody is there");
        // If that fails, the lease ends by itself.
        drop(store.submit(pop.queue, Command::GiveBack { request: pop.request }).await);
    }
}

/// Those who wait for one pop; whatever happens to it, they are let go.
struct Asking<'a> {
    pops: &'a Pops,
    request: u128,
}

impl Asking<'_> {
    fn end(&self) -> Vec<oneshot::Sender<Given>> {
        self.pops.running.lock().remove(&self.request).unwrap_or_default()
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        drop(self.end());
    }
}
