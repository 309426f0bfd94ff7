//! The store as openraft and the daemon see it.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dsync::peer;
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};

use super::error::{LogError, LogFailure};
use super::memory::{Memory, weight};
use super::record::{self, RECORD_MAX};
use super::recover::recover;
use super::stats::{Latencies, SyncLatency};
use super::writer::{Change, Command, Done, Ended, Writer};
use crate::raft::fs::Fs;
use crate::raft::types::{
    Entry, LogId, TypeConfig, Vote, entry_to_peer, log_id_from_peer, log_id_to_peer,
    vote_from_peer, vote_to_peer,
};

/// Most calls that wait for the writer.
pub const QUEUE_MAX: usize = 4_096;
/// Entries of one append are cut into records of about this size.
const RECORD_AIM: usize = 1 << 20;
/// Most bytes that a limited read returns, unless one entry alone has more.
const READ_MAX: usize = 4 << 20;

/// Where the writer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterKind {
    /// On a thread of its own: for files that block.
    Thread,
    /// As a task of the current runtime, so that a simulation is deterministic.
    Task {
        /// Passes before each sync.
        sync_takes: Duration,
    },
}

/// Settings of a store.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// Where the writer runs.
    pub writer: WriterKind,
    /// A segment that has grown to this size is completed.
    pub segment_bytes: usize,
    /// Zeros are written ahead in steps of this size.
    pub step_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { writer: WriterKind::Thread, segment_bytes: 16 << 20, step_bytes: 1 << 20 }
    }
}

/// What the handles share.
#[derive(Debug)]
pub(super) struct Shared {
    memory: RwLock<Memory>,
    disk: Mutex<Disk>,
    failed: watch::Sender<Option<LogFailure>>,
    ended: watch::Sender<bool>,
    observer: OnceLock<Observer>,
    /// Committed up to here, and not written yet.
    committed: Mutex<Option<peer::LogId>>,
}

/// Told how long each sync took.
struct Observer(Box<dyn Fn(Duration) + Send + Sync>);

impl Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

#[derive(Debug, Default)]
struct Disk {
    latencies: Latencies,
    flushed: Option<peer::LogId>,
    segments: usize,
    bytes: usize,
}

impl Shared {
    pub(super) fn failure(&self) -> Option<LogFailure> {
        self.failed.borrow().clone()
    }

    /// The first failure stands.
    pub(super) fn fail(&self, failure: LogFailure) {
        self.failed.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(failure);
            }
            first
        });
    }

    /// What is to be written as committed, if its entry is among those up to `last`.
    pub(super) fn take_committed(&self, last: Option<peer::LogId>) -> Option<peer::LogId> {
        self.committed.lock().take_if(|place| Some(*place) <= last)
    }

    pub(super) fn writer_ended(&self) {
        self.ended.send_replace(true);
    }

    pub(super) fn synced(&self, took: Duration, last: Option<peer::LogId>) {
        if let Some(Observer(observe)) = self.observer.get() {
            observe(took);
        }
        let mut disk = self.disk.lock();
        disk.latencies.record(took);
        disk.flushed = last;
    }

    pub(super) fn segments(&self, segments: usize, bytes: usize) {
        let mut disk = self.disk.lock();
        disk.segments = segments;
        disk.bytes = bytes;
    }

    pub(super) fn vote_saved(&self, vote: &peer::Vote) {
        // It came from openraft, so it names a candidate.
        if let Ok(vote) = vote_from_peer(vote) {
            self.memory.write().vote = Some(vote);
        }
    }

    fn check(&self) -> io::Result<()> {
        self.failed.borrow().as_ref().map_or(Ok(()), |failure| Err(failure.to_io()))
    }
}

/// What there is to say of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The vote.
    pub vote: Option<Vote>,
    /// Purged up to here.
    pub purged: Option<LogId>,
    /// The last entry, flushed or not.
    pub last: Option<LogId>,
    /// The last entry on disk.
    pub flushed: Option<LogId>,
    /// Entries in memory.
    pub entries: usize,
    /// About how many bytes of memory they take.
    pub memory_bytes: usize,
    /// Files.
    pub segments: usize,
    /// Bytes of disk they take.
    pub disk_bytes: usize,
    /// How long syncs take.
    pub sync: SyncLatency,
    /// Why the store stopped, if it did.
    pub failed: Option<LogFailure>,
}

/// Reads entries and the vote.
#[derive(Debug, Clone)]
pub struct LogReader(Arc<Shared>);

/// Watches a log: for status, metrics and the end of the process.
#[derive(Debug, Clone)]
pub struct LogWatch(Arc<Shared>);

impl LogWatch {
    /// What there is to say now.
    pub fn status(&self) -> LogStatus {
        let memory = self.0.memory.read();
        let disk = self.0.disk.lock();
        let (entries, memory_bytes) = memory.size();
        LogStatus {
            vote: memory.vote,
            purged: memory.purged,
            last: memory.last,
            flushed: disk.flushed.map(log_id_from_peer),
            entries,
            memory_bytes,
            segments: disk.segments,
            disk_bytes: disk.bytes,
            sync: disk.latencies.summary(),
            failed: self.0.failure(),
        }
    }

    /// Has `observe` told how long each sync takes, from now on; the first one asked for stands.
    pub fn observe(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        self.0.observer.get_or_init(|| Observer(Box::new(observe)));
    }

    /// Why the store stopped for good, if it did.
    pub fn failure(&self) -> Option<LogFailure> {
        self.0.failure()
    }

    /// Becomes `Some` once, when the store stops for good: the process should then end, with a
    /// status other than 0.
    pub fn failed(&self) -> watch::Receiver<Option<LogFailure>> {
        self.0.failed.subscribe()
    }

    /// Returns when the store was dropped, everything that waited is on disk, and its files may
    /// be opened again.
    ///
    /// # Cancel safety
    /// Nothing is lost when dropped.
    pub async fn closed(&self) {
        let mut ended = self.0.ended.subscribe();
        // The sender is in `self`, so this ends by the value alone.
        drop(ended.wait_for(|ended| *ended).await);
    }
}

/// The Raft log of one node. The module's documentation says what it guarantees.
#[derive(Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Command>,
    simulated: bool,
}

impl LogStore {
    /// Opens the log in a folder, or begins one.
    ///
    /// With [`WriterKind::Thread`] this blocks; with [`WriterKind::Task`] it must be called inside
    /// a runtime.
    ///
    /// # Errors
    /// [`LogError`]: the folder is in use, cannot be read, or what it holds is damaged.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, options: LogOptions) -> Result<Self, LogError> {
        fs.create_dir_all(dir).map_err(|e| LogError::io("create", dir, e))?;
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent).map_err(|e| LogError::io("sync", parent, e))?;
        }
        let path = dir.join("lock");
        let lock = fs.lock(&path).map_err(|e| {
            if e.kind() == io::ErrorKind::WouldBlock {
                LogError::InUse { path: path.clone() }
            } else {
                LogError::io("lock", &path, e)
            }
        })?;
        let found = recover(fs.as_ref(), dir)?;
        let state = found.memory.head(found.active.sequence);
        let bytes = found.complete.iter().map(|s| s.bytes).sum::<usize>();
        let disk = Disk {
            latencies: Latencies::default(),
            flushed: state.last,
            segments: found.complete.len() + 1,
            bytes: bytes + found.active.allocated(),
        };
        let shared = Arc::new(Shared {
            memory: RwLock::new(found.memory),
            disk: Mutex::new(disk),
            failed: watch::Sender::new(None),
            ended: watch::Sender::new(false),
            observer: OnceLock::new(),
            committed: Mutex::new(None),
        });
        let writer = Writer {
            fs,
            dir: dir.to_path_buf(),
            shared: Arc::clone(&shared),
            active: found.active,
            highest: found.highest,
            complete: found.complete,
            state,
            segment_bytes: options.segment_bytes,
            step: options.step_bytes,
            lock,
            ended: Ended(Arc::clone(&shared)),
        };
        let queue = start(writer, options.writer, dir)?;
        let simulated = options.writer != WriterKind::Thread;
        Ok(Self { shared, queue, simulated })
    }

    /// True when the writer is a task, as in a simulation.
    pub fn is_simulated(&self) -> bool {
        self.simulated
    }

    /// A handle for status and metrics.
    pub fn watch(&self) -> LogWatch {
        LogWatch(Arc::clone(&self.shared))
    }

    /// Room in the queue. Nothing is changed before there is, so that a caller who gives up
    /// while waiting has changed nothing.
    async fn room(&self) -> io::Result<mpsc::Permit<'_, Command>> {
        self.shared.check()?;
        self.queue.reserve().await.map_err(|_| self.gone())
    }

    fn gone(&self) -> io::Error {
        self.shared.failure().unwrap_or_else(LogFailure::writer_gone).to_io()
    }

    /// Changes memory and has the change put on disk; returns once it is.
    async fn durably(&self, change: Change, remember: impl FnOnce(&mut Memory)) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let permit = self.room().await?;
        remember(&mut self.shared.memory.write());
        permit.send(Command { change, done: Done::Reply(sender) });
        receiver.await.map_err(|_| self.gone())?
    }
}

fn start(writer: Writer, kind: WriterKind, dir: &Path) -> Result<mpsc::Sender<Command>, LogError> {
    let (sender, receiver) = mpsc::channel(QUEUE_MAX);
    match kind {
        WriterKind::Thread => {
            std::thread::Builder::new()
                .name("raft-log".to_owned())
                .spawn(move || writer.run_on_thread(receiver))
                .map_err(|e| LogError::io("start a writer for", dir, e))?;
        }
        WriterKind::Task { sync_takes } => {
            tokio::spawn(writer.run_as_task(receiver, sync_takes));
        }
    }
    Ok(sender)
}

/// Encodes entries as records of about [`RECORD_AIM`] bytes.
fn encode(entries: &[Entry]) -> Result<Vec<Change>, LogError> {
    let mut changes = Vec::with_capacity(1);
    let mut group = Vec::with_capacity(entries.len());
    let mut size = 0;
    for entry in entries {
        let weight = weight(entry);
        if weight > RECORD_MAX {
            let index = entry.log_id.index();
            return Err(LogError::TooLarge { index, size: weight, max: RECORD_MAX });
        }
        if size + weight > RECORD_AIM {
            close_group(&mut changes, &mut group, size)?;
            size = 0;
        }
        size += weight;
        group.push(entry_to_peer(entry));
    }
    close_group(&mut changes, &mut group, size)?;
    Ok(changes)
}

fn close_group(
    changes: &mut Vec<Change>,
    group: &mut Vec<peer::Entry>,
    size: usize,
) -> Result<(), LogError> {
    if let Some(last) = group.last().map(|entry| entry.id) {
        changes.push(Change::Entries(record::encode(group, size)?, last));
        group.clear();
    }
    Ok(())
}

fn send(room: &mut mpsc::PermitIterator<'_, Command>, change: Change, done: Done) {
    // As many places were reserved as there are changes.
    if let Some(permit) = room.next() {
        permit.send(Command { change, done });
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.0.check()?;
        Ok(self.0.memory.read().range(&range).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0.check()?;
        Ok(self.0.memory.read().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.0.check()?;
        let memory = self.0.memory.read();
        let mut size = 0;
        let fits = |entry: &&Entry| {
            let first = size == 0;
            size += weight(entry);
            first || size <= READ_MAX
        };
        Ok(memory.range(&(start..end)).take_while(fits).cloned().collect())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        LogReader(Arc::clone(&self.shared)).try_get_log_entries(range).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        LogReader(Arc::clone(&self.shared)).read_vote().await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.shared.check()?;
        let memory = self.shared.memory.read();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(Arc::clone(&self.shared))
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        // Readers see it once it is saved: the writer puts it into memory.
        self.durably(Change::Vote(vote_to_peer(vote)), |_| ()).await
    }

    /// Written with what comes next: a committed entry is on a quorum's disks already, and waking
    /// the writer for each commit would cost as much as the entry itself.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.check()?;
        self.shared.memory.write().committed = committed;
        *self.shared.committed.lock() = committed.as_ref().map(log_id_to_peer);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.shared.check()?;
        Ok(self.shared.memory.read().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut changes = encode(&entries)?;
        let Some(last) = changes.pop() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        self.shared.check()?;
        let room = self.queue.reserve_many(changes.len() + 1).await;
        let mut room = room.map_err(|_| self.gone())?;
        self.shared.memory.write().append_all(entries)?;
        for change in changes {
            send(&mut room, change, Done::Nobody);
        }
        send(&mut room, last, Done::Flushed(callback));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let change = Change::Truncate(last_log_id.as_ref().map(log_id_to_peer));
        self.durably(change, |memory| memory.truncate_after(last_log_id)).await
    }

    /// Returns before the purge is on disk: lost in a crash, it leaves entries that a snapshot
    /// covers, and is done again.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let permit = self.room().await?;
        self.shared.memory.write().purge(log_id);
        let change = Change::Purge(log_id_to_peer(&log_id));
        permit.send(Command { change, done: Done::Nobody });
        Ok(())
    }
}
