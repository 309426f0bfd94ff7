//! Who takes part, told by signs of life in Redis; and so which node is in charge of what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync_core::Fault;
use dsync_core::name::Name;
use dsync_core::queue::redis::{MEMBERS, decode_beats, encode_beat};
use dsync_core::queue::{Assignment, Beat};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::store::redis::{RedisLink, Script};

/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// For so long after a change, consumers may still wait where they should not.
const UNSETTLED: Duration = Duration::from_secs(5);
/// A name that is taken is tried again for so long: its last holder may just have died.
const NAME_PATIENCE: Duration = Duration::from_millis(3_500);

/// The live nodes as this one sees them.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) beats: Vec<Beat>,
    pub(super) assignment: Arc<Assignment>,
    live: BTreeSet<Name>,
    since: Instant,
}

/// This node among the others.
#[derive(Debug, Clone)]
pub(super) struct Me {
    pub(super) node: Name,
    pub(super) incarnation: u64,
    pub(super) address: String,
}

/// A cheap handle on the membership.
#[derive(Debug, Clone)]
pub(super) struct Members {
    me: Arc<Me>,
    link: RedisLink,
    script: Script,
    view: watch::Sender<View>,
    namesake: Arc<Mutex<Option<String>>>,
    /// Why the last sign of life could not be written, though Redis is there.
    refused: Arc<Mutex<Option<String>>>,
    left: Arc<AtomicBool>,
}

impl Members {
    /// Joins, where Redis can be reached, and goes on beating until the link stops.
    ///
    /// # Errors
    /// Another process lives under this node's name.
    pub(super) async fn join(link: RedisLink, me: Me) -> Result<Self, String> {
        let view = View {
            beats: Vec::new(),
            assignment: Arc::default(),
            live: BTreeSet::new(),
            since: Instant::now(),
        };
        let members = Self {
            me: Arc::new(me),
            link,
            script: Script::new(MEMBERS),
            view: watch::Sender::new(view),
            namesake: Arc::default(),
            refused: Arc::default(),
            left: Arc::default(),
        };
        let until = Instant::now() + NAME_PATIENCE;
        while members.beat().await.is_ok() {
            let Some(other) = members.namesake.lock().clone() else { break };
            if Instant::now() >= until {
                return Err(other);
            }
            tokio::time::sleep(BEAT / 4).await;
        }
        tokio::spawn(members.clone().beat_for_ever().in_current_span());
        Ok(members)
    }

    async fn beat_for_ever(self) {
        let stop = self.link.stopped().clone();
        stop.run_until_cancelled(async {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(BEAT) => {}
                    // A store that is back has forgotten this node, perhaps.
                    () = self.link.changed() => {}
                }
                let beaten = self.beat().await;
                // That Redis cannot be reached is told by the link.
                if self.link.problem().is_none() {
                    self.note(beaten.err().map(|fault| fault.message));
                }
            }
        })
        .await;
    }

    /// Tells once that Redis takes no writes, or takes them again.
    fn note(&self, refused: Option<String>) {
        let before = std::mem::replace(&mut *self.refused.lock(), refused.clone());
        match refused {
            Some(why) if before.as_ref() != Some(&why) => {
                tracing::warn!("signs of life cannot be written: {why}");
            }
            None if before.is_some() => tracing::info!("Redis takes writes again"),
            Some(_) | None => {}
        }
    }

    /// Redis is there and takes no writes.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.lock().is_some()
    }

    async fn beat(&self) -> Result<(), Fault> {
        let me = &*self.me;
        let left = self.left.load(Ordering::Relaxed);
        let call = encode_beat(&me.node, me.incarnation, &me.address, left);
        let reply = self.link.run(&self.script, &call).await?;
        match decode_beats(reply) {
            Ok(beats) => self.hear(beats),
            Err(why) => tracing::error!("{why}"),
        }
        Ok(())
    }

    fn hear(&self, beats: Vec<Beat>) {
        let me = &*self.me;
        let other = beats.iter().find(|b| b.forbids(&me.node, me.incarnation, &me.address));
        *self.namesake.lock() = other.map(|other| {
            format!(
                "NODE_ID {} is in use by a live node at {}: give each node a name of its own",
                me.node, other.address
            )
        });
        let live: BTreeSet<Name> =
            beats.iter().filter(|beat| beat.is_live()).map(|beat| beat.node.clone()).collect();
        let changed = self.view.borrow().live != live;
        if changed {
            let names: Vec<&str> = live.iter().map(Name::as_str).collect();
            tracing::info!(live = names.join(", "), "the ring of queue nodes changed");
        }
        self.view.send_if_modified(|view| {
            view.beats = beats;
            if changed {
                view.assignment = Arc::new(Assignment::of(&live));
                view.live = live;
                view.since = Instant::now();
            }
            changed
        });
    }

    /// Leaves: the others take over at once.
    pub(super) async fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        // If that fails, they take over when the last sign of life is too old.
        drop(self.beat().await);
    }

    /// Another process lives under this node's name, in words.
    pub(super) fn namesake(&self) -> Option<String> {
        self.namesake.lock().clone()
    }

    /// The view as it changes: with each node that comes or goes.
    pub(super) fn follow(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// The node in charge of a partition, if it is another one: its name and address.
    pub(super) fn owner_elsewhere(&self, partition: u8) -> Option<(Name, String)> {
        let view = self.view.borrow();
        let owner = view.assignment.owner(partition)?;
        if *owner == self.me.node {
            return None;
        }
        let beat = view.beats.iter().find(|beat| beat.node == *owner)?;
        Some((owner.clone(), beat.address.clone()))
    }

    /// The node in charge of a partition.
    pub(super) fn owner(&self, partition: u8) -> Option<Name> {
        self.view.borrow().assignment.owner(partition).cloned()
    }

    /// Consumers may wait for that partition's queues at another node.
    pub(super) fn is_shared(&self, partition: u8) -> bool {
        let view = self.view.borrow();
        let mine = view.assignment.owner(partition) == Some(&self.me.node);
        view.live.len() > 1 && (!mine || view.since.elapsed() < UNSETTLED)
    }
}
