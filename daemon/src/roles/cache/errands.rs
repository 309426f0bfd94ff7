//! What the parts of a cache node share, and what they want done elsewhere.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::LostKey;
use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::cache::command::{Ask, By, Command, Done, Found, Query, Told, Written as Put};
use dsync_core::cache::item::{Item, Right, Session};
use dsync_core::cache::op::{Key, Op, Outcome, Value};
use dsync_core::cache::store::hash_of;
use dsync_core::cache::told::{Change, Grant, Revocation, Written};
use dsync_core::cache::view::{Member, partition_of};
use dsync_core::config::CacheConfig;
use dsync_core::name::Name;
use dsync_core::{Effect, Fault};
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::acting::Acting;
use super::home::{Executed, Home, HomeWork};
use super::members::Bell;
use super::memory::Memory;
use super::peers::Peers;
use super::table::{Ctx, Table, Work};
use crate::telemetry::wall_ms;

/// Longest time for one answer of the memory; then it is asked again.
const ANSWER: Duration = Duration::from_secs(1);
/// So long a home tries to read a key before who asks for it gets nothing.
const READ: Duration = Duration::from_secs(2);
/// Pauses between attempts: the first, and the longest.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Lost changes that are remembered.
const LOST_MAX: usize = 10_000;

/// A cache node. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    pub(super) shared: Arc<Shared>,
}

/// Its parts.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) me: Member,
    pub(super) config: CacheConfig,
    pub(super) acting: RwLock<Acting>,
    pub(super) table: Table,
    pub(super) home: Home,
    pub(super) memory: Memory,
    pub(super) peers: Peers,
    /// Wakes whoever looks after leases.
    pub(super) bell: Bell,
    pub(super) stop: CancellationToken,
    /// Most of the other nodes have another store.
    pub(super) apart: Arc<AtomicBool>,
    /// What keeps the node from a lease, in words.
    pub(super) problem: Mutex<Option<String>>,
    /// The epoch that the node acts by, once it does.
    pub(super) adopted: watch::Sender<u64>,
    /// Sessions are opened one at a time with each home.
    pub(super) opening: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
    pub(super) lost: Mutex<VecDeque<LostKey>>,
    pub(super) tally: Tally,
}

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) stale: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) executed: AtomicU64,
    pub(super) revoked: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) past: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) opened: AtomicU64,
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Cache {
    /// The node's clock, in milliseconds.
    pub(super) fn now(&self) -> u64 {
        let now = self.shared.peers.net().boot_time();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks the memory, in a box: most of what awaits it is spawned for it, and its type is deep.
    pub(super) fn ask_memory<'a>(
        &'a self,
        ask: &'a Ask,
        until: Instant,
    ) -> BoxFuture<'a, Result<Told, Fault>> {
        count(&self.shared.tally.asked);
        Box::pin(self.shared.memory.ask(ask, until))
    }

    /// A step of a line, by what the node acts by now.
    pub(super) fn with<R>(
        &self,
        gives_up: bool,
        step: impl FnOnce(Ctx<'_>) -> (R, Vec<Work>),
    ) -> R {
        let (result, work) = {
            let acting = self.shared.acting.read();
            let policy = self.shared.config.write;
            step(Ctx { now: self.now(), acting: &acting, policy, gives_up })
        };
        self.perform(work);
        result
    }

    /// Does what lines want done.
    pub(super) fn perform(&self, work: Vec<Work>) {
        for work in work {
            let cache = self.clone();
            match work {
                Work::Ask { key, request, right, session } => {
                    let asking = async move { cache.ask_home(key, request, right, session).await };
                    tokio::spawn(asking.in_current_span());
                }
                Work::Write { key, id, change, session } => {
                    let writing = async move { cache.write(key, id, change, session).await };
                    tokio::spawn(writing.in_current_span());
                }
                Work::Lost { key, version } => self.lose(key, version),
            }
        }
    }

    fn lose(&self, key: Key, version: u64) {
        let shared = &*self.shared;
        tracing::error!(%key, version, "a change that was acknowledged is lost: it had not reached the memory");
        count(&shared.tally.lost);
        let node = shared.me.node.to_string();
        let mut lost = shared.lost.lock();
        lost.push_back(LostKey { key, version, at_ms: wall_ms(), node });
        if lost.len() > LOST_MAX {
            lost.pop_front();
        }
    }

    async fn ask_home(&self, key: Key, request: u64, right: Right, session: Session) {
        let sent = self.now();
        let answer = self.home_answers(&key, right, session).await;
        let granted = match answer {
            Ok(CacheAnswer::Granted { right, item, gid, ttl_ms }) => {
                let until = ttl_ms.map(|ttl| sent + ttl);
                Some(Grant { request, right, item, gid, session, until })
            }
            Ok(other) => {
                self.heed(&key, session, other);
                None
            }
            Err(fault) => {
                tracing::debug!(%key, %fault, "the home gave no line");
                None
            }
        };
        self.with(false, |ctx| {
            let step = self.shared.table.step(&key, ctx, |line, env| match granted {
                Some(grant) => line.granted(env, grant),
                None => line.refused(env, request),
            });
            ((), step)
        });
    }

    async fn home_answers(
        &self,
        key: &Key,
        right: Right,
        session: Session,
    ) -> Result<CacheAnswer, Fault> {
        let shared = &*self.shared;
        let Some((home, _)) = self.home_of(key, Some(session.epoch)) else {
            return Err(Fault::unavailable("the view has changed"));
        };
        if home == shared.me {
            return Ok(self.line_here(&shared.me.node, session, key, right).await);
        }
        // A home waits for a lease to run out, at most; and for those before this one.
        let patience = Duration::from_millis(3 * home.lease_ms) + ANSWER;
        let call = CacheCall::Line { session, key: key.clone(), right };
        let until = Instant::now() + patience;
        tokio::select! {
            answer = shared.peers.call(&home.address, home.incarnation, call, until) => answer,
            // A home that stands still answers when it is one no more.
            () = self.epoch_over(session.epoch) => Err(Fault::unavailable("the view has changed")),
        }
    }

    /// Ends when the node acts by a later epoch.
    pub(super) async fn epoch_over(&self, epoch: u64) {
        let mut adopted = self.shared.adopted.subscribe();
        if adopted.wait_for(|now| *now > epoch).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Serves a request for a line.
    pub(super) async fn line_here(
        &self,
        node: &Name,
        session: Session,
        key: &Key,
        right: Right,
    ) -> CacheAnswer {
        let shared = &*self.shared;
        if self.serves() != Some(session.epoch) {
            return CacheAnswer::NotNow(format!("{} does not serve now", shared.me.node));
        }
        let (answer, work) = shared.home.line(node, session, (key, right));
        self.perform_at_home(work);
        answer.await.unwrap_or_else(|_| CacheAnswer::NotNow("the view has changed".to_owned()))
    }

    /// Carries a change out as the home.
    pub(super) async fn execute_here(&self, epoch: u64, key: &Key, op: Op) -> CacheAnswer {
        let shared = &*self.shared;
        if self.serves() != Some(epoch) {
            return CacheAnswer::NotNow(format!("{} does not serve now", shared.me.node));
        }
        count(&shared.tally.executed);
        let (answer, work) = shared.home.execute(epoch, key, op);
        self.perform_at_home(work);
        // It is on its way to the memory, perhaps.
        answer.await.unwrap_or(CacheAnswer::Unknown)
    }

    /// What an answer says beside being none.
    pub(super) fn heed(&self, key: &Key, session: Session, answer: CacheAnswer) {
        if let CacheAnswer::View(view) = answer {
            self.shared.bell.view(view);
        } else if answer == CacheAnswer::Over {
            let mut acting = self.shared.acting.write();
            if let Some(number) = acting.home(key).map(|(number, _)| number) {
                acting.over(number, session);
            }
        }
    }

    /// The home of a key, in that epoch or the one in force, and the epoch.
    pub(super) fn home_of(&self, key: &Key, epoch: Option<u64>) -> Option<(Member, u64)> {
        let acting = self.shared.acting.read();
        let now = acting.view.epoch;
        let member = acting.home(key).map(|(_, member)| member.clone())?;
        epoch.is_none_or(|epoch| epoch == now).then_some((member, now))
    }

    /// The epoch in which this node serves as a home now.
    pub(super) fn serves(&self) -> Option<u64> {
        let acting = self.shared.acting.read();
        let may = acting.serving && !acting.closing && self.now() < acting.until;
        may.then_some(acting.view.epoch)
    }

    /// Writes what a line wants written, until the memory has answered.
    async fn write(&self, key: Key, id: u64, change: Change<Value, Op>, session: Session) {
        let shared = &*self.shared;
        count(&shared.tally.writes);
        let by = By::Holder(shared.me.node.clone(), session);
        let (write_id, write) = match change {
            Change::Apply(op) => (op.request, Put::Apply(op)),
            Change::Put(Item { version, value }) => {
                let value = value.unwrap_or_default();
                // No request has such a number but by chance, nor has a write of another node: two may
                // have started in the same millisecond, and both count from 1.
                let run = hash_of(shared.me.incarnation, &shared.me.node);
                let write_id = (u128::from(run) << 64) | u128::from(id);
                (write_id, Put::Put { value, version })
            }
        };
        let command = Command::Write { key: key.clone(), by, id: write_id, write };
        let wanted = || shared.table.awaits_write(&key, id);
        let (sent, written, repeated) = self.command(command, wanted).await;
        if repeated {
            // An earlier copy may still be on its way, and would be done after what comes next. With
            // its session over, the home has it fenced off before anybody has the key again.
            self.heed(&key, session, CacheAnswer::Over);
        }
        let written = match written {
            Answered::Done(Done::Written { item, outcome, ttl_ms }) => {
                let until = ttl_ms.map(|ttl| sent + ttl);
                Written::Done { item, outcome, until }
            }
            Answered::Done(Done::Full { used, limit }) => {
                Written::Not(Outcome::Full { used, limit })
            }
            Answered::Done(Done::Fenced | Done::Is(_)) | Answered::NotDone(_) => Written::Fenced,
            Answered::Unknown => Written::Unknown,
        };
        self.with(false, |ctx| {
            let step = shared.table.step(&key, ctx, |line, env| line.written(env, id, written));
            ((), step)
        });
    }

    /// Asks the memory until it has answered, or `wanted` no more; and when it was asked last, and
    /// whether earlier copies of the question may still come there.
    async fn command(&self, command: Command, wanted: impl Fn() -> bool) -> (u64, Answered, bool) {
        let shared = &*self.shared;
        let ask = Ask::Do(command);
        let (begun, mut pause, mut uncertain) = (Instant::now(), PAUSE, false);
        loop {
            let sent = self.now();
            let told = self.ask_memory(&ask, Instant::now() + ANSWER).await;
            let fault = match told {
                Ok(Told::Done(Done::Fenced)) if uncertain => {
                    return (sent, Answered::Unknown, true);
                }
                Ok(Told::Done(done)) => return (sent, Answered::Done(done), uncertain),
                Ok(_) => Fault::unavailable("the memory answered something else"),
                Err(fault) => fault,
            };
            uncertain |= fault.effect == Effect::Unknown;
            let over = begun.elapsed() > READ || !fault.retryable;
            if (!uncertain && over) || !wanted() {
                let none = Answered::NotDone(fault.message);
                return (sent, if uncertain { Answered::Unknown } else { none }, uncertain);
            }
            if shared.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return (sent, Answered::Unknown, true);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Gives a right back.
    pub(super) async fn give_back(&self, key: &Key, revocation: Revocation) -> CacheAnswer {
        use super::table::Revoked;
        let table = &self.shared.table;
        count(&self.shared.tally.revoked);
        match self.with(true, |ctx| table.revoke(key, revocation, ctx)) {
            Revoked::Now(kept) => CacheAnswer::Acknowledged { kept },
            Revoked::Over => CacheAnswer::Over,
            Revoked::Later(answer, attempt) => {
                let lease = Duration::from_millis(self.shared.config.lease_ms);
                if let Ok(Ok(kept)) = tokio::time::timeout(lease, answer).await {
                    return CacheAnswer::Acknowledged { kept };
                }
                table.forget_ack(key, revocation.id, attempt);
                CacheAnswer::NotNow("a write is on its way to the memory".to_owned())
            }
        }
    }

    pub(super) async fn fence(
        &self,
        epoch: u64,
        key: Key,
        node: Name,
        session: Session,
    ) -> Vec<HomeWork> {
        if self.fence_off(epoch, &key, &node, session).await {
            return self.shared.home.fenced(&key, &node, session);
        }
        Vec::new()
    }

    /// Has the memory refuse what that session writes; false: the epoch is over.
    async fn fence_off(&self, epoch: u64, key: &Key, node: &Name, session: Session) -> bool {
        let command = Command::Fence { partition: partition_of(key), node: node.clone(), session };
        let mut pause = PAUSE;
        while self.is_home_in(epoch) {
            let (_, done, _) = self.command(command.clone(), || self.is_home_in(epoch)).await;
            match done {
                Answered::Done(Done::Is(true)) => return true,
                // Another epoch: this one is over.
                Answered::Done(_) => return false,
                Answered::NotDone(_) | Answered::Unknown => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        false
    }

    pub(super) async fn read_for_home(&self, epoch: u64, key: Key) -> Vec<HomeWork> {
        let until = Instant::now() + READ;
        let found = self.read_memory(&key, until).await.ok();
        self.shared.home.read(epoch, &key, found)
    }

    /// Reads a key from the memory, and how long it has left.
    pub(super) async fn read_memory(
        &self,
        key: &Key,
        until: Instant,
    ) -> Result<(Item<Value>, Option<u64>), Fault> {
        let ask = Ask::Look(Query::Get(key.clone()));
        let mut pause = PAUSE;
        loop {
            let by = until.min(Instant::now() + ANSWER);
            match self.ask_memory(&ask, by).await {
                Ok(Told::Found(Found::Item { item, ttl_ms })) => return Ok((item, ttl_ms)),
                Ok(_) => return Err(Fault::unavailable("the memory answered something else")),
                Err(fault) if !fault.retryable || Instant::now() + pause >= until => {
                    return Err(fault);
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub(super) async fn execute(
        &self,
        epoch: u64,
        key: Key,
        request: u64,
        op: Op,
    ) -> Vec<HomeWork> {
        let shared = &*self.shared;
        let node = shared.home.executor();
        let executed = loop {
            let session = shared.home.executing(epoch);
            let (by, id) = (By::Holder(node.clone(), session), op.request);
            let write = Put::Apply(op.clone());
            let command = Command::Write { key: key.clone(), by, id, write };
            let (_, done, repeated) = self.command(command, || self.is_home_in(epoch)).await;
            if repeated {
                // An earlier copy may still be on its way: it is fenced off before the key goes on.
                shared.home.execute_anew(session);
                self.fence_off(epoch, &key, &node, session).await;
            }
            break match done {
                Answered::Done(Done::Written { item, outcome: Some(outcome), .. }) => {
                    Executed::Done(outcome, item.version)
                }
                Answered::Done(Done::Full { used, limit }) => {
                    Executed::Done(Outcome::Full { used, limit }, 0)
                }
                // Fenced off for another key of the partition: nothing was done.
                Answered::Done(Done::Fenced) if shared.home.executing(epoch) != session => continue,
                Answered::Done(_) => Executed::Not("the view has changed".to_owned()),
                Answered::NotDone(why) => Executed::Not(why),
                Answered::Unknown => Executed::Unknown,
            };
        };
        shared.home.executed(epoch, &key, (request, executed))
    }
}

/// What the memory made of a command in the end.
enum Answered {
    Done(Done),
    /// It was never sent, or refused: nothing was done.
    NotDone(String),
    /// It may have been done, or may still be.
    Unknown,
}
