//! What a home wants done, and how it takes rights back.

use std::time::Duration;

use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::cache::op::Key;
use dsync_core::cache::told::Revocation;
use dsync_core::name::Name;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::errands::{Cache, PAUSE, PAUSE_MAX};
use super::home::{HomeWork, What};

impl Cache {
    /// Does what the directory wants done.
    pub(super) fn perform_at_home(&self, work: Vec<HomeWork>) {
        for HomeWork { epoch, key, what } in work {
            let cache = self.clone();
            let doing = async move {
                let more = match what {
                    What::Revoke { from, revocation } => {
                        cache.take_back(epoch, key, from, revocation).await
                    }
                    What::Fence { node, session } => cache.fence(epoch, key, node, session).await,
                    What::Read => cache.read_for_home(epoch, key).await,
                    What::Execute { request, op } => cache.execute(epoch, key, request, op).await,
                };
                cache.perform_at_home(more);
            };
            tokio::spawn(doing.in_current_span());
        }
    }

    /// This node acts by that epoch still.
    pub(super) fn is_home_in(&self, epoch: u64) -> bool {
        let acting = self.shared.acting.read();
        acting.view.epoch == epoch && !self.shared.stop.is_cancelled()
    }

    async fn take_back(
        &self,
        epoch: u64,
        key: Key,
        from: Name,
        revocation: Revocation,
    ) -> Vec<HomeWork> {
        let shared = &*self.shared;
        let (id, session) = (revocation.id, revocation.session);
        let mut pause = PAUSE;
        // Who does not answer is waited for until its session has run out.
        while self.is_home_in(epoch) && shared.home.is_live(&from, session) {
            let member = shared.acting.read().view.member(&from).cloned();
            let Some(member) = member else { break };
            let answer = if member == shared.me {
                Ok(self.give_back(&key, revocation).await)
            } else {
                let patience = Duration::from_millis(member.lease_ms);
                let call = CacheCall::Revoke { key: key.clone(), revocation };
                let until = Instant::now() + patience;
                shared.peers.call(&member.address, member.incarnation, call, until).await
            };
            match answer {
                Ok(CacheAnswer::Acknowledged { kept }) => {
                    return shared.home.acknowledged(epoch, &key, (&from, id, kept));
                }
                Ok(CacheAnswer::Over) => return shared.home.end(&from, session),
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Vec::new()
    }
}
