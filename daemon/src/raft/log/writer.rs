//! The one writer: takes everything that waits, writes once, syncs once, then answers in order.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dsync::peer;
use openraft::storage::IOFlushed;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::error::{LogError, LogFailure};
use super::mutant::{self, Mutant};
use super::record::{self, Head, Kind, SMALL};
use super::recover::Complete;
use super::segment::{self, Segment};
use super::store::Shared;
use crate::raft::fs::{Fs, FsLock};
use crate::raft::types::TypeConfig;

/// Most bytes that are written before a sync, unless one call alone has more.
const BATCH_MAX: usize = 4 << 20;

/// What is to be written.
#[derive(Debug)]
pub(super) enum Change {
    /// Entries, encoded as one record, and the place of the last one.
    Entries(Vec<u8>, peer::LogId),
    Vote(peer::Vote),
    Truncate(Option<peer::LogId>),
    Purge(peer::LogId),
}

impl Change {
    fn size(&self) -> usize {
        match self {
            Self::Entries(record, _) => record.len(),
            Self::Vote(_) | Self::Truncate(_) | Self::Purge(_) => 0,
        }
    }
}

/// Whom to tell.
pub(super) enum Done {
    Nobody,
    Flushed(IOFlushed<TypeConfig>),
    Reply(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: Result<(), &LogFailure>) {
        let result = result.map_err(LogFailure::to_io);
        match self {
            Self::Nobody => {}
            Self::Flushed(callback) => callback.io_completed(result),
            // Who stopped waiting does not want to know.
            Self::Reply(sender) => drop(sender.send(result)),
        }
    }
}

/// A change and whom to tell once it is on disk.
pub(super) struct Command {
    pub(super) change: Change,
    pub(super) done: Done,
}

/// Owns the files.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) active: Segment,
    /// Highest index of an entry in the active segment.
    pub(super) highest: Option<u64>,
    pub(super) complete: VecDeque<Complete>,
    /// State at the end of what was written.
    pub(super) state: Head,
    pub(super) segment_bytes: usize,
    pub(super) step: usize,
    /// Released before `ended` is told, by the order of these two.
    #[expect(dead_code, reason = "held until the writer has ended")]
    pub(super) lock: Box<dyn FsLock>,
    #[expect(dead_code, reason = "tells by being dropped")]
    pub(super) ended: Ended,
}

/// Tells when it is dropped that the writer has ended.
#[derive(Debug)]
pub(super) struct Ended(pub(super) Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.writer_ended();
    }
}

/// Commands that were written together.
struct Batch {
    done: Vec<Done>,
    vote: Option<peer::Vote>,
    purge: bool,
    sync: bool,
    written: Instant,
}

impl Writer {
    /// Runs on a thread of its own until every sender is gone.
    pub(super) fn run_on_thread(mut self, mut queue: mpsc::Receiver<Command>) {
        while let Some(first) = queue.blocking_recv() {
            let mut commands = Vec::with_capacity(queue.len() + 1);
            let mut size = take(&mut commands, first);
            while size < BATCH_MAX
                && let Ok(next) = queue.try_recv()
            {
                size += take(&mut commands, next);
            }
            if let Some(batch) = self.write(commands) {
                self.complete(batch);
            }
        }
        self.finish();
    }

    /// Runs as a task, for files that do not block; `sync_takes` passes before each sync.
    pub(super) async fn run_as_task(
        mut self,
        mut queue: mpsc::Receiver<Command>,
        sync_takes: Duration,
    ) {
        while let Some(first) = queue.recv().await {
            let mut commands = Vec::new();
            let mut size = take(&mut commands, first);
            while size < BATCH_MAX {
                let Ok(next) = queue.try_recv() else { break };
                size += take(&mut commands, next);
            }
            if let Some(batch) = self.write(commands) {
                if batch.sync && !sync_takes.is_zero() {
                    tokio::time::sleep(sync_takes).await;
                }
                self.complete(batch);
            }
        }
        self.finish();
    }

    /// Writes commands to the active segment, or answers all of them that the store has failed.
    fn write(&mut self, commands: Vec<Command>) -> Option<Batch> {
        let (changes, done): (Vec<_>, Vec<_>) =
            commands.into_iter().map(|command| (command.change, command.done)).unzip();
        let mut batch =
            Batch { done, vote: None, purge: false, sync: false, written: Instant::now() };
        let failure = self.shared.failure().or_else(|| {
            let error = self.put(changes, &mut batch).err()?;
            Some(self.fail(&error))
        });
        if let Some(failure) = failure {
            batch.done.into_iter().for_each(|done| done.tell(Err(&failure)));
            return None;
        }
        batch.written = Instant::now();
        Some(batch)
    }

    fn put(&mut self, changes: Vec<Change>, batch: &mut Batch) -> Result<(), LogError> {
        let mut payloads = Vec::with_capacity(changes.len());
        let mut after = self.state;
        let mut highest = None;
        for change in changes {
            batch.sync |= needs_sync(&change);
            match change {
                Change::Entries(record, last) => {
                    payloads.push((Kind::Entries, record));
                    highest = highest.max(Some(last.index));
                    after.last = Some(last);
                }
                Change::Vote(vote) => {
                    payloads.push((Kind::Vote, record::encode(&vote, SMALL)?));
                    batch.vote = Some(vote);
                    after.vote = Some(vote);
                }
                Change::Truncate(place) => {
                    payloads.push((Kind::Truncate, record::encode(&place, SMALL)?));
                    after.truncate_after(place);
                }
                Change::Purge(place) => {
                    payloads.push((Kind::Purge, record::encode(&place, SMALL)?));
                    batch.purge = true;
                    after.purge(place);
                }
            }
        }
        if let Some(place) = self.shared.take_committed(after.last) {
            payloads.push((Kind::Committed, record::encode(&Some(place), SMALL)?));
            after.committed = Some(place);
        }
        self.put_records(&payloads)?;
        self.highest = self.highest.max(highest);
        self.state = after;
        Ok(())
    }

    fn put_records(&mut self, payloads: &[(Kind, Vec<u8>)]) -> Result<(), LogError> {
        let size: usize = payloads.iter().map(|(_, payload)| record::HEADER + payload.len()).sum();
        let used = self.active.end > self.active.body;
        if used && self.active.end + size > self.segment_bytes {
            self.rotate()?;
        }
        let mut bytes = Vec::with_capacity(size);
        for (kind, payload) in payloads {
            let place = (self.active.sequence, self.active.end + bytes.len());
            record::frame(&mut bytes, place, self.active.synced, *kind, payload)?;
        }
        self.active.write(&bytes, self.step)
    }

    /// Completes the active segment and begins the next.
    fn rotate(&mut self) -> Result<(), LogError> {
        if self.active.dirty() {
            self.active.sync()?;
        }
        let sequence = self.active.sequence + 1;
        self.state.sequence = sequence;
        let next = Segment::create(self.fs.as_ref(), &self.dir, &self.state)?;
        let old = std::mem::replace(&mut self.active, next);
        self.complete.push_back(Complete {
            sequence: old.sequence,
            highest: self.highest.take(),
            bytes: old.allocated(),
        });
        Ok(())
    }

    /// Syncs a batch and answers its commands.
    fn complete(&mut self, mut batch: Batch) {
        if mutant::active(Mutant::AckBeforeSync) {
            batch.done.drain(..).for_each(|done| done.tell(Ok(())));
        }
        match self.settle(&batch) {
            Ok(()) => batch.done.into_iter().for_each(|done| done.tell(Ok(()))),
            Err(error) => {
                let failure = self.fail(&error);
                batch.done.into_iter().for_each(|done| done.tell(Err(&failure)));
            }
        }
    }

    fn settle(&mut self, batch: &Batch) -> Result<(), LogError> {
        if batch.sync {
            self.active.sync()?;
            self.shared.synced(batch.written.elapsed(), self.state.last);
        }
        if let Some(vote) = &batch.vote {
            self.shared.vote_saved(vote);
        }
        if batch.purge {
            self.remove_purged()?;
        }
        let older: usize = self.complete.iter().map(|segment| segment.bytes).sum();
        self.shared.segments(self.complete.len() + 1, older + self.active.allocated());
        Ok(())
    }

    /// Removes segments of which every entry is purged, oldest first.
    fn remove_purged(&mut self) -> Result<(), LogError> {
        let Some(purged) = self.state.purged else { return Ok(()) };
        let mut removed = false;
        while let Some(oldest) = self.complete.front() {
            if oldest.highest.is_some_and(|highest| highest > purged.index) {
                break;
            }
            let path = self.dir.join(segment::name(oldest.sequence));
            self.fs.remove(&path).map_err(|e| LogError::io("remove", &path, e))?;
            self.complete.pop_front();
            removed = true;
        }
        if removed {
            self.fs.sync_dir(&self.dir).map_err(|e| LogError::io("sync", &self.dir, e))?;
        }
        Ok(())
    }

    fn fail(&self, error: &LogError) -> LogFailure {
        tracing::error!(%error, "the Raft log stops for good");
        let failure = LogFailure::new(error);
        self.shared.fail(failure.clone());
        failure
    }

    /// Ends with a record that was written after everything else was synced, so that damage to
    /// the last batch can be told from an interrupted write.
    fn finish(mut self) {
        if self.shared.failure().is_some() || self.active.end == self.active.body {
            return;
        }
        if let Err(error) = self.close() {
            self.fail(&error);
        }
    }

    fn close(&mut self) -> Result<(), LogError> {
        if self.active.dirty() {
            self.active.sync()?;
        }
        let newer = self.shared.take_committed(self.state.last);
        let committed = newer.or(self.state.committed);
        self.put_records(&[(Kind::Committed, record::encode(&committed, SMALL)?)])?;
        self.state.committed = committed;
        self.active.sync()
    }
}

fn needs_sync(change: &Change) -> bool {
    match change {
        Change::Vote(_) => !mutant::active(Mutant::VoteNotSynced),
        Change::Entries(..) | Change::Truncate(_) | Change::Purge(_) => true,
    }
}

/// Adds a command to those at hand; returns its size.
fn take(commands: &mut Vec<Command>, command: Command) -> usize {
    let size = command.change.size();
    commands.push(command);
    size
}
