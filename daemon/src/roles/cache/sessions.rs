//! Sessions of a node with a home, at both ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::cache::item::{Gid, Session};
use dsync_core::cache::op::Key;
use dsync_core::cache::view::{Member, View};
use dsync_core::name::Name;
use tokio::time::Instant;

use super::errands::Cache;

impl Cache {
    /// Renews a session of this node, and tells the home what was given up.
    pub(super) async fn renew(
        self,
        number: usize,
        home: Member,
        session: Session,
        evicted: Vec<(Key, Gid)>,
    ) {
        let shared = &*self.shared;
        let sent = self.now();
        let answer = if home == shared.me {
            Ok(self.renew_here(&shared.me.node, session, &evicted))
        } else {
            let until = Instant::now() + Duration::from_millis(home.lease_ms);
            let call = CacheCall::Renew { session, evicted };
            shared.peers.call(&home.address, home.incarnation, call, until).await
        };
        match answer {
            Ok(CacheAnswer::Renewed) => {
                let mut acting = shared.acting.write();
                if acting.view.epoch == session.epoch {
                    acting.renewed(number, session, sent);
                }
            }
            Ok(CacheAnswer::Over) => {
                let mut acting = shared.acting.write();
                if acting.view.epoch == session.epoch {
                    acting.over(number, session);
                }
            }
            Ok(CacheAnswer::View(view)) => shared.bell.view(view),
            Ok(_) | Err(_) => {}
        }
    }

    /// Renews a session of a node with this home.
    pub(super) fn renew_here(
        &self,
        node: &Name,
        session: Session,
        evicted: &[(Key, Gid)],
    ) -> CacheAnswer {
        let home = &self.shared.home;
        if self.serves() != Some(session.epoch) || !home.renew(node, session, self.now()) {
            return CacheAnswer::Over;
        }
        home.evicted(node, evicted);
        CacheAnswer::Renewed
    }

    /// Sees to a session with the home of a key.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) async fn open_session(&self, key: &Key) -> Result<(), String> {
        let shared = &*self.shared;
        let Some((home, epoch)) = self.home_of(key, None) else {
            return Err("no view of the cache nodes is known yet".to_owned());
        };
        let gate = Arc::clone(shared.opening.lock().entry(home.node.clone()).or_default());
        let _gate = gate.lock().await;
        if self.now() >= shared.acting.read().until {
            return Err("this node has no lease of its own now".to_owned());
        }
        if shared.acting.read().session(key, self.now()).is_some() {
            return Ok(());
        }
        let place = shared.acting.read().home(key).map(|(number, _)| number);
        let given_up = place.is_some_and(|place| shared.acting.write().give_up(place, epoch));
        if !given_up {
            return Err("the view is changing".to_owned());
        }
        let sent = self.now();
        let number = shared.tally.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let answer = if home == shared.me {
            Ok(self.open_here(&home.node, (home.incarnation, number), epoch))
        } else {
            let until = Instant::now() + Duration::from_millis(home.lease_ms / 2);
            let call = CacheCall::Open { epoch, number };
            shared.peers.call(&home.address, home.incarnation, call, until).await
        };
        match answer {
            Ok(CacheAnswer::Opened(session)) => {
                let mut acting = shared.acting.write();
                let number = acting.home(key).map(|(number, _)| number);
                if let Some(number) = number.filter(|_| acting.view.epoch == epoch) {
                    acting.opened(number, session, sent);
                }
                Ok(())
            }
            Ok(CacheAnswer::View(view)) => {
                shared.bell.view(view);
                Err("the view has changed".to_owned())
            }
            Ok(CacheAnswer::Wait(ms)) => {
                let pause = Duration::from_millis(ms.min(100));
                tokio::time::sleep(pause).await;
                Err(format!("{} waits for the lease of this node's run before", home.node))
            }
            Ok(CacheAnswer::NotNow(why)) => Err(why),
            Ok(_) => Err(format!("{} answered something else", home.node)),
            Err(fault) => Err(fault.message),
        }
    }

    /// Opens a session of a node with this home.
    pub(super) fn open_here(&self, node: &Name, asked: (u64, u64), epoch: u64) -> CacheAnswer {
        let shared = &*self.shared;
        match self.serves() {
            Some(serving) if serving == epoch => {
                let (answer, work) = shared.home.open(node, asked, self.now());
                self.perform_at_home(work);
                answer
            }
            _ => {
                let view = View::clone(&shared.acting.read().view);
                if view.epoch < epoch {
                    shared.bell.look();
                }
                if view.epoch == epoch {
                    CacheAnswer::NotNow(format!("{} does not serve yet", shared.me.node))
                } else {
                    CacheAnswer::View(view)
                }
            }
        }
    }
}
