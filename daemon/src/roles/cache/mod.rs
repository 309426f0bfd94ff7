//! The cache role: local reads that are never stale.
//!
//! A request comes in at [`CacheRole::call`]. What it needs of a key is decided by the steps of
//! `dsync_core::cache`; the files here carry messages and time to them:
//! - `table`, `lines`: the lines of this node, and who waits for them;
//! - `home`: the directory of the keys that this node is the home of, and the sessions of others;
//! - `errands`, `taking_back`: what both want done elsewhere: asking a home, taking back, writing to
//!   the memory;
//! - `members`: signs of life and the view; `sessions`: leases of nodes with homes;
//! - `keys`: reads and changes, tried on until there is an answer;
//! - `asked`: what other nodes ask; `report`: what people ask;
//! - `memory`: where the values are.

mod acting;
mod asked;
mod errands;
mod home;
mod keys;
mod lines;
mod members;
mod memory;
mod peers;
mod report;
mod sessions;
mod table;
mod taking_back;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dsync::api::{Answer, CacheReply, CacheRequest, Changed, Got, Head, KEYS_MAX};
use dsync::peer::{CacheAnswer, CacheCall, CacheFrom};
use dsync_core::cache::command::{Ask, Found, KeyView, PAGE_MAX, Query, Selector, Told};
use dsync_core::cache::membership::Membership;
use dsync_core::cache::op::{Action, Condition, Key, Op, Outcome, check};
use dsync_core::cache::view::Member;
use dsync_core::config::CacheConfig;
use dsync_core::{Code, Effect, Fault};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::acting::Acting;
use self::errands::{Cache, Shared, Tally};
use self::home::Home;
use self::members::{Bell, Members};
pub use self::memory::{Memory, MemoryState, RaftMemory, RedisMemory, noop};
pub use self::peers::Peers;
use self::table::Table;
use crate::forward::Forwarder;
use crate::roles::leader::answer_by;

/// Longest time that a request is worked on.
const BUDGET: Duration = Duration::from_secs(10);
/// Longest time for deleting all keys of a prefix or a tag.
const INVALIDATE: Duration = Duration::from_secs(600);
/// Bytes of values in one reply: with what else is in it, it fits into a frame.
const REPLY_BYTES: usize = 900 * 1024;
/// What comes with each value.
const GOT_BYTES: usize = 64;
/// Less time is not enough for another node.
const LEFT_MIN: Duration = Duration::from_millis(300);
/// Keys that are deleted at one time.
const TOGETHER: usize = 64;

/// The cache service of one node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheRole {
    cache: Cache,
    members: Members,
    forwarder: Arc<Forwarder>,
}

/// What the role stands on.
#[derive(Debug)]
pub struct Parts {
    /// Who the node is.
    pub me: Member,
    /// Where the values are.
    pub memory: Memory,
    /// The way to the other nodes.
    pub peers: Peers,
    /// How requests of clients are handed on.
    pub forwarder: Arc<Forwarder>,
    /// Random bits: others must not choose keys that collide.
    pub seed: u64,
    /// Cancelled when the node has stopped.
    pub stop: CancellationToken,
    /// Set while most of the other nodes have another store: then this one serves nothing.
    pub apart: Arc<AtomicBool>,
}

impl CacheRole {
    /// Starts the role. It takes part once the memory answers.
    pub fn start(parts: Parts, config: CacheConfig) -> Self {
        let Parts { me, memory, peers, forwarder, seed, stop, apart } = parts;
        let (bell, rung) = Bell::new();
        let standing = Arc::new(Mutex::new(Membership::new(me.clone())));
        let shared = Shared {
            acting: RwLock::new(Acting::default()),
            table: Table::new(&config, seed, 0),
            home: Home::new(&me, seed.rotate_left(17)),
            memory,
            peers,
            bell,
            stop,
            apart,
            problem: Mutex::default(),
            adopted: watch::Sender::new(0),
            opening: Mutex::default(),
            lost: Mutex::default(),
            tally: Tally::default(),
            me,
            config,
        };
        let cache = Cache { shared: Arc::new(shared) };
        let members = Members { cache: cache.clone(), standing };
        members.start(rung);
        Self { cache, members, forwarder }
    }

    /// What keeps this node from serving, in words.
    pub fn problems(&self) -> Vec<String> {
        let own = self.cache.shared.problem.lock().clone();
        self.cache.shared.memory.problems().into_iter().chain(own).collect()
    }

    /// It takes part: the memory answers it, and it is in the view.
    pub fn has_lease(&self) -> bool {
        self.cache.now() < self.cache.shared.acting.read().until
    }

    /// The node stops: the others need not wait for it.
    pub async fn leave(&self) {
        // Rare and large: in a box, it makes no other future larger.
        Box::pin(self.members.leave()).await;
    }

    /// Answers another node.
    ///
    /// # Errors
    /// What the other node did wrong; `Unavailable` where it may ask again.
    ///
    /// # Cancel safety
    /// What was asked for may happen all the same.
    pub async fn asked(
        &self,
        from: CacheFrom,
        call: CacheCall,
        until: Instant,
    ) -> Result<CacheAnswer, Fault> {
        Box::pin(self.cache.asked(from, call, until)).await
    }

    /// Answers a client.
    ///
    /// # Errors
    /// See [`Fault`]: after effect `Unknown` a change may be repeated under its request id, as long
    /// as nobody else changes the key.
    ///
    /// # Cancel safety
    /// A change that was begun is made all the same.
    pub async fn call(
        &self,
        head: &Head,
        request: CacheRequest,
        within: Duration,
    ) -> Answer<CacheReply> {
        if let CacheRequest::Get { keys, .. } = &request
            && let [key] = &keys[..]
            && let Some(got) = self.cache.hit(key)
        {
            return self.forwarder.answer(Ok(CacheReply::Read(vec![got])));
        }
        // Large and rarer: in a box, it costs no hit anything.
        let working: BoxFuture<'_, _> = Box::pin(self.work_on(head, request, within));
        working.await
    }

    async fn work_on(
        &self,
        head: &Head,
        request: CacheRequest,
        within: Duration,
    ) -> Answer<CacheReply> {
        let many = matches!(request, CacheRequest::Invalidate { .. });
        let until = answer_by(Instant::now() + within.min(if many { INVALIDATE } else { BUDGET }));
        if let Err(fault) = admit(&request) {
            return self.forwarder.answer(Err(fault));
        }
        if let CacheRequest::Get { keys, max_stale_ms: Some(most) } = &request
            && let [key] = &keys[..]
            && !self.has_lease()
            && let Some(got) = self.cache.stale(key, *most)
        {
            return self.forwarder.answer(Ok(CacheReply::Read(vec![got])));
        }
        if let Some(answer) = self.elsewhere(head, &request, until).await {
            return answer;
        }
        let result = self.here(head, request, until).await;
        self.forwarder.answer(result)
    }

    /// A node that the memory does not answer has others serve what they can; `None`: nobody did.
    async fn elsewhere(
        &self,
        head: &Head,
        request: &CacheRequest,
        until: Instant,
    ) -> Option<Answer<CacheReply>> {
        let keys = matches!(
            request,
            CacheRequest::Get { .. }
                | CacheRequest::Do { .. }
                | CacheRequest::Invalidate { .. }
                | CacheRequest::Keys { .. }
        );
        if !keys || head.hops > 0 || self.has_lease() || self.problems().is_empty() {
            return None;
        }
        let (members, me) = {
            let acting = self.cache.shared.acting.read();
            (acting.view.members.clone(), self.cache.shared.me.clone())
        };
        let reads = matches!(request, CacheRequest::Get { .. } | CacheRequest::Keys { .. });
        for member in members.into_iter().filter(|member| *member != me) {
            // Who is cut off as well must leave time for the next one, and for what this one says.
            let left = until.saturating_duration_since(Instant::now());
            if left < LEFT_MIN {
                break;
            }
            let by = Instant::now() + left / 3;
            let sent = self.forwarder.hand_on(&member.address, head, request.clone(), by).await;
            match sent {
                Ok(answer) if !may_ask_another(answer.result.as_ref().err()) => {
                    return Some(answer);
                }
                Ok(_) => {}
                // What a read did not tell, it did not do either.
                Err(fault) if reads || may_ask_another(Some(&fault)) => {}
                Err(fault) => return Some(self.forwarder.answer(Err(fault))),
            }
        }
        None
    }

    async fn here(
        &self,
        head: &Head,
        request: CacheRequest,
        until: Instant,
    ) -> Result<CacheReply, Fault> {
        match request {
            CacheRequest::Get { keys, max_stale_ms } => self.read(&keys, max_stale_ms, until).await,
            CacheRequest::Do { changes } => {
                Ok(CacheReply::Done(self.change(head.request_id, changes, until).await))
            }
            CacheRequest::Invalidate { of } => {
                self.invalidate(of, until).await.map(CacheReply::Invalidated)
            }
            CacheRequest::Keys { of, after, limit } => {
                let (items, more) = self.page(of, after, limit, until).await?;
                Ok(CacheReply::Keys { items, more })
            }
            CacheRequest::Inspect { key } => {
                self.inspect(&key, until).await.map(CacheReply::Inspected)
            }
            CacheRequest::Line { key } => Ok(CacheReply::Line(self.line(&key))),
            CacheRequest::Stats => Ok(CacheReply::Stats(Box::new(self.stats(until).await))),
            CacheRequest::Lost => {
                Ok(CacheReply::Lost(self.cache.shared.lost.lock().iter().cloned().collect()))
            }
            CacheRequest::View => Ok(CacheReply::View(self.view())),
        }
    }

    async fn read(
        &self,
        keys: &[Key],
        max_stale_ms: Option<u64>,
        until: Instant,
    ) -> Result<CacheReply, Fault> {
        let mut read: Vec<Option<Got>> = keys.iter().map(|key| self.cache.hit(key)).collect();
        let missing = keys.iter().zip(&read).filter(|(_, got)| got.is_none());
        let fetched = missing.map(|(key, _)| {
            let (cache, key) = (self.cache.clone(), key.clone());
            async move { cache.get(&key, max_stale_ms, until).await }
        });
        // Owned by then: a future that borrows from each key is not general enough for a handler.
        let fetched: Vec<_> = fetched.collect();
        let mut fetched = futures::stream::iter(fetched).buffered(TOGETHER);
        for place in read.iter_mut().filter(|got| got.is_none()) {
            if let Some(got) = fetched.next().await {
                *place = Some(got?);
            }
        }
        let (mut all, mut room) = (Vec::with_capacity(read.len()), REPLY_BYTES);
        for got in read.into_iter().flatten() {
            let bytes = size(&got);
            // The first one fits by itself; the rest is asked for again.
            if bytes > room && !all.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes);
            all.push(got);
        }
        Ok(CacheReply::Read(all))
    }

    /// One change after the other of one key; those of different keys side by side.
    async fn change(
        &self,
        request: u128,
        changes: Vec<(Key, Action)>,
        until: Instant,
    ) -> Vec<Result<Changed, Fault>> {
        let numbers = (0_u128..).map(|number| request.wrapping_add(number));
        let once = changes.len() == 1 || all_differ(&changes);
        let made = changes.into_iter().zip(numbers).map(|((key, action), request)| async move {
            self.cache.change(&key, Op { request, action }, until).await
        });
        let together = if once { TOGETHER } else { 1 };
        futures::stream::iter(made).buffered(together).collect().await
    }

    async fn page(
        &self,
        of: Selector,
        after: Option<Key>,
        limit: u32,
        until: Instant,
    ) -> Result<(Vec<KeyView>, bool), Fault> {
        let ask = Ask::Look(Query::Keys { of, after, limit: limit.clamp(1, PAGE_MAX) });
        let Told::Found(Found::Keys { keys, more }) = self.cache.ask_memory(&ask, until).await?
        else {
            return Err(Fault::new(Code::Internal, "the memory answered something else"));
        };
        Ok((keys, more))
    }

    async fn invalidate(&self, of: Selector, until: Instant) -> Result<u64, Fault> {
        let (mut after, mut deleted) = (None, 0);
        loop {
            let (page, more) = self.page(of.clone(), after, PAGE_MAX, until).await?;
            after = page.last().map(|view| view.key.clone());
            let deletions = page.into_iter().map(|view| self.delete(view.key, until));
            let mut deletions = futures::stream::iter(deletions).buffer_unordered(TOGETHER);
            while let Some(done) = deletions.next().await {
                let done = done.map_err(|fault| {
                    let message = format!("after {deleted} keys: {}", fault.message);
                    Fault { message, effect: Effect::Unknown, ..fault }
                })?;
                deleted += u64::from(done);
            }
            if !more || after.is_none() {
                return Ok(deleted);
            }
        }
    }

    async fn delete(&self, key: Key, until: Instant) -> Result<bool, Fault> {
        let action = Action::Delete { condition: Condition::Always };
        let changed =
            self.cache.change(&key, Op { request: rand::random(), action }, until).await?;
        Ok(changed.outcome == Outcome::Deleted(true))
    }
}

/// Bytes of a value in a reply.
fn size(got: &Got) -> usize {
    let value = got.value.as_ref().map_or(0, |value| {
        let tags: usize = value.tags.iter().map(|tag| tag.as_str().len() + 4).sum();
        value.bytes.as_slice().len() + tags
    });
    value + GOT_BYTES
}

fn may_ask_another(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| fault.effect == Effect::None && fault.code == Code::Unavailable)
}

fn all_differ(changes: &[(Key, Action)]) -> bool {
    let mut keys: Vec<&Key> = changes.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.windows(2).all(|two| two.first() != two.last())
}

/// Refuses what breaks a rule of its own.
fn admit(request: &CacheRequest) -> Result<(), Fault> {
    let count = match request {
        CacheRequest::Get { keys, .. } => keys.len(),
        CacheRequest::Do { changes } => {
            for (_, action) in changes {
                check(action)?;
            }
            changes.len()
        }
        CacheRequest::Invalidate { .. }
        | CacheRequest::Inspect { .. }
        | CacheRequest::Line { .. }
        | CacheRequest::Keys { .. }
        | CacheRequest::Stats
        | CacheRequest::Lost
        | CacheRequest::View => 1,
    };
    if count == 0 || count > KEYS_MAX {
        let text = format!("{count} keys in one request: 1 to {KEYS_MAX} are possible");
        return Err(Fault::new(Code::InvalidArgument, text).hint("send them in several requests"));
    }
    Ok(())
}
