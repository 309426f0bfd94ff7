//! Who owns a data directory: its node, its role, its raft id and its cluster.
//!
//! The file `identity` is text, so that a person can tell whose directory it is. It is replaced as
//! a whole and ends with a checksum. The file `lock` keeps a second process out.

use std::io;
use std::num::ParseIntError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dsync_core::node::{ClusterId, RaftId, Role};
use xxhash_rust::xxh3::xxh3_64;

use super::fs::{Fs, FsLock, advice, read_all, replace};
use super::log::holds_log;

const FILE: &str = "identity";
const FORMAT: &str = "dsync identity 1";
/// Names that may be in a data directory. Others mean that it is someone else's.
const OURS: [&str; 6] = ["identity", "identity.tmp", "lock", "log", "snapshots", "lost+found"];

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
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
    /// Another process uses it.
    #[error("DATA_DIR {} is in use by another process: stop that one, or set another DATA_DIR", .0.display())]
    InUse(PathBuf),
    /// It holds files that are not ours.
    #[error(
        "DATA_DIR {} is not a data directory of dsync, it holds {names}: set DATA_DIR to an empty \
         or new directory",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Some of the files.
        names: String,
    },
    /// It holds a log, and no identity.
    #[error(
        "DATA_DIR {} holds a log but no file `identity`: put that file back, or move the directory \
         away and start again: the node rejoins with a new raft id",
        .0.display()
    )]
    Lost(PathBuf),
    /// It has an identity in a cluster, and no log.
    #[error(
        "{} holds no log, and DATA_DIR {} belongs to a node of cluster {cluster}: what this node \
         promised the others is lost, so it may not vote under its old raft id. Put the folder's \
         files back (is their disk mounted?), or move the whole data directory away and start \
         again: the node rejoins with a new raft id and copies the log from the others",
        dir.join("log").display(), dir.display()
    )]
    LogLost {
        /// The data directory.
        dir: PathBuf,
        /// The cluster.
        cluster: ClusterId,
    },
    /// It belongs to another node.
    #[error(
        "DATA_DIR {} belongs to node {found:?}, this is node {wanted:?}: set DATA_DIR to this node's \
         own directory, or NODE_ID to {found:?}",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// NODE_ID in it.
        found: String,
        /// NODE_ID of this process.
        wanted: String,
    },
    /// It belongs to a node of another role.
    #[error(
        "DATA_DIR {} belongs to a {found} node, this is a {wanted} node: set DATA_DIR to this \
         node's own directory, or start it with --node-type {found}",
        path.display()
    )]
    OtherRole {
        /// The directory.
        path: PathBuf,
        /// The role in it.
        found: Role,
        /// The role of this process.
        wanted: Role,
    },
    /// The node belongs to another cluster.
    #[error(
        "this node belongs to cluster {found}, not to {wanted}: to move it there, stop it, move {} \
         away and start it again",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        found: ClusterId,
        /// The other.
        wanted: ClusterId,
    },
    /// The file cannot be read as an identity.
    #[error(
        "{} is damaged or of a later version ({why}): put a good copy back, or move the data \
         directory away and start again: the node rejoins with a new raft id",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl IdentityError {
    /// What kind of failure it is, as the system names them.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::InUse(_) => io::ErrorKind::WouldBlock,
            Self::Foreign { .. }
            | Self::OtherNode { .. }
            | Self::OtherRole { .. }
            | Self::OtherCluster { .. } => io::ErrorKind::InvalidInput,
            Self::Lost(_) | Self::LogLost { .. } | Self::Damaged { .. } => {
                io::ErrorKind::InvalidData
            }
        }
    }
}

impl From<IdentityError> for io::Error {
    fn from(error: IdentityError) -> Self {
        Self::other(error)
    }
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    node: String,
    role: Role,
    raft_id: RaftId,
    cluster: Option<ClusterId>,
    starts: u64,
    /// Rises with every start, whatever the clock says.
    incarnation: u64,
}

/// A data directory that this process owns, until it is dropped.
#[derive(Debug)]
pub struct Identity {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    stored: Stored,
    #[expect(dead_code, reason = "held for as long as the directory is used")]
    lock: Box<dyn FsLock>,
}

/// The raft id of a node in its `incarnation`-th life, of which the low 32 bits count.
pub fn raft_id(node: &str, incarnation: u64) -> RaftId {
    (xxh3_64(node.as_bytes()) << 32) | (incarnation & 0xffff_ffff)
}

impl Identity {
    /// Takes a data directory, or makes a new one, and counts the start.
    ///
    /// `birth` is the incarnation of the raft id in a new directory. It must differ from that of
    /// every directory which this node lost before: a node that comes back empty may never vote
    /// under its old raft id. `now_ms` is the wall clock, which may have been set back since the last
    /// start. Blocks.
    ///
    /// # Errors
    /// [`IdentityError`]: in use, foreign, of another node or role, damaged, not writable.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        node: &str,
        role: Role,
        birth: u64,
        now_ms: u64,
    ) -> Result<Self, IdentityError> {
        fs.create_dir_all(dir).map_err(io_error("create", dir))?;
        // Before the lock, since nothing may be written into a directory of someone else.
        let names = fs.list(dir).map_err(io_error("list", dir))?;
        if find(fs.as_ref(), dir, &names, node, role)?.is_none() {
            check_foreign(dir, &names)?;
        }
        let lock_path = dir.join("lock");
        let lock = fs.lock(&lock_path).map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                IdentityError::InUse(dir.to_path_buf())
            } else {
                io_error("lock", &lock_path)(error)
            }
        })?;
        // Another start may have come between: what counts is what is there under the lock.
        let names = fs.list(dir).map_err(io_error("list", dir))?;
        let stored = if let Some(stored) = find(fs.as_ref(), dir, &names, node, role)? {
            stored
        } else {
            check_new(dir, &names)?;
            let raft_id = raft_id(node, birth);
            Stored {
                node: node.to_owned(),
                role,
                raft_id,
                cluster: None,
                starts: 0,
                incarnation: 0,
            }
        };
        let mut identity = Self { fs, dir: dir.to_path_buf(), stored, lock };
        let starts = identity.stored.starts.saturating_add(1);
        let incarnation = identity.stored.incarnation.saturating_add(1).max(now_ms);
        identity.save(Stored { starts, incarnation, ..identity.stored.clone() })?;
        Ok(identity)
    }

    fn save(&mut self, stored: Stored) -> Result<(), IdentityError> {
        let path = self.dir.join(FILE);
        replace(self.fs.as_ref(), &self.dir, FILE, encode(&stored).as_bytes())
            .map_err(io_error("write", &path))?;
        self.stored = stored;
        Ok(())
    }

    /// The node's raft id: it names one life of the node, one log.
    pub fn raft_id(&self) -> RaftId {
        self.stored.raft_id
    }

    /// The cluster it belongs to, once it does.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.stored.cluster
    }

    /// How often a process started on this directory, this time included.
    pub fn starts(&self) -> u64 {
        self.stored.starts
    }

    /// This start's number: larger than that of every start before on this directory, and on one
    /// that was lost, unless the clock was set back since.
    pub fn incarnation(&self) -> u64 {
        self.stored.incarnation
    }

    /// Checks that the log is there if there ever was something in it: a log begins before its node
    /// joins a cluster, and only then is it asked for votes. Without it the node would vote once
    /// more in a term, and for one who lacks what it acknowledged. Blocks.
    ///
    /// # Errors
    /// [`IdentityError::LogLost`]; [`IdentityError::Io`] when the folder cannot be read.
    pub fn check_log(&self) -> Result<(), IdentityError> {
        let Some(cluster) = self.stored.cluster else { return Ok(()) };
        let log = self.dir.join("log");
        if holds_log(self.fs.as_ref(), &log).map_err(io_error("list", &log))? {
            return Ok(());
        }
        Err(IdentityError::LogLost { dir: self.dir.clone(), cluster })
    }

    /// Remembers the cluster. On disk when this returns; blocks.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`]: a node stays with its cluster. [`IdentityError::Io`]: it is
    /// not known what is on disk; try again or end.
    pub fn join(&mut self, cluster: ClusterId) -> Result<(), IdentityError> {
        match self.stored.cluster {
            Some(found) if found == cluster => Ok(()),
            Some(found) => {
                Err(IdentityError::OtherCluster { path: self.dir.clone(), found, wanted: cluster })
            }
            None => self.save(Stored { cluster: Some(cluster), ..self.stored.clone() }),
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_path_buf();
    move |source| IdentityError::Io { doing, path, source }
}

/// The identity in a directory that lists these names, if it is this node's.
fn find(
    fs: &dyn Fs,
    dir: &Path,
    names: &[String],
    node: &str,
    role: Role,
) -> Result<Option<Stored>, IdentityError> {
    if !names.iter().any(|name| name == FILE) {
        return Ok(None);
    }
    let path = dir.join(FILE);
    let bytes = read_all(fs, &path).map_err(io_error("read", &path))?;
    let stored = decode(&bytes).map_err(|why| IdentityError::Damaged { path, why })?;
    check(dir, &stored, node, role)?;
    Ok(Some(stored))
}

fn check(dir: &Path, stored: &Stored, node: &str, role: Role) -> Result<(), IdentityError> {
    let path = dir.to_path_buf();
    if stored.node != node {
        let (found, wanted) = (stored.node.clone(), node.to_owned());
        return Err(IdentityError::OtherNode { path, found, wanted });
    }
    if stored.role != role {
        return Err(IdentityError::OtherRole { path, found: stored.role, wanted: role });
    }
    Ok(())
}

/// A directory without identity must be empty, but for what a first start may have left.
fn check_new(dir: &Path, names: &[String]) -> Result<(), IdentityError> {
    check_foreign(dir, names)?;
    // The log is opened after the identity was written, so a log without one has lost it.
    if names.iter().any(|name| name == "log") {
        return Err(IdentityError::Lost(dir.to_path_buf()));
    }
    Ok(())
}

/// Refuses a directory that holds what is not ours.
fn check_foreign(dir: &Path, names: &[String]) -> Result<(), IdentityError> {
    // The configuration keeps a name that it chose itself in `node_id`.
    let ours = |name: &str| {
        OURS.contains(&name) || name.starts_with('.') || name.split('.').next() == Some("node_id")
    };
    let foreign: Vec<&str> = names.iter().map(String::as_str).filter(|name| !ours(name)).collect();
    if let Some(names) = foreign.get(..foreign.len().min(3)).filter(|some| !some.is_empty()) {
        let names = names.join(", ");
        return Err(IdentityError::Foreign { path: dir.to_path_buf(), names });
    }
    Ok(())
}

fn encode(stored: &Stored) -> String {
    let Stored { node, role, raft_id, cluster, starts, incarnation } = stored;
    let cluster = cluster.map_or_else(|| "none".to_owned(), |cluster| cluster.to_string());
    let text = format!(
        "{FORMAT}\nnode={node}\nrole={role}\nraft_id={raft_id:016x}\ncluster={cluster}\n\
         starts={starts}\nincarnation={incarnation}\n"
    );
    let checksum = xxh3_64(text.as_bytes());
    format!("{text}checksum={checksum:016x}\n")
}

fn decode(bytes: &[u8]) -> Result<Stored, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let first = text.lines().next().unwrap_or_default();
    if first != FORMAT {
        return Err(format!("it begins with {:?}", first.chars().take(40).collect::<String>()));
    }
    let split = text.rfind("checksum=").ok_or("it has no checksum")?;
    let (body, checksum) = text.split_at(split);
    if checksum != format!("checksum={:016x}\n", xxh3_64(body.as_bytes())) {
        return Err("its checksum does not match".to_owned());
    }
    let value = |key: &str| {
        let line = body.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.ok_or_else(|| format!("it has no {key}"))
    };
    let hex = |key: &str| {
        u64::from_str_radix(value(key)?, 16).map_err(|error| format!("its {key}: {error}"))
    };
    let number = |key: &str| {
        value(key)?.parse().map_err(|error: ParseIntError| format!("its {key}: {error}"))
    };
    let role = value("role")?;
    Ok(Stored {
        node: value("node")?.to_owned(),
        role: Role::parse(role).ok_or_else(|| format!("its role is {role:?}"))?,
        raft_id: hex("raft_id")?,
        cluster: match value("cluster")? {
            "none" => None,
            _ => Some(ClusterId(hex("cluster")?)),
        },
        starts: number("starts")?,
        // Files of the first versions have none.
        incarnation: if value("incarnation").is_ok() { number("incarnation")? } else { 0 },
    })
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
