//! Segments: their names, their making, their bytes.

use std::io;
use std::path::{Path, PathBuf};

use super::error::LogError;
use super::record::{self, Head, Kind, SMALL};
use crate::raft::fs::{Fs, FsFile};

/// The first bytes of every segment.
pub(super) const MAGIC: &[u8; 8] = b"DSYNCLOG";

/// File name of a segment.
pub(super) fn name(sequence: u64) -> String {
    format!("log-{sequence:016x}.seg")
}

fn sequence_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// True when a folder holds a log.
///
/// # Errors
/// The system's; a folder that is not there holds none.
pub fn holds_log(fs: &dyn Fs, dir: &Path) -> io::Result<bool> {
    match fs.list(dir) {
        Ok(names) => Ok(names.iter().any(|name| sequence_of(name).is_some())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sequences of the segments in a folder, ascending; what a crash left half made is removed.
pub(super) fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>, LogError> {
    let mut found = Vec::new();
    for file in fs.list(dir).map_err(|e| LogError::io("list", dir, e))? {
        if let Some(sequence) = sequence_of(&file) {
            found.push(sequence);
        } else if file.strip_suffix(".tmp").and_then(sequence_of).is_some() {
            let path = dir.join(file);
            fs.remove(&path).map_err(|e| LogError::io("remove", &path, e))?;
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes a temporary file and gives it its name.
fn fill(
    fs: &dyn Fs,
    file: &dyn FsFile,
    bytes: &[u8],
    temporary: &Path,
    path: &Path,
) -> Result<(), LogError> {
    file.write_at(bytes, 0).map_err(|e| LogError::io("write", temporary, e))?;
    file.sync_data().map_err(|e| LogError::io("sync", temporary, e))?;
    fs.rename(temporary, path).map_err(|e| LogError::io("rename to", path, e))
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) path: PathBuf,
    file: Box<dyn FsFile>,
    /// Where the next record goes.
    pub(super) end: usize,
    /// How much of it is on disk.
    pub(super) synced: usize,
    /// Where the records after the head begin.
    pub(super) body: usize,
    /// Length of the file.
    allocated: usize,
}

impl Segment {
    /// Makes a segment whose head says `head`, and gives it its name once it is on disk.
    pub(super) fn create(fs: &dyn Fs, dir: &Path, head: &Head) -> Result<Self, LogError> {
        let mut bytes = MAGIC.to_vec();
        let place = (head.sequence, bytes.len());
        record::frame(&mut bytes, place, 0, Kind::Head, &record::encode(head, SMALL)?)?;
        let body = bytes.len();
        Self::create_with(fs, dir, head.sequence, &bytes, body)
    }

    /// Makes a segment of these bytes, replacing one of the same sequence.
    pub(super) fn create_with(
        fs: &dyn Fs,
        dir: &Path,
        sequence: u64,
        bytes: &[u8],
        body: usize,
    ) -> Result<Self, LogError> {
        let path = dir.join(name(sequence));
        let temporary = dir.join(format!("{}.tmp", name(sequence)));
        let file = fs.create(&temporary).map_err(|e| LogError::io("create", &temporary, e))?;
        let filled = fill(fs, file.as_ref(), bytes, &temporary, &path);
        if filled.is_err() {
            // On a full disk every byte counts. If it cannot be removed, the next start does it.
            drop(fs.remove(&temporary));
        }
        filled?;
        fs.sync_dir(dir).map_err(|e| LogError::io("sync", dir, e))?;
        let end = bytes.len();
        Ok(Self { sequence, path, file, end, synced: end, body, allocated: end })
    }

    /// Writes records at the end, and space for more ahead when it is used up.
    pub(super) fn write(&mut self, bytes: &[u8], step: usize) -> Result<(), LogError> {
        let end = self.end + bytes.len();
        if end > self.allocated {
            let allocated = end.next_multiple_of(step.max(1));
            let zeros = vec![0; allocated - self.allocated];
            self.write_at(&zeros, self.allocated)?;
            self.allocated = allocated;
        }
        self.write_at(bytes, self.end)?;
        self.end = end;
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: usize) -> Result<(), LogError> {
        let offset = u64::try_from(offset).unwrap_or(u64::MAX);
        self.file.write_at(bytes, offset).map_err(|e| LogError::io("write", &self.path, e))
    }

    /// Puts what was written on disk.
    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|e| LogError::io("sync", &self.path, e))?;
        self.synced = self.end;
        Ok(())
    }

    /// True when something was written that is not on disk yet.
    pub(super) const fn dirty(&self) -> bool {
        self.synced < self.end
    }

    /// Bytes of disk that it takes.
    pub(super) const fn allocated(&self) -> usize {
        self.allocated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sequences_match() {
        assert_eq!(name(26), "log-000000000000001a.seg");
        assert_eq!(sequence_of(&name(u64::MAX)), Some(u64::MAX));
        for other in ["log-1a.seg", "log-000000000000001a.tmp", "snap", "log-00000000000000zz.seg"]
        {
            assert_eq!(sequence_of(other), None);
        }
    }
}
