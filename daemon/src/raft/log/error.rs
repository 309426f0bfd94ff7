//! What can be wrong with the log.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::raft::fs::advice;

/// Why the log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
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
    /// A file does not hold what was written to it.
    #[error(
        "{} is damaged at byte {offset}: {detail}. This is no interrupted write, the bytes were on \
         disk. Nothing was changed. Check the disk; then move this node's data directory away and \
         start it again: it rejoins with a new raft id and copies the log from the others",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What was found.
        detail: String,
    },
    /// Entries that were written are not there.
    #[error(
        "entries {first} to {last} are missing: no file before {} holds them. Put the removed files \
         back, or move this node's data directory away and start it again: it rejoins with a new \
         raft id and copies the log from the others",
        path.display()
    )]
    Missing {
        /// The oldest file found.
        path: PathBuf,
        /// First entry that is missing.
        first: u64,
        /// Last entry that is missing.
        last: u64,
    },
    /// The file is from a later version of the program.
    #[error(
        "{} has format {format} at byte {offset}, this version reads format {known}: start the \
         newer version",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What it says.
        format: u8,
        /// What this version reads.
        known: u8,
    },
    /// Another process has it open.
    #[error("{} is in use by another process: stop that one, or set another DATA_DIR", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// An entry is too large to be written.
    #[error("entry {index} is {size} bytes, the log takes {max} at most: send smaller commands")]
    TooLarge {
        /// Its index.
        index: u64,
        /// Its size.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The caller would leave a hole.
    #[error("entry {index} does not follow the last entry {last}")]
    Hole {
        /// Its index.
        index: u64,
        /// The last entry's.
        last: u64,
    },
    /// A payload cannot be encoded.
    #[error("cannot encode a record: {0}")]
    Encode(postcard::Error),
}

impl LogError {
    /// The system refused `doing` something with a file.
    pub(super) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_path_buf(), source }
    }

    pub(super) fn damaged(path: &Path, offset: usize, detail: impl Into<String>) -> Self {
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        Self::Damaged { path: path.to_path_buf(), offset, detail: detail.into() }
    }

    /// What kind of failure it is, as the system names them.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Damaged { .. } | Self::Missing { .. } => io::ErrorKind::InvalidData,
            Self::Format { .. } => io::ErrorKind::Unsupported,
            Self::InUse { .. } => io::ErrorKind::WouldBlock,
            Self::TooLarge { .. } | Self::Hole { .. } | Self::Encode(_) => {
                io::ErrorKind::InvalidInput
            }
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Why the store stopped for good; every later call fails with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFailure {
    kind: io::ErrorKind,
    message: String,
}

impl LogFailure {
    pub(super) fn new(error: &LogError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }

    pub(super) fn writer_gone() -> Self {
        Self {
            kind: io::ErrorKind::BrokenPipe,
            message: "the writer of the Raft log has ended".to_owned(),
        }
    }

    /// The same failure as an I/O error.
    pub fn to_io(&self) -> io::Error {
        io::Error::new(self.kind, self.clone())
    }
}

impl fmt::Display for LogFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the Raft log has stopped: {}", self.message)
    }
}

impl std::error::Error for LogFailure {}
