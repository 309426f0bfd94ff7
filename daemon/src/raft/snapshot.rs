//! Snapshots on disk: written beside, synced, renamed; the newest is kept.
//!
//! A file is `DSYNCSNP | format u8 | header length u32 | header | data | xxh3 u64`, little endian.
//! The header is [`dsync::peer`] types in postcard: the last entry covered, the entry of the
//! membership in force and that membership. The checksum covers everything before it.
//!
//! # Guarantees
//! 1. A name `snap-….snap` is given only to a file that is complete on disk.
//! 2. Older snapshots are removed only after that, and their removal never hurts.
//! 3. The newest snapshot is the one: when it is damaged nothing older is used in its place,
//!    because the log may have been purged up to it.
//!
//! Everything here blocks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dsync::peer;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::fs::{Fs, FsFile, advice, read_all};
use super::types::{
    LogId, SnapshotMeta, StoredMembership, Unusable, log_id_from_peer, log_id_to_peer,
    membership_from_peer, membership_to_peer,
};

const MAGIC: &[u8; 8] = b"DSYNCSNP";
const FORMAT: u8 = 1;
/// Magic, format and header length.
const FIXED: usize = 13;
const CHECKSUM: usize = 8;
/// Bytes that are written at a time.
const PIECE: usize = 1 << 20;

/// Why a snapshot cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refused an operation.
    #[error("cannot {doing} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The newest snapshot does not hold what was written.
    #[error(
        "snapshot {} is damaged: {why}. Nothing older is used in its place, the log begins behind \
         it. Check the disk; then move this node's data directory away and start it again: it \
         rejoins with a new raft id and copies the state from the others",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The file is from a later version of the program.
    #[error(
        "snapshot {} has format {format}, this version reads format {FORMAT}: start the newer \
         version",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        format: u8,
    },
    /// The log begins behind what the snapshots hold.
    #[error(
        "{} holds {}, and the log of this node begins behind entry {purged}: a snapshot was \
         removed. Put it back, or move this node's data directory away and start it again: it \
         rejoins with a new raft id and copies the state from the others",
        dir.display(), covered.map_or_else(
            || "no snapshot".to_owned(),
            |index| format!("a snapshot of the entries up to {index} only")
        )
    )]
    Missing {
        /// The folder.
        dir: PathBuf,
        /// The last entry that the newest snapshot covers.
        covered: Option<u64>,
        /// The last entry that the log no longer has.
        purged: u64,
    },
    /// A piece does not follow the one before.
    #[error("a piece of a snapshot at {offset}, expected at {expected}")]
    OutOfOrder {
        /// Where it belongs.
        offset: u64,
        /// What came so far.
        expected: u64,
    },
}

impl SnapshotError {
    /// What kind of failure it is, as the system names them.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Damaged { .. } | Self::Missing { .. } => io::ErrorKind::InvalidData,
            Self::Format { .. } => io::ErrorKind::Unsupported,
            Self::OutOfOrder { .. } => io::ErrorKind::InvalidInput,
        }
    }
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// A state machine's state at a place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it covers.
    pub meta: SnapshotMeta,
    /// The state, encoded by the machine.
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    last: Option<peer::LogId>,
    membership_at: Option<peer::LogId>,
    membership: peer::Membership,
}

impl Header {
    fn of(meta: &SnapshotMeta) -> Self {
        let stored = &meta.last_membership;
        Self {
            last: meta.last_log_id.as_ref().map(log_id_to_peer),
            membership_at: stored.log_id().as_ref().map(log_id_to_peer),
            membership: membership_to_peer(stored.membership()),
        }
    }

    fn meta(&self) -> Result<SnapshotMeta, Unusable> {
        let membership = membership_from_peer(&self.membership)?;
        let at = self.membership_at.map(log_id_from_peer);
        Ok(SnapshotMeta {
            last_log_id: self.last.map(log_id_from_peer),
            last_membership: StoredMembership::new(at, membership),
        })
    }

    /// File name: it sorts by what is covered.
    fn name(&self) -> String {
        let (next, term) = self.last.map_or((0, 0), |last| (last.index + 1, last.term));
        format!("snap-{next:016x}-{term:016x}.snap")
    }
}

/// The snapshots of one node.
#[derive(Debug)]
pub struct SnapshotStore {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    drafts: AtomicU64,
    /// Held while a snapshot becomes the newest.
    publishing: Mutex<()>,
}

impl SnapshotStore {
    /// Opens a folder, or makes it, and removes what was not finished in it.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self, SnapshotError> {
        fs.create_dir_all(dir).map_err(io_error("create", dir))?;
        if let Some(parent) = dir.parent() {
            fs.sync_dir(parent).map_err(io_error("sync", parent))?;
        }
        for name in fs.list(dir).map_err(io_error("list", dir))? {
            if name.starts_with("draft-") {
                let path = dir.join(name);
                fs.remove(&path).map_err(io_error("remove", &path))?;
            }
        }
        let (drafts, publishing) = (AtomicU64::new(0), Mutex::new(()));
        Ok(Self { fs, dir: dir.to_path_buf(), drafts, publishing })
    }

    /// Names of the snapshots, the newest last.
    fn names(&self) -> Result<Vec<String>, SnapshotError> {
        let mut names = self.fs.list(&self.dir).map_err(io_error("list", &self.dir))?;
        names.retain(|name| name.starts_with("snap-"));
        Ok(names)
    }

    /// The newest snapshot, checked.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] or [`SnapshotError::Format`] name the file; nothing older is
    /// used in its place.
    pub fn current(&self) -> Result<Option<Snapshot>, SnapshotError> {
        let publishing = self.publishing.lock();
        let Some(name) = self.names()?.pop() else { return Ok(None) };
        let path = self.dir.join(&name);
        let bytes = read_all(self.fs.as_ref(), &path).map_err(io_error("read", &path))?;
        drop(publishing);
        let (header, start, end) = parse(&path, &bytes)?;
        let damaged = |why: String| SnapshotError::Damaged { path: path.clone(), why };
        if header.name() != name {
            return Err(damaged(format!("it holds {}", header.name())));
        }
        let meta = header.meta().map_err(|error| damaged(error.to_string()))?;
        let mut data = bytes;
        data.truncate(end);
        data.drain(..start);
        Ok(Some(Snapshot { meta, data }))
    }

    /// Checks that a log purged up to `purged` goes on from what the newest snapshot covers.
    ///
    /// # Errors
    /// [`SnapshotError::Missing`].
    pub fn check_covers(
        &self,
        covered: Option<LogId>,
        purged: Option<LogId>,
    ) -> Result<(), SnapshotError> {
        let covered = covered.map(|id| id.index());
        match purged.map(|id| id.index()) {
            Some(purged) if covered < Some(purged) => {
                Err(SnapshotError::Missing { dir: self.dir.clone(), covered, purged })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps a snapshot and removes older ones. It is on disk when this returns; one that covers
    /// less than the newest is not kept.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]: the newest is what it was.
    pub fn save(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let mut draft = self.draft(&snapshot.meta)?;
        for piece in snapshot.data.chunks(PIECE) {
            draft.write(draft.written(), piece)?;
        }
        draft.finish()
    }

    /// Begins a snapshot that comes in pieces.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn draft(&self, meta: &SnapshotMeta) -> Result<Draft<'_>, SnapshotError> {
        let header = Header::of(meta);
        let number = self.drafts.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("draft-{number}.tmp"));
        let file = self.fs.create(&path).map_err(io_error("create", &path))?;
        let name = header.name();
        let (length, hash) = (0, Xxh3Default::new());
        let mut draft = Draft { store: self, file, path, name, length, data_at: 0, hash };
        let encoded = postcard::to_stdvec(&header)
            .map_err(|error| io_error("encode the header of", &draft.path)(other(error)))?;
        let size = u32::try_from(encoded.len())
            .map_err(|error| io_error("encode the header of", &draft.path)(other(error)))?;
        draft.put(&[MAGIC, &[FORMAT][..], &size.to_le_bytes(), &encoded].concat())?;
        draft.data_at = draft.length;
        Ok(draft)
    }

    fn publish(&self, draft: &Path, name: &str) -> Result<(), SnapshotError> {
        let publishing = self.publishing.lock();
        let newest = self.names()?.pop();
        if newest.is_some_and(|newest| newest.as_str() > name) {
            return Ok(());
        }
        let path = self.dir.join(name);
        self.fs.rename(draft, &path).map_err(io_error("rename to", &path))?;
        self.fs.sync_dir(&self.dir).map_err(io_error("sync", &self.dir))?;
        for older in self.names()?.iter().filter(|older| older.as_str() < name) {
            let path = self.dir.join(older);
            self.fs.remove(&path).map_err(io_error("remove", &path))?;
        }
        drop(publishing);
        Ok(())
    }
}

/// A snapshot that is being written; dropped unfinished it leaves nothing.
pub struct Draft<'a> {
    store: &'a SnapshotStore,
    file: Box<dyn FsFile>,
    path: PathBuf,
    name: String,
    length: u64,
    data_at: u64,
    hash: Xxh3Default,
}

impl fmt::Debug for Draft<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("path", &self.path).field("length", &self.length).finish()
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        // Finished, it has another name by now. If it cannot be removed, the next start does it.
        drop(self.store.fs.remove(&self.path));
    }
}

impl Draft<'_> {
    /// Bytes of data so far: where the next piece belongs.
    pub const fn written(&self) -> u64 {
        self.length - self.data_at
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// [`SnapshotError::OutOfOrder`]: it does not follow; nothing was changed.
    pub fn write(&mut self, offset: u64, piece: &[u8]) -> Result<(), SnapshotError> {
        let expected = self.written();
        if offset != expected {
            return Err(SnapshotError::OutOfOrder { offset, expected });
        }
        self.put(piece)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let write = io_error("write", &self.path);
        self.file.write_at(bytes, self.length).map_err(write)?;
        self.hash.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Makes it the newest snapshot, unless a newer one is there. On disk when this returns.
    ///
    /// # Errors
    /// [`SnapshotError::Io`]: the newest is what it was.
    pub fn finish(mut self) -> Result<(), SnapshotError> {
        let checksum = self.hash.digest().to_le_bytes();
        self.put(&checksum)?;
        self.file.sync_data().map_err(io_error("sync", &self.path))?;
        self.store.publish(&self.path, &self.name)
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_path_buf();
    move |source| SnapshotError::Io { doing, path, source }
}

/// Checks a file; its header and where its data begins and ends.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Header, usize, usize), SnapshotError> {
    let damaged = |why: &str| SnapshotError::Damaged { path: path.into(), why: why.to_owned() };
    if !bytes.starts_with(MAGIC) {
        return Err(damaged("it does not begin as a snapshot does"));
    }
    let (body, checksum) =
        bytes.split_last_chunk::<CHECKSUM>().ok_or_else(|| damaged("it is too short"))?;
    if xxhash_rust::xxh3::xxh3_64(body) != u64::from_le_bytes(*checksum) {
        return Err(damaged("its checksum does not match"));
    }
    let (fixed, rest) = body.split_at_checked(FIXED).ok_or_else(|| damaged("it is too short"))?;
    let [.., format, a, b, c, d] = fixed else { return Err(damaged("it is too short")) };
    if *format != FORMAT {
        return Err(SnapshotError::Format { path: path.into(), format: *format });
    }
    let size = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
    let encoded = rest.get(..size).ok_or_else(|| damaged("its header is cut off"))?;
    let header = postcard::from_bytes(encoded).map_err(|error| damaged(&error.to_string()))?;
    Ok((header, FIXED + size, body.len()))
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
