//! This node as a home: the directory of its keys, and the sessions of the nodes.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dsync::peer::CacheAnswer;
use dsync_core::cache::directory::{Entry, HomeEffect, Numbers, Request, Want};
use dsync_core::cache::item::{Gid, Item, Right, Session};
use dsync_core::cache::op::{Key, Op, Outcome, Value};
use dsync_core::cache::session::{HomeSessions, Opening};
use dsync_core::cache::store::hash_of;
use dsync_core::cache::told::Revocation;
use dsync_core::cache::view::Member;
use dsync_core::name::Name;
use parking_lot::Mutex;
use tokio::sync::oneshot;

type KeyEntry = Entry<Name, Op>;
type Effects = Vec<HomeEffect<Name, Value, Op>>;

/// Parts of the directory, each under a lock of its own.
const SHARDS: usize = 16;
/// Entries of one part; then old ones are cleared first.
const ENTRIES_MAX: usize = 65_536;

/// What is to be done for a key, in an epoch and no other.
#[derive(Debug)]
pub(super) struct HomeWork {
    pub(super) epoch: u64,
    pub(super) key: Key,
    pub(super) what: What,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum What {
    /// Take back what a node has.
    Revoke { from: Name, revocation: Revocation },
    /// Have the memory refuse what that session writes.
    Fence { node: Name, session: Session },
    /// Read it from the memory.
    Read,
    /// Carry a change out in the memory.
    Execute { request: u64, op: Op },
}

/// Who waits for what.
#[derive(Debug)]
enum Asked {
    Line(oneshot::Sender<CacheAnswer>),
    Execute(oneshot::Sender<CacheAnswer>),
    Clear,
}

/// What the memory said to a change.
#[derive(Debug)]
pub(super) enum Executed {
    /// It was done, now or before.
    Done(Outcome, u64),
    /// It was not done.
    Not(String),
    /// It may have been done, or may still be.
    Unknown,
}

/// The home. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Home {
    shards: Arc<[Mutex<Keys>]>,
    sessions: Arc<Mutex<HomeSessions<Name>>>,
    lease_ms: u64,
    seed: u64,
    /// The name under which this home writes: no node has such a one.
    executor: Name,
    /// Which generation it writes by: one that a write was repeated under is fenced off.
    generation: Arc<AtomicU64>,
}

/// Keys of a part of the directory, in one epoch.
#[derive(Debug)]
struct Keys {
    epoch: u64,
    numbers: Numbers,
    entries: HashMap<Key, KeyEntry>,
    asked: HashMap<u64, Asked>,
    requests: u64,
    /// Time that a key has left, as the memory told with what is read now.
    ttl: HashMap<Key, u64>,
}

impl Keys {
    fn new(epoch: u64) -> Self {
        Self {
            epoch,
            numbers: Numbers::new(epoch),
            entries: HashMap::new(),
            asked: HashMap::new(),
            requests: 0,
            ttl: HashMap::new(),
        }
    }
}

impl Home {
    /// A home without keys. `seed` keeps others from choosing keys that collide.
    pub(super) fn new(me: &Member, seed: u64) -> Self {
        let lease_ms = me.lease_ms;
        let executor = Name::parse("name", &format!("home/{}", me.node));
        Self {
            executor: executor.unwrap_or_else(|_| me.node.clone()),
            generation: Arc::new(AtomicU64::new(1)),
            shards: (0..SHARDS).map(|_| Mutex::new(Keys::new(0))).collect(),
            sessions: Arc::new(Mutex::new(HomeSessions::new(0, lease_ms))),
            lease_ms,
            seed,
        }
    }

    /// Begins anew in that epoch: no session, no entry; who waits gets nothing.
    pub(super) fn begin(&self, epoch: u64) {
        *self.sessions.lock() = HomeSessions::new(epoch, self.lease_ms);
        for shard in &*self.shards {
            let before = std::mem::replace(&mut *shard.lock(), Keys::new(epoch));
            let executing: HashSet<u64> =
                before.entries.values().filter_map(KeyEntry::executing).collect();
            for (id, asked) in before.asked {
                // Of the others it is known that nothing was done.
                if let Asked::Execute(to) = asked
                    && !executing.contains(&id)
                {
                    drop(to.send(CacheAnswer::NotNow("the view has changed".to_owned())));
                }
            }
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "a rest of a division is below the number of shards"
    )]
    fn shard(&self, key: &Key) -> &Mutex<Keys> {
        let at = usize::try_from(hash_of(self.seed, key) >> 32).unwrap_or(0) % SHARDS;
        &self.shards[at]
    }

    /// The name under which changes are carried out here.
    pub(super) fn executor(&self) -> Name {
        self.executor.clone()
    }

    /// The session, as it were, by which they are.
    pub(super) fn executing(&self, epoch: u64) -> Session {
        Session { epoch, generation: self.generation.load(Ordering::Relaxed) }
    }

    /// Changes are carried out by another generation than that one from now on.
    pub(super) fn execute_anew(&self, than: Session) {
        self.generation.fetch_max(than.generation + 1, Ordering::Relaxed);
    }

    /// A node asks for a session.
    pub(super) fn open(
        &self,
        node: &Name,
        asked: (u64, u64),
        now: u64,
    ) -> (CacheAnswer, Vec<HomeWork>) {
        let opening = self.sessions.lock().open(node, asked, now);
        match opening {
            Opening::Wait(ms) => (CacheAnswer::Wait(ms), Vec::new()),
            Opening::Late => {
                let why = "a later request of the node came before this one";
                (CacheAnswer::NotNow(why.to_owned()), Vec::new())
            }
            Opening::Opened { session, ended } => {
                let work = ended.map(|ended| self.over(node, ended)).unwrap_or_default();
                (CacheAnswer::Opened(session), work)
            }
        }
    }

    /// A session goes on, if it is not over.
    pub(super) fn renew(&self, node: &Name, session: Session, now: u64) -> bool {
        self.sessions.lock().renew(node, session, now)
    }

    /// A node gave lines up by itself.
    pub(super) fn evicted(&self, node: &Name, lines: &[(Key, Gid)]) {
        for (key, gid) in lines {
            let mut keys = self.shard(key).lock();
            if let MapEntry::Occupied(mut entry) = keys.entries.entry(key.clone()) {
                entry.get_mut().evicted(node, *gid);
                if entry.get().is_empty() {
                    entry.remove();
                }
            }
        }
    }

    /// Ends the sessions that have run out.
    pub(super) fn run_out(&self, now: u64) -> Vec<HomeWork> {
        let gone = self.sessions.lock().run_out(now);
        gone.iter().flat_map(|(node, session)| self.over(node, *session)).collect()
    }

    /// When the next session runs out.
    pub(super) fn next_end(&self) -> Option<u64> {
        self.sessions.lock().next_end()
    }

    /// A node says that a session is over.
    pub(super) fn end(&self, node: &Name, session: Session) -> Vec<HomeWork> {
        let ended = self.sessions.lock().end(node, session);
        if ended { self.over(node, session) } else { Vec::new() }
    }

    /// That session of that node goes on here.
    pub(super) fn is_live(&self, node: &Name, session: Session) -> bool {
        self.sessions.lock().live(node) == Some(session)
    }

    /// What was given to that session is taken back, without a word.
    fn over(&self, node: &Name, session: Session) -> Vec<HomeWork> {
        let mut work = Vec::new();
        for shard in &*self.shards {
            let mut keys = shard.lock();
            let all: Vec<Key> = keys.entries.keys().cloned().collect();
            for key in all {
                work.extend(
                    self.step(&mut keys, &key, |entry, _, _| entry.session_over(node, session)),
                );
            }
        }
        work
    }

    /// A node asks for a line.
    pub(super) fn line(
        &self,
        node: &Name,
        session: Session,
        (key, right): (&Key, Right),
    ) -> (oneshot::Receiver<CacheAnswer>, Vec<HomeWork>) {
        let by = Some((node.clone(), session));
        self.request(session.epoch, key, (by, Want::Line(right)), Asked::Line)
    }

    /// A change is to be carried out here, in that epoch and no other.
    pub(super) fn execute(
        &self,
        epoch: u64,
        key: &Key,
        op: Op,
    ) -> (oneshot::Receiver<CacheAnswer>, Vec<HomeWork>) {
        self.request(epoch, key, (None, Want::Execute(op)), Asked::Execute)
    }

    fn request(
        &self,
        epoch: u64,
        key: &Key,
        (by, want): (Option<(Name, Session)>, Want<Op>),
        asked: impl FnOnce(oneshot::Sender<CacheAnswer>) -> Asked,
    ) -> (oneshot::Receiver<CacheAnswer>, Vec<HomeWork>) {
        let (sender, answer) = oneshot::channel();
        let mut keys = self.shard(key).lock();
        if keys.epoch != epoch {
            // Whoever looked at the epoch before this lock was taken has looked too early.
            let why = "the view has changed";
            drop(sender.send(CacheAnswer::NotNow(why.to_owned())));
            return (answer, Vec::new());
        }
        keys.requests += 1;
        let id = keys.requests;
        keys.asked.insert(id, asked(sender));
        let request = Request { id, by, want };
        let mut work = self
            .step(&mut keys, key, |entry, numbers, live| entry.request(numbers, &live, request));
        if keys.entries.len() > ENTRIES_MAX {
            work.extend(self.clear_one(&mut keys));
        }
        (answer, work)
    }

    /// Has some key taken back by all that have it, so that it can be forgotten.
    fn clear_one(&self, keys: &mut Keys) -> Vec<HomeWork> {
        let idle = keys.entries.iter().find(|(_, entry)| entry.waiting().is_none());
        let Some(key) = idle.map(|(key, _)| key.clone()) else { return Vec::new() };
        keys.requests += 1;
        let id = keys.requests;
        keys.asked.insert(id, Asked::Clear);
        let request = Request { id, by: None, want: Want::Clear };
        self.step(keys, &key, |entry, numbers, live| entry.request(numbers, &live, request))
    }

    /// A node acknowledged a revocation.
    pub(super) fn acknowledged(
        &self,
        epoch: u64,
        key: &Key,
        (node, id, kept): (&Name, u64, bool),
    ) -> Vec<HomeWork> {
        self.at(epoch, key, |entry, _, _| entry.acknowledged(node, id, kept))
    }

    /// The memory refuses what that session writes.
    pub(super) fn fenced(&self, key: &Key, node: &Name, session: Session) -> Vec<HomeWork> {
        self.at(session.epoch, key, |entry, _, _| entry.fenced(node, session))
    }

    /// The memory told what a key holds, and how long; or did not.
    pub(super) fn read(
        &self,
        epoch: u64,
        key: &Key,
        found: Option<(Item<Value>, Option<u64>)>,
    ) -> Vec<HomeWork> {
        let Some((item, ttl_ms)) = found else {
            return self.at(epoch, key, |entry, numbers, live| entry.unread(numbers, &live));
        };
        let mut keys = self.shard(key).lock();
        if keys.epoch != epoch {
            return Vec::new();
        }
        if let Some(ttl_ms) = ttl_ms {
            keys.ttl.insert(key.clone(), ttl_ms);
        }
        let work =
            self.step(&mut keys, key, |entry, numbers, live| entry.read(numbers, &live, &item));
        keys.ttl.remove(key);
        work
    }

    /// The memory answered a change.
    pub(super) fn executed(
        &self,
        epoch: u64,
        key: &Key,
        (request, executed): (u64, Executed),
    ) -> Vec<HomeWork> {
        let mut keys = self.shard(key).lock();
        if keys.epoch != epoch {
            return Vec::new();
        }
        let answer = match executed {
            Executed::Done(outcome, version) => CacheAnswer::Executed { outcome, version },
            Executed::Not(why) => CacheAnswer::NotNow(why),
            Executed::Unknown => CacheAnswer::Unknown,
        };
        if let Some(Asked::Execute(to)) = keys.asked.remove(&request) {
            drop(to.send(answer));
        }
        self.step(&mut keys, key, |entry, numbers, live| entry.executed(numbers, &live))
    }

    fn at(
        &self,
        epoch: u64,
        key: &Key,
        step: impl FnOnce(&mut KeyEntry, &mut Numbers, &dyn Fn(&Name) -> Option<Session>) -> Effects,
    ) -> Vec<HomeWork> {
        let mut keys = self.shard(key).lock();
        if keys.epoch != epoch || !keys.entries.contains_key(key) {
            return Vec::new();
        }
        self.step(&mut keys, key, step)
    }

    fn step(
        &self,
        keys: &mut Keys,
        key: &Key,
        step: impl FnOnce(&mut KeyEntry, &mut Numbers, &dyn Fn(&Name) -> Option<Session>) -> Effects,
    ) -> Vec<HomeWork> {
        let live = |node: &Name| self.sessions.lock().live(node);
        let entry = keys.entries.entry(key.clone()).or_default();
        let effects = step(entry, &mut keys.numbers, &live);
        if entry.is_empty() {
            keys.entries.remove(key);
        }
        let epoch = keys.epoch;
        let errand = |what| HomeWork { epoch, key: key.clone(), what };
        let mut work = Vec::new();
        for effect in effects {
            match effect {
                HomeEffect::Revoke { from, session, id, upto, take } => {
                    let revocation = Revocation { id, session, upto, take };
                    work.push(errand(What::Revoke { from, revocation }));
                }
                HomeEffect::Fence { node, session } => {
                    work.push(errand(What::Fence { node, session }));
                }
                HomeEffect::Read { .. } => work.push(errand(What::Read)),
                HomeEffect::Execute { request, change } => {
                    work.push(errand(What::Execute { request, op: change }));
                }
                HomeEffect::Grant { request, right, item, gid } => {
                    let ttl_ms = keys.ttl.get(key).copied();
                    let granted = CacheAnswer::Granted { right, item, gid, ttl_ms };
                    if let Some(Asked::Line(to)) = keys.asked.remove(&request) {
                        drop(to.send(granted));
                    }
                }
                HomeEffect::Refuse { request } => {
                    let why = "the session is over, or the memory did not answer";
                    if let Some(Asked::Line(to)) = keys.asked.remove(&request) {
                        drop(to.send(CacheAnswer::NotNow(why.to_owned())));
                    }
                }
                HomeEffect::Cleared { request } => drop(keys.asked.remove(&request)),
            }
        }
        work
    }

    /// What is known of a key: in words, who has it, and how many requests wait.
    pub(super) fn look(&self, key: &Key) -> (String, Vec<Name>, u32) {
        let keys = self.shard(key).lock();
        let Some(entry) = keys.entries.get(key) else {
            return ("unused".to_owned(), Vec::new(), 0);
        };
        let holders: Vec<(Name, Right)> =
            entry.holders().map(|(node, right)| (node.clone(), right)).collect();
        let state = match holders.first() {
            None => "unused",
            Some((_, Right::Shared)) => "shared",
            Some((_, Right::Exclusive)) => "exclusive",
        };
        let waiting = entry.waiting();
        let words = if waiting.is_some() { format!("busy {state}") } else { state.to_owned() };
        let waiting = u32::try_from(waiting.unwrap_or(0)).unwrap_or(u32::MAX);
        (words, holders.into_iter().map(|(node, _)| node).collect(), waiting)
    }

    /// Entries of the directory.
    pub(super) fn entries(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }
}
