//! Runs scripts of calls on a simulated disk and knows what a reopened log may hold.
//!
//! All changes go through one queue, so a log that was cut off anywhere must hold the state after
//! some number of the calls that were made, and at least after the last one that was acknowledged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use tokio::runtime::Runtime;

use super::super::error::LogError;
use super::super::store::{LogOptions, LogStore, LogWatch, WriterKind};
use crate::raft::fs::{Crash, SimFs};
use crate::raft::types::{Entry, EntryPayload, LogId, Proposal, TypeConfig, Vote};

pub(super) const DIR: &str = "/data/log";

/// Small segments and steps: every few calls begin a new one.
pub(super) const SMALL: LogOptions = LogOptions {
    writer: WriterKind::Task { sync_takes: Duration::from_micros(50) },
    segment_bytes: 300,
    step_bytes: 64,
};

/// A call.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// So many entries with so many bytes each; the answer is awaited at the next `Settle`.
    Append(u8, u8),
    /// A vote of a new term, for this node.
    Vote(u8),
    /// Drops so many entries from the end.
    Truncate(u8),
    /// Purges all but so many entries.
    Purge(u8),
    /// Purges so far behind the end: a snapshot was installed.
    PurgeAhead(u8),
    /// Says that everything is committed.
    Commit,
    /// Waits for everything.
    Settle,
}

/// What a log holds, but for what it knows to be committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) entries: Vec<Entry>,
}

impl State {
    fn term(&self) -> u64 {
        self.vote.map_or(1, |vote| vote.leader_id().term)
    }

    fn next(&self) -> u64 {
        self.last.map_or(0, |last| last.index() + 1)
    }

    fn append(&mut self, count: u8, size: u8) -> Vec<Entry> {
        let term = self.term();
        let entries: Vec<Entry> = (self.next()..)
            .take(count.into())
            .map(|index| {
                let data = Bytes::from(vec![size ^ 0x5a; size.into()]);
                let payload = match index % 4 {
                    0 => EntryPayload::Blank,
                    _ => EntryPayload::Normal(Proposal { t_ms: index, nonce: term, data }),
                };
                Entry { log_id: LogId::new_term_index(term, index), payload }
            })
            .collect();
        self.entries.extend(entries.iter().cloned());
        self.last = entries.last().map(|entry| entry.log_id).or(self.last);
        entries
    }

    fn place_from_end(&self, back: u8) -> Option<LogId> {
        let position = self.entries.len().checked_sub(usize::from(back) + 1);
        position.and_then(|position| self.entries.get(position)).map(|entry| entry.log_id)
    }

    fn truncate(&mut self, back: u8) -> Option<LogId> {
        let place = self.place_from_end(back).or(self.purged);
        self.entries.truncate(self.entries.len().saturating_sub(back.into()));
        self.last = place;
        place
    }

    fn purge(&mut self, place: LogId) {
        self.entries.retain(|entry| entry.log_id.index() > place.index());
        self.purged = Some(place);
        if self.next() <= place.index() {
            self.last = Some(place);
        }
    }
}

/// A script that was run, up to its end or to a failure.
#[derive(Debug)]
pub(super) struct Run {
    /// The state before and after every call that was made.
    pub(super) states: Vec<State>,
    /// How many calls are acknowledged, those before the last acknowledged one included.
    pub(super) acknowledged: usize,
    /// What was said to be committed.
    pub(super) committed: Vec<LogId>,
    /// The log failed or could not be opened.
    pub(super) failed: bool,
}

/// A simulated disk and a runtime whose time passes by itself.
pub(super) struct Rig {
    pub(super) fs: SimFs,
    runtime: Runtime,
}

impl Rig {
    pub(super) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        Self { fs: SimFs::new(), runtime }
    }

    /// Forgets everything on the disk.
    pub(super) fn reset(&mut self) {
        self.fs = SimFs::new();
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn open(&self) -> Result<LogStore, LogError> {
        let _inside = self.runtime.enter();
        LogStore::open(Arc::new(self.fs.clone()), Path::new(DIR), SMALL)
    }

    /// Drops a store and waits until its writer has ended.
    pub(super) fn close(&self, store: LogStore) -> LogWatch {
        let watch = store.watch();
        drop(store);
        self.block_on(watch.closed());
        watch
    }

    /// Opens the log, runs a script on it from a known state, and closes it.
    pub(super) fn run(&self, from: &State, script: &[Op]) -> Run {
        let mut run = Run {
            states: vec![from.clone()],
            acknowledged: 0,
            committed: Vec::new(),
            failed: true,
        };
        if let Ok(mut store) = self.open() {
            run.failed = !self.block_on(execute(&mut store, script, &mut run));
            self.close(store);
        }
        run
    }

    /// What the log holds; the store is closed again.
    pub(super) fn read(&self) -> Result<(State, Option<LogId>), LogError> {
        let mut store = self.open()?;
        let read = self.block_on(async {
            let state = store.get_log_state().await.unwrap();
            let held = State {
                vote: store.read_vote().await.unwrap(),
                purged: state.last_purged_log_id,
                last: state.last_log_id,
                entries: store.try_get_log_entries(..).await.unwrap(),
            };
            (held, store.read_committed().await.unwrap())
        });
        self.close(store);
        Ok(read)
    }

    /// The power goes now, nothing more is written.
    pub(super) fn crash(&self, crash: Crash) {
        self.fs.cut_power_after(0);
        self.fs.crash(crash);
    }

    /// Runs a script until `cut` bytes are written, crashes, reopens, and checks what is there.
    pub(super) fn cut(&self, script: &[Op], cut: u64, crash: Crash) -> Result<State, String> {
        self.fs.cut_power_after(cut);
        let run = self.run(&State::default(), script);
        self.fs.crash(crash);
        self.check(&run)
    }

    /// Checks that the log holds a state that it may hold after a run.
    pub(super) fn check(&self, run: &Run) -> Result<State, String> {
        let (state, committed) = self.read().map_err(|error| error.to_string())?;
        if committed.is_some_and(|committed| !run.committed.contains(&committed)) {
            return Err(format!("committed {committed:?} was never said"));
        }
        let legal = run.states.get(run.acknowledged..).unwrap_or_default();
        if legal.contains(&state) {
            return Ok(state);
        }
        let lost = run.states.contains(&state);
        let why = if lost { "something acknowledged is lost" } else { "no such state was written" };
        Err(format!("{why}: {state:?}"))
    }
}

async fn execute(store: &mut LogStore, script: &[Op], run: &mut Run) -> bool {
    let mut waiting = Vec::new();
    let mut state = run.states.last().cloned().unwrap_or_default();
    let mut fine = true;
    for (call, op) in (1..).zip(script) {
        if let Some(done) = make(store, *op, &mut state, run, &mut waiting, call).await {
            run.states.push(state.clone());
            fine &= done;
        } else {
            run.states.push(state.clone());
            settle(&mut waiting, run).await;
        }
        if !fine {
            break;
        }
    }
    settle(&mut waiting, run).await && fine
}

type Waiting = Vec<(usize, tokio::sync::oneshot::Receiver<std::io::Result<()>>)>;

/// Waits for answers; false if one is an error.
async fn settle(waiting: &mut Waiting, run: &mut Run) -> bool {
    let mut fine = true;
    for (call, receiver) in waiting.drain(..) {
        if matches!(receiver.await, Ok(Ok(()))) {
            run.acknowledged = run.acknowledged.max(call);
        } else {
            fine = false;
        }
    }
    fine
}

/// Makes one call. `None` for `Settle`, else whether it succeeded so far.
async fn make(
    store: &mut LogStore,
    op: Op,
    state: &mut State,
    run: &mut Run,
    waiting: &mut Waiting,
    call: usize,
) -> Option<bool> {
    let answered = match op {
        Op::Settle => return None,
        Op::Append(count, size) => {
            let (sender, receiver) = TypeConfig::oneshot();
            let appended = store.append(state.append(count, size), IOFlushed::signal(sender)).await;
            waiting.push((call, receiver));
            return Some(appended.is_ok());
        }
        Op::Commit => {
            run.committed.extend(state.last);
            return Some(store.save_committed(state.last).await.is_ok());
        }
        Op::Purge(keep) => {
            let Some(place) = state.place_from_end(keep) else { return Some(true) };
            state.purge(place);
            return Some(store.purge(place).await.is_ok());
        }
        Op::PurgeAhead(by) => {
            let place = LogId::new_term_index(state.term(), state.next() + u64::from(by));
            state.purge(place);
            return Some(store.purge(place).await.is_ok());
        }
        Op::Vote(by) => {
            let vote = Vote::new(state.term() + u64::from(by), 1);
            state.vote = Some(vote);
            store.save_vote(&vote).await
        }
        Op::Truncate(back) => {
            let place = state.truncate(back);
            store.truncate_after(place).await
        }
    };
    if answered.is_ok() {
        run.acknowledged = run.acknowledged.max(call);
    }
    Some(answered.is_ok())
}
