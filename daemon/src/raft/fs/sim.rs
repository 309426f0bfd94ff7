//! A file system in memory that fails as disks do.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Fs, FsFile, FsLock};

/// What is left of unsynced writes and names after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Everything: the process was killed, the machine was not.
    Process,
    /// Nothing: the machine lost power before any of it reached the disk.
    Power,
    /// Some blocks of 64 bytes and some names, drawn from this seed: the machine lost power while
    /// it wrote back in an order of its own.
    Scattered(u64),
}

/// Files in memory with a durable and a volatile half.
///
/// A clone is the same file system. Handles that were open at a crash fail from then on.
#[derive(Debug, Clone, Default)]
pub struct SimFs(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, u64>,
    /// Names as a power cut leaves them.
    durable_names: BTreeMap<PathBuf, u64>,
    locks: BTreeSet<PathBuf>,
    next_inode: u64,
    generation: u64,
    written: u64,
    syncs: u64,
    power_cut_at: Option<u64>,
    full_at: Option<u64>,
    fail_sync_at: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    /// As programs see it.
    current: Vec<u8>,
    /// As a power cut leaves it.
    durable: Vec<u8>,
    /// Where the two may differ, so that a sync costs what was written and not the whole file.
    dirty: Range<usize>,
    /// An fsync failed: the system dropped the dirty pages, a later fsync says nothing about them.
    forsaken: bool,
}

const BLOCK: usize = 64;

impl Inode {
    fn grow(&mut self, len: usize) {
        let before = self.current.len();
        if before < len {
            self.current.resize(len, 0);
            self.soil(before..len);
        }
    }

    fn soil(&mut self, range: Range<usize>) {
        self.dirty = if self.dirty.is_empty() {
            range
        } else {
            self.dirty.start.min(range.start)..self.dirty.end.max(range.end)
        };
    }

    /// Makes the durable half equal to the other.
    fn write_back(&mut self) {
        let len = self.current.len();
        self.durable.resize(len, 0);
        let dirty = self.dirty.start.min(len)..self.dirty.end.min(len);
        let halves = (self.durable.get_mut(dirty.clone()), self.current.get(dirty));
        if let (Some(old), Some(new)) = halves {
            old.copy_from_slice(new);
        }
        self.dirty = 0..0;
    }
}

impl SimFs {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything written so far, in bytes, over all files.
    pub fn written(&self) -> u64 {
        self.0.lock().written
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Power goes when this many bytes more are written: the write that reaches the limit is torn
    /// there, and every operation fails from then on until [`SimFs::crash`].
    pub fn cut_power_after(&self, bytes: u64) {
        let mut state = self.0.lock();
        state.power_cut_at = Some(state.written + bytes);
    }

    /// The disk has room for this many bytes more; `None` gives it room again.
    pub fn full_after(&self, bytes: Option<u64>) {
        let mut state = self.0.lock();
        state.full_at = bytes.map(|n| state.written + n);
    }

    /// The `nth` sync of a file from now (1 is the next) fails with EIO, once.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.0.lock();
        state.fail_sync_at = Some(state.syncs + nth);
    }

    /// The process ends, with or without the machine. Open files are void, locks are free, the
    /// faults that were set are taken back. What ran on it should be dropped first.
    pub fn crash(&self, crash: Crash) {
        let mut state = self.0.lock();
        state.generation += 1;
        state.locks.clear();
        state.power_cut_at = None;
        state.full_at = None;
        state.fail_sync_at = None;
        let mut dice = match crash {
            Crash::Process => return,
            Crash::Power => None,
            Crash::Scattered(seed) => Some(Dice(seed)),
        };
        for inode in state.inodes.values_mut() {
            inode.current = survivors(inode, dice.as_mut());
            inode.durable.clone_from(&inode.current);
            inode.dirty = 0..0;
            inode.forsaken = false;
        }
        // A folder's names survive together or not at all: one journal transaction.
        if !dice.as_mut().is_some_and(Dice::keep) {
            state.names = state.durable_names.clone();
        }
        state.durable_names = state.names.clone();
        let used: BTreeSet<u64> = state.names.values().copied().collect();
        state.inodes.retain(|id, _| used.contains(id));
    }

    /// Turns one bit of a file over, behind everybody's back.
    ///
    /// # Errors
    /// `NotFound`: no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: usize, bit: u8) -> io::Result<()> {
        let mut state = self.0.lock();
        let inode = state.inode_mut(path)?;
        for half in [&mut inode.current, &mut inode.durable] {
            let byte = half.get_mut(offset).ok_or_else(|| io::Error::from(not_found()))?;
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    /// Sets the bytes of a file, durable at once.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let id = match state.names.get(path) {
            Some(id) => *id,
            None => state.add(path),
        };
        state.durable_names.insert(path.to_path_buf(), id);
        let (current, durable) = (bytes.to_vec(), bytes.to_vec());
        let inode = Inode { current, durable, ..Inode::default() };
        state.inodes.insert(id, inode);
    }

    fn with<T>(
        &self,
        generation: u64,
        f: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.0.lock();
        let cut = state.power_cut_at.is_some_and(|at| state.written >= at);
        if cut || state.generation != generation {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        f(&mut state)
    }

    fn now<T>(&self, f: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let generation = self.0.lock().generation;
        self.with(generation, f)
    }

    fn file(&self, inode: u64, generation: u64) -> Box<dyn FsFile> {
        Box::new(SimFile { fs: self.clone(), inode, generation })
    }
}

const fn not_found() -> io::ErrorKind {
    io::ErrorKind::NotFound
}

/// What a file holds after a power cut: its durable half, with those blocks of the other half
/// that the dice keep.
fn survivors(inode: &Inode, dice: Option<&mut Dice>) -> Vec<u8> {
    let Some(dice) = dice else { return inode.durable.clone() };
    let mut left = inode.durable.clone();
    if !inode.forsaken && inode.current.len() != left.len() && dice.keep() {
        left.resize(inode.current.len(), 0);
    }
    for (old, new) in left.chunks_mut(BLOCK).zip(inode.current.chunks(BLOCK)) {
        if !inode.forsaken && old != new && dice.keep() {
            old.iter_mut().zip(new).for_each(|(old, new)| *old = *new);
        }
    }
    left
}

/// splitmix64: enough for dice, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn keep(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 1
    }
}

impl State {
    fn add(&mut self, path: &Path) -> u64 {
        self.next_inode += 1;
        let id = self.next_inode;
        self.inodes.insert(id, Inode::default());
        self.names.insert(path.to_path_buf(), id);
        id
    }

    fn inode_mut(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let id = self.names.get(path).copied().ok_or_else(not_found)?;
        self.by_id(id)
    }

    fn by_id(&mut self, id: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&id).ok_or_else(|| not_found().into())
    }

    /// Writes as much as power and room allow.
    fn write(&mut self, id: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let wanted = u64::try_from(bytes.len()).map_err(io::Error::other)?;
        let room = self.full_at.map_or(wanted, |at| at.saturating_sub(self.written));
        let power = self.power_cut_at.map_or(wanted, |at| at.saturating_sub(self.written));
        let written = wanted.min(room).min(power);
        self.written += written;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let count = usize::try_from(written).map_err(io::Error::other)?;
        let inode = self.by_id(id)?;
        inode.grow(start + count);
        inode.soil(start..start + count);
        let target = inode.current.iter_mut().skip(start);
        bytes.iter().take(count).zip(target).for_each(|(new, old)| *old = *new);
        if power <= room && power < wanted {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        if written < wanted {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()));
        }
        Ok(())
    }
}

impl Fs for SimFs {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.now(|state| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok((state.add(path), state.generation))
        })
        .map(|(id, generation)| self.file(id, generation))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.now(|state| {
            let id = state.names.get(path).copied().ok_or_else(not_found)?;
            Ok((id, state.generation))
        })
        .map(|(id, generation)| self.file(id, generation))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.now(|state| {
            let id = state.names.remove(from).ok_or_else(not_found)?;
            state.names.insert(to.to_path_buf(), id);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.now(|state| state.names.remove(path).map(|_| ()).ok_or_else(|| not_found().into()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.now(|state| {
            let inside = state.names.keys().filter_map(|path| path.strip_prefix(dir).ok());
            let names = inside.filter_map(|path| path.components().next());
            let names = names.map(|name| name.as_os_str().to_string_lossy().into_owned());
            let names: BTreeSet<String> = names.collect();
            Ok(names.into_iter().collect())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.now(|state| {
            state.durable_names.retain(|path, _| path.parent() != Some(dir));
            let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
            state.durable_names.extend(inside.map(|(path, id)| (path.clone(), *id)));
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FsLock>> {
        self.now(|state| {
            if !state.locks.insert(path.to_path_buf()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(state.generation)
        })
        .map(|generation| {
            let lock = SimLock { fs: self.clone(), path: path.to_path_buf(), generation };
            let lock: Box<dyn FsLock> = Box::new(lock);
            lock
        })
    }
}

#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    inode: u64,
    generation: u64,
}

impl FsFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.fs.with(self.generation, |state| {
            u64::try_from(state.by_id(self.inode)?.current.len()).map_err(io::Error::other)
        })
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        self.fs.with(self.generation, |state| {
            let current = &state.by_id(self.inode)?.current;
            let rest = current.get(start..).unwrap_or_default();
            buf.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            Ok(rest.len().min(buf.len()))
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.fs.with(self.generation, |state| state.write(self.inode, bytes, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.fs.with(self.generation, |state| {
            let inode = state.by_id(self.inode)?;
            let before = inode.current.len();
            inode.current.resize(len, 0);
            inode.soil(before.min(len)..before.max(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.with(self.generation, |state| {
            state.syncs += 1;
            let fails = state.fail_sync_at == Some(state.syncs);
            let inode = state.by_id(self.inode)?;
            if fails {
                inode.forsaken = true;
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            if !inode.forsaken {
                inode.write_back();
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    path: PathBuf,
    generation: u64,
}

impl FsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.fs.0.lock();
        if state.generation == self.generation {
            state.locks.remove(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_writes_back_whatever_was_changed() {
        let mut dice = Dice(7);
        let mut draw =
            |below: u64| (0..12).fold(0, |sum, _| sum * 2 + u64::from(dice.keep())) % below;
        let fs = SimFs::new();
        let file = fs.create(Path::new("f")).unwrap();
        for round in 0..2_000 {
            match draw(4) {
                0 => file.set_len(draw(500)).unwrap(),
                1 => file.sync_data().unwrap(),
                _ => {
                    let bytes = vec![
                        u8::try_from(round % 251).unwrap();
                        1 + usize::try_from(draw(40)).unwrap()
                    ];
                    file.write_at(&bytes, draw(500)).unwrap();
                }
            }
            if draw(3) == 0 {
                file.sync_data().unwrap();
                let state = fs.0.lock();
                assert!(state.inodes.values().all(|inode| inode.current == inode.durable));
            }
        }
    }
}
