//! What people ask: a key with its home and all its lines, figures, the view.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dsync::api::{
    CacheReply, CacheRequest, CacheStats, Head, Inspected, LineView, ViewMember, ViewReport,
};
use dsync::peer::{CacheAnswer, CacheCall};
use dsync_core::Fault;
use dsync_core::cache::command::{Ask, Found, Query, Size, Told};
use dsync_core::cache::op::{Key, Tag};
use dsync_core::cache::store::Policy;
use dsync_core::cache::told::LineState;
use dsync_core::cache::view::{Member, partition_of};
use dsync_core::name::Name;
use futures::future::join_all;
use tokio::time::Instant;

use super::CacheRole;
use super::table::Figures;
use crate::telemetry::{CacheMetrics, CacheNow as Now};

/// Time for one node to answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

impl CacheRole {
    /// A key, looked at everywhere.
    ///
    /// # Errors
    /// The memory does not answer: whether there is such a key is not known.
    pub(super) async fn inspect(&self, key: &Key, until: Instant) -> Result<Inspected, Fault> {
        let shared = &*self.cache.shared;
        let (home, epoch, members) = {
            let acting = shared.acting.read();
            let home = acting.home(key).map(|(_, member)| member.clone());
            (home, acting.view.epoch, acting.view.members.clone())
        };
        let by = until.min(Instant::now() + PATIENCE);
        let lines = members.iter().map(|member| self.line_of(member, key, by));
        let (directory, memory, lines) = tokio::join!(
            self.directory_of(home.as_ref(), key, by),
            self.cache.read_memory(key, by),
            join_all(lines)
        );
        let (directory, holders, waiting) = directory;
        let (item, ttl_ms) = memory?;
        let held = item.value.map(|value| (item.version, value));
        let bytes = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        Ok(Inspected {
            partition: partition_of(key),
            epoch,
            home: home.map(|member| member.node.to_string()),
            directory,
            holders: holders.iter().map(Name::to_string).collect(),
            waiting,
            memory: held.as_ref().map(|(version, v)| (*version, bytes(v.bytes.as_slice().len()))),
            ttl_ms,
            tags: held.iter().flat_map(|(_, v)| v.tags.iter().map(Tag::to_string)).collect(),
            lines,
        })
    }

    async fn directory_of(
        &self,
        home: Option<&Member>,
        key: &Key,
        until: Instant,
    ) -> (String, Vec<Name>, u32) {
        let shared = &*self.cache.shared;
        let unknown = || ("unknown".to_owned(), Vec::new(), 0);
        let Some(home) = home else { return unknown() };
        if *home == shared.me {
            return shared.home.look(key);
        }
        let call = CacheCall::Directory { key: key.clone() };
        match shared.peers.call(&home.address, home.incarnation, call, until).await {
            Ok(CacheAnswer::Directory(words, holders, waiting)) => (words, holders, waiting),
            Ok(_) | Err(_) => unknown(),
        }
    }

    async fn line_of(
        &self,
        member: &Member,
        key: &Key,
        until: Instant,
    ) -> (String, Result<LineView, String>) {
        let node = member.node.to_string();
        if *member == self.cache.shared.me {
            return (node, Ok(self.line(key)));
        }
        let head = Head { request_id: rand::random(), hops: 0, target: Some(node.clone()) };
        let request = CacheRequest::Line { key: key.clone() };
        let line = match self.forwarder.hand_on(&member.address, &head, request, until).await {
            Ok(answer) => match answer.result {
                Ok(CacheReply::Line(line)) => Ok(line),
                Ok(_) => Err("it answered something else".to_owned()),
                Err(fault) => Err(fault.message),
            },
            Err(fault) => Err(fault.message),
        };
        (node, line)
    }

    /// The line of a key here.
    pub(super) fn line(&self, key: &Key) -> LineView {
        let shared = &*self.cache.shared;
        let (state, version) = shared.table.look(key);
        let lease_ms = shared.acting.read().lease_left(key, self.cache.now());
        let held = shared.table.kept(key);
        let now = self.cache.now();
        let session = shared.acting.read().session(key, now);
        let lapsed = held.is_some_and(|(_, of, until)| {
            session != Some(of) || until.is_some_and(|until| now >= until)
        });
        let lease_ms = lease_ms.filter(|_| version.is_some() && !lapsed);
        LineView { state: state.as_str().to_owned(), version, lease_ms, lapsed }
    }

    /// Who takes part.
    pub(super) fn view(&self) -> ViewReport {
        let shared = &*self.cache.shared;
        let now = self.cache.now();
        // In the order in which everybody locks them.
        let standing = self.members.standing.lock();
        let acting = shared.acting.read();
        let member = |(number, member): (usize, &Member)| ViewMember {
            node: member.node.to_string(),
            address: member.address.clone(),
            incarnation: member.incarnation,
            partitions: u32::try_from(acting.homes.count(number)).unwrap_or(0),
            live: standing.is_live(&member.node, now),
        };
        ViewReport {
            epoch: acting.view.epoch,
            members: acting.view.members.iter().enumerate().map(member).collect(),
            silent: acting.view.silent.iter().map(|member| member.node.to_string()).collect(),
            store: shared.memory.store().as_str().to_owned(),
            serving: acting.serving && now < acting.until,
            lease_ms: (now < acting.until).then(|| acting.until - now),
        }
    }

    /// Figures, with those of the memory.
    pub(super) async fn stats(&self, until: Instant) -> CacheStats {
        let mut stats = self.figures(&self.cache.shared.table.figures());
        let by = until.min(Instant::now() + PATIENCE);
        let size = self.cache.ask_memory(&Ask::Look(Query::Size), by).await;
        stats.memory = match size {
            Ok(Told::Found(Found::Size(size))) => Some(size),
            Ok(_) | Err(_) => None::<Size>,
        };
        stats
    }

    /// Shows what there is as metrics.
    pub fn show(&self, metrics: &CacheMetrics) {
        let shared = &*self.cache.shared;
        let figures = shared.table.figures();
        let states: Vec<_> = LineState::ALL.into_iter().zip(figures.states).collect();
        let transitions: Vec<_> = LineState::ALL
            .into_iter()
            .zip(figures.transitions)
            .flat_map(|(from, row)| {
                LineState::ALL.into_iter().zip(row).map(move |(to, n)| (from, to, n))
            })
            .filter(|(_, _, count)| *count > 0)
            .collect();
        let (epoch, serving) = {
            let acting = shared.acting.read();
            (acting.view.epoch, acting.serving && self.cache.now() < acting.until)
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        metrics.show(&Now {
            stats: self.figures(&figures),
            states,
            transitions,
            epoch,
            serving,
            past: read(&shared.tally.past),
            asked: read(&shared.tally.asked),
            calls: shared.peers.calls(),
        });
    }

    /// Figures that this node has by itself.
    fn figures(&self, figures: &Figures) -> CacheStats {
        let shared = &*self.cache.shared;
        let acting = shared.acting.read();
        let me = acting.view.members.iter().position(|member| *member == shared.me);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let tally = &shared.tally;
        let states = LineState::ALL.into_iter().zip(figures.states);
        let partitions = me.map_or(0, |number| acting.homes.count(number));
        CacheStats {
            node: shared.me.node.to_string(),
            states: states.map(|(s, n)| (s.as_str().to_owned(), n)).collect(),
            entries: figures.entries,
            bytes: figures.bytes,
            bytes_max: shared.config.bytes,
            entries_max: shared.config.entries,
            policy: match shared.config.policy {
                Policy::Lru => "lru".to_owned(),
                Policy::TinyLfu => "tinylfu".to_owned(),
            },
            hits: figures.counters.hits,
            misses: figures.counters.misses,
            stale: read(&tally.stale),
            writes: read(&tally.writes),
            executed: read(&tally.executed),
            evictions: figures.counters.evictions,
            rejections: figures.counters.rejections,
            revoked: read(&tally.revoked),
            directory: u64::try_from(shared.home.entries()).unwrap_or(0),
            partitions: u32::try_from(partitions).unwrap_or(0),
            dirty: figures.dirty,
            lost: read(&tally.lost),
            memory: None,
            store: shared.memory.store().as_str().to_owned(),
        }
    }
}
