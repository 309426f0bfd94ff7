//! Reads of the lock service: linearizable at the leader, long polls included.

use std::time::Duration;

use dsync::api::{LockReply, LockRequest};
use dsync_core::Fault;
use dsync_core::lock::{Aged, Holding, LockMachine, Lookup, RequestKey, Token};
use dsync_core::name::Name;
use tokio::time::Instant;

use super::state::Awaited;
use super::{LockRole, LockState};
use crate::roles::leader::read_fault;

/// Longest slice of a long poll.
const SLICE: Duration = Duration::from_secs(5);
/// Items of one page.
const PAGE: u32 = 1_000;
/// Events of one page.
const EVENTS_PAGE: usize = 1_000;

impl LockRole {
    pub(super) async fn read(
        &self,
        request: &LockRequest,
        until: Instant,
    ) -> Result<LockReply, Fault> {
        let within = until.saturating_duration_since(Instant::now());
        // What is shown is told by the leader's clock as of now, not as of the last entry.
        let now = self.engine().leader_time().map_or(0, |(_, t)| t);
        match request {
            LockRequest::Await { key, wait_ms } => self.wait_for(*key, *wait_ms, within).await,
            LockRequest::Events { from_index, wait_ms } => {
                self.events(*from_index, *wait_ms, within).await
            }
            LockRequest::Holding { lock, token, known, wait_ms } => {
                let slice = SLICE.min(Duration::from_millis(*wait_ms)).min(within);
                self.engine().read(within, |_| ()).await.map_err(read_fault)?;
                Ok(LockReply::Holding(self.holding((lock, *token), known, slice).await))
            }
            LockRequest::Get { .. }
            | LockRequest::List { .. }
            | LockRequest::Validate { .. }
            | LockRequest::WaitGraph
            | LockRequest::Sessions { .. } => {
                let look = |state: &LockState| look(&state.machine, now, request);
                let seen = self.engine().read(within, look).await;
                seen.map_err(read_fault)?.ok_or_else(not_a_read)
            }
            LockRequest::Do(_) | LockRequest::KeepAlive { .. } => Err(not_a_read()),
        }
    }

    async fn wait_for(
        &self,
        key: RequestKey,
        wait_ms: u64,
        within: Duration,
    ) -> Result<LockReply, Fault> {
        let slice = SLICE.min(Duration::from_millis(wait_ms)).min(within);
        self.engine().read(within, |_| ()).await.map_err(read_fault)?;
        let receiver = match self.engine().peek(|state| state.look_or_wait(key)) {
            Awaited::Now(known) => return Ok(LockReply::Lookup(known)),
            Awaited::Later(receiver) => receiver,
        };
        let waiting = StopWaiting { role: self, key };
        let decided = tokio::time::timeout(slice, receiver).await;
        drop(waiting);
        Ok(LockReply::Lookup(match decided {
            Ok(Ok(outcome)) => Lookup::Done(outcome),
            _ => self.engine().peek(|state| state.machine.lookup(&key)),
        }))
    }

    async fn events(
        &self,
        from_index: u64,
        wait_ms: u64,
        within: Duration,
    ) -> Result<LockReply, Fault> {
        let slice = SLICE.min(Duration::from_millis(wait_ms)).min(within);
        self.engine().read(within, |_| ()).await.map_err(read_fault)?;
        let mut progress = self.engine().peek(|state| state.progress());
        let from = if from_index == 0 { *progress.borrow() + 1 } else { from_index };
        let until = Instant::now() + slice;
        loop {
            let (items, next_index, gap) =
                self.engine().peek(|state| state.events(from, EVENTS_PAGE));
            let quiet = items.is_empty() && !gap;
            if !quiet || Instant::now() >= until {
                return Ok(LockReply::Events { items, next_index, gap });
            }
            // Time over and no event are one and the same answer.
            drop(tokio::time::timeout_at(until, progress.changed()).await);
        }
    }

    async fn holding(&self, of: (&Name, Token), known: &Holding, slice: Duration) -> Holding {
        let until = Instant::now() + slice;
        // Dropped after the receiver below, which by then counts as gone.
        let _watching = StopWatching { role: self, of };
        let same = |now: &Holding| std::mem::discriminant(now) == std::mem::discriminant(known);
        loop {
            let now = self.engine().leader_time().map_or(0, |(_, t)| t);
            let (holding, change) = self.engine().peek(|state| state.holding(of.0, of.1, now));
            if !same(&holding) || Instant::now() >= until {
                return holding;
            }
            // Woken by a change, by another state put in place of this one, or by the time.
            drop(tokio::time::timeout_at(until, change).await);
        }
    }
}

/// What a plain read sees, told as of cluster time `now`.
fn look(machine: &LockMachine, now: u64, request: &LockRequest) -> Option<LockReply> {
    let age = now.saturating_sub(machine.now_ms());
    match request {
        LockRequest::Get { lock } => Some(LockReply::Lock(machine.get(lock.as_str()).aged(age))),
        LockRequest::List { prefix, waiting, after, limit } => {
            let (items, more) = machine.list(prefix, *waiting, after.as_ref(), page(*limit));
            Some(LockReply::Locks { items: items.aged(age), more })
        }
        LockRequest::Validate { lock, token } => {
            Some(LockReply::Valid(machine.validate(lock.as_str(), *token).aged(age)))
        }
        LockRequest::Sessions { after, limit } => {
            let (items, more) = machine.sessions(*after, page(*limit));
            Some(LockReply::Sessions { items: items.aged(age), more })
        }
        LockRequest::WaitGraph => {
            let (steps, more) = machine.wait_graph();
            Some(LockReply::WaitGraph { steps, more })
        }
        LockRequest::Do(_)
        | LockRequest::KeepAlive { .. }
        | LockRequest::Await { .. }
        | LockRequest::Events { .. }
        | LockRequest::Holding { .. } => None,
    }
}

fn not_a_read() -> Fault {
    Fault::new(dsync_core::Code::Internal, "a command was taken for a read")
}

fn page(limit: u32) -> usize {
    usize::try_from(limit.clamp(1, PAGE)).unwrap_or(1)
}

/// Takes a waiter out when its poll ends, however it ends.
struct StopWaiting<'a> {
    role: &'a LockRole,
    key: RequestKey,
}

impl Drop for StopWaiting<'_> {
    fn drop(&mut self) {
        self.role.engine().peek(|state| state.stopped_waiting(&self.key));
    }
}

/// Takes a watcher of a grant out when its poll ends, however it ends.
struct StopWatching<'a> {
    role: &'a LockRole,
    of: (&'a Name, Token),
}

impl Drop for StopWatching<'_> {
    fn drop(&mut self) {
        self.role.engine().peek(|state| state.stopped_watching(self.of.0, self.of.1));
    }
}
