//! The few file operations that the log, the snapshots and the identity need.
//!
//! They go through a trait so that a simulation can run the shipped code on [`SimFs`], which
//! forgets what was not synced, tears writes, fills up and fails an fsync on demand.
//!
//! What the callers rely on:
//! 1. Bytes written are on disk once `sync_data` of their file returned, and not before.
//! 2. A created, renamed or removed name is on disk once `sync_dir` of its folder returned.
//! 3. A rename is atomic: after a crash the name is the old file or the new one.
//! 4. After a failed sync nothing is known of what was written before it; it is never repeated.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

mod sim;

pub use sim::{Crash, SimFs};

/// File operations; all of them block.
pub trait Fs: fmt::Debug + Send + Sync + 'static {
    /// Makes a folder and those above it.
    ///
    /// # Errors
    /// The system's.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Makes a new, empty file, for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, or the system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or the system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Gives a file another name, replacing a file of that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound`, or the system's.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a folder, sorted.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The system's; see invariant 4.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Holds a lock file until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// `WouldBlock` when another process or another guard holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FsLock>>;
}

/// An open file.
pub trait FsFile: fmt::Debug + Send + Sync {
    /// Its length.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to `buf.len()` bytes; fewer only at the end of the file.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of the bytes.
    ///
    /// # Errors
    /// The system's; any part of the bytes may have been written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends with zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable, the length included.
    ///
    /// # Errors
    /// The system's; see invariant 4.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock until dropped.
pub trait FsLock: fmt::Debug + Send + Sync {}

/// The whole of a file.
///
/// # Errors
/// The system's.
pub fn read_all(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let len = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Replaces a file so that after a crash it is the old one or the new one, and never half.
///
/// # Errors
/// The system's. The old file stands unless the rename was done.
pub fn replace(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    match fs.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let file = fs.create(&temporary)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.sync_data());
    if let Err(error) = written.and_then(|()| fs.rename(&temporary, &dir.join(name))) {
        // On a full disk every byte counts. If it cannot be removed, the next call does it.
        drop(fs.remove(&temporary));
        return Err(error);
    }
    fs.sync_dir(dir)
}

/// What to do about an error of the system.
pub(super) fn advice(source: &io::Error) -> &'static str {
    let kind = source.kind();
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        " (free space on that disk, then start the node again)"
    } else if kind == io::ErrorKind::ReadOnlyFilesystem {
        " (mount that disk writable, or set another DATA_DIR)"
    } else if kind == io::ErrorKind::PermissionDenied {
        " (give the user of this process write access, or set another DATA_DIR)"
    } else {
        ""
    }
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FsLock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(RealLock(file)))
    }
}

#[derive(Debug)]
struct RealFile(File);

impl FsFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset + u64::try_from(done).map_err(io::Error::other)?;
            match self.0.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The lock lives as long as the open file.
#[derive(Debug)]
struct RealLock(#[expect(dead_code, reason = "held for its lock")] File);

impl FsLock for RealLock {}
