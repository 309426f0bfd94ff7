//! Tests of the bridge to openraft.

use std::path::Path;
use std::thread::{self, ThreadId};

use super::*;
use crate::raft::fs::{Fs, FsFile, FsLock, SimFs};

/// A machine without state.
struct Nothing;

impl Machine for Nothing {
    type Command = ();
    type Response = ();

    fn apply(&mut self, _: At, (): ()) {}
    fn snapshot(&self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn restore(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn restore_backup(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn now_ms(&self) -> u64 {
        0
    }
}

/// A file system that remembers which threads it was used on.
#[derive(Debug, Default)]
struct Watched {
    fs: SimFs,
    on: Mutex<Vec<ThreadId>>,
}

impl Watched {
    fn used(&self) -> &SimFs {
        self.on.lock().push(thread::current().id());
        &self.fs
    }
}

impl Fs for Watched {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.used().create_dir_all(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.used().create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.used().open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.used().rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.used().remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.used().list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.used().sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FsLock>> {
        self.used().lock(path)
    }
}

#[tokio::test]
async fn snapshots_are_written_and_read_beside_the_runtime() {
    let fs = Arc::new(Watched::default());
    let disk: Arc<dyn Fs> = fs.clone();
    let snapshots = SnapshotStore::open(disk, Path::new("/data/snapshots")).unwrap();
    let mut machine = StateMachine(Shared::open(Nothing, snapshots, false).unwrap());
    fs.on.lock().clear();
    machine.build_snapshot().await.unwrap();
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    machine.install_snapshot(&current.meta, current.snapshot).await.unwrap();
    let here = thread::current().id();
    let used = fs.on.lock();
    assert!(!used.is_empty() && !used.contains(&here), "{used:?}, the runtime is on {here:?}");
}
