//! What other nodes ask of this one.

use std::time::Duration;

use dsync::peer::{CacheAnswer, CacheCall, CacheFrom};
use dsync_core::cache::view::View;
use dsync_core::{Code, Fault};
use tokio::time::Instant;

use super::errands::Cache;
use super::memory::Memory;

/// Longest time that a node has for changing to another view.
const ADOPT: Duration = Duration::from_secs(1);

impl Cache {
    /// Answers another node.
    ///
    /// # Errors
    /// `WrongCluster`: it has another store. `Unavailable`: it means another run of this node.
    pub(super) async fn asked(
        &self,
        from: CacheFrom,
        call: CacheCall,
        until: Instant,
    ) -> Result<CacheAnswer, Fault> {
        let shared = &*self.shared;
        if shared.peers.store().is_some_and(|mine| mine != from.store) {
            let text = format!("{} keeps its keys elsewhere than {}", from.node, shared.me.node);
            return Err(Fault::new(Code::WrongCluster, text)
                .hint("all cache nodes must have the same STORE and the same Redis"));
        }
        if from.to != 0 && from.to != shared.me.incarnation {
            let text = format!("{} was started anew: that run of it is over", shared.me.node);
            return Err(Fault::unavailable(text));
        }
        let node = &from.node;
        Ok(match call {
            CacheCall::Memory(ask) => match &shared.memory {
                Memory::Raft(memory) => CacheAnswer::Memory(memory.serve(ask, until).await?),
                Memory::Redis(_) => {
                    return Err(Fault::new(Code::WrongRole, "the memory of this node is Redis"));
                }
            },
            CacheCall::Prepare(view) => CacheAnswer::View(self.prepared(view).await),
            CacheCall::Open { epoch, number } => {
                self.open_here(node, (from.incarnation, number), epoch)
            }
            CacheCall::Renew { session, evicted } => self.renew_here(node, session, &evicted),
            CacheCall::Line { session, key, right } => {
                self.line_here(node, session, &key, right).await
            }
            CacheCall::Execute { epoch, key, op } => {
                let view = View::clone(&shared.acting.read().view);
                if view.epoch < epoch {
                    shared.bell.look();
                }
                if view.epoch > epoch {
                    CacheAnswer::View(view)
                } else {
                    self.execute_here(epoch, &key, op).await
                }
            }
            CacheCall::Revoke { key, revocation } => self.give_back(&key, revocation).await,
            CacheCall::Directory { key } => {
                let (words, holders, waiting) = shared.home.look(&key);
                CacheAnswer::Directory(words, holders, waiting)
            }
        })
    }

    /// Acts by a view, or a newer one; and says by which.
    async fn prepared(&self, view: View) -> View {
        let shared = &*self.shared;
        let mut adopted = shared.adopted.subscribe();
        let epoch = view.epoch;
        if *adopted.borrow_and_update() < epoch {
            shared.bell.view(view);
            let adopting = adopted.wait_for(|now| *now >= epoch);
            // Too late: it is asked again.
            drop(tokio::time::timeout(ADOPT, adopting).await);
        }
        View::clone(&shared.acting.read().view)
    }
}
