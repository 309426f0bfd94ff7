//! What happens to real files: torn ends, flipped bits, a disk that is full.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use dsd::raft::fs::RealFs;
use dsd::raft::log::{LogError, LogOptions, LogStore};
use dsd::raft::types::{Entry, EntryPayload, LogId, Proposal, TypeConfig};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

const SMALL: usize = 8 << 10;

fn options() -> LogOptions {
    LogOptions { segment_bytes: SMALL, step_bytes: SMALL, ..LogOptions::default() }
}

fn entry(index: u64) -> Entry {
    let data = vec![7; 100].into();
    let payload = EntryPayload::Normal(Proposal { t_ms: index, nonce: index, data });
    Entry { log_id: LogId::new_term_index(1, index), payload }
}

async fn append(store: &mut LogStore, index: u64) -> std::io::Result<()> {
    let (sender, receiver) = TypeConfig::oneshot();
    store.append([entry(index)], IOFlushed::signal(sender)).await?;
    receiver.await.map_err(std::io::Error::other)?
}

async fn close(store: LogStore) {
    let watch = store.watch();
    drop(store);
    watch.closed().await;
}

/// The files of a log of 200 entries as a kill leaves them, in a folder of their own.
async fn image() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (live, dead) = (folder.path().join("live"), folder.path().join("dead"));
    let mut store = LogStore::open(Arc::new(RealFs), &live, options()).unwrap();
    for index in 0..200 {
        append(&mut store, index).await.unwrap();
    }
    fs::create_dir(&dead).unwrap();
    for file in segments(&live) {
        fs::copy(&file, dead.join(file.file_name().unwrap())).unwrap();
    }
    close(store).await;
    (folder, dead)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    files.sort();
    files
}

/// Where the zeros begin.
fn used(path: &Path) -> usize {
    fs::read(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1
}

fn write_at(path: &Path, bytes: &[u8], offset: usize) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset.try_into().unwrap()).unwrap();
}

/// Opens, expects so many entries, appends one more, and finds it again.
async fn starts_with(dir: &Path, count: u64) {
    for expected in [count, count + 1] {
        let mut store = LogStore::open(Arc::new(RealFs), dir, options()).unwrap();
        let entries = store.try_get_log_entries(..).await.unwrap();
        assert_eq!(entries, (0..expected).map(entry).collect::<Vec<_>>());
        append(&mut store, expected).await.unwrap();
        close(store).await;
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_off() {
    let noise: Vec<u8> = (0..37_u8).map(|n| n.wrapping_mul(151) ^ 0xa5).collect();
    let (_kept, dir) = image().await;
    let last = segments(&dir).pop().unwrap();
    write_at(&last, &noise, used(&last));
    starts_with(&dir, 200).await;

    let (_kept, dir) = image().await;
    let last = segments(&dir).pop().unwrap();
    let length = fs::metadata(&last).unwrap().len();
    write_at(&last, &noise, length.try_into().unwrap());
    starts_with(&dir, 200).await;

    let (_kept, dir) = image().await;
    let last = segments(&dir).pop().unwrap();
    let cut = u64::try_from(used(&last) - 5).unwrap();
    fs::File::options().write(true).open(&last).unwrap().set_len(cut).unwrap();
    starts_with(&dir, 199).await;
}

#[tokio::test]
async fn a_flipped_bit_in_an_older_file_is_refused_with_file_and_offset() {
    let (_kept, dir) = image().await;
    let files = segments(&dir);
    assert!(files.len() > 2);
    let older = &files[files.len() / 2];
    let before = fs::read(older).unwrap();
    let middle = used(older) / 2;
    write_at(older, &[before[middle] ^ 4], middle);
    let error = LogStore::open(Arc::new(RealFs), &dir, options()).unwrap_err();
    let LogError::Damaged { path, offset, .. } = &error else { panic!("{error}") };
    assert_eq!(path, older);
    let offset = usize::try_from(*offset).unwrap();
    assert!(offset <= middle && middle < offset + 200, "{offset} for {middle}");
    assert_eq!(segments(&dir), files, "nothing was removed");
    write_at(older, &before, 0);
    starts_with(&dir, 200).await;
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let (_kept, dir) = image().await;
    let store = LogStore::open(Arc::new(RealFs), &dir, options()).unwrap();
    let error = LogStore::open(Arc::new(RealFs), &dir, options()).unwrap_err();
    assert!(matches!(error, LogError::InUse { .. }), "{error}");
    close(store).await;
    starts_with(&dir, 200).await;
}

/// Fills a disk of 256 KiB, and then gives it room again.
async fn fill(dir: &Path) {
    let log = dir.join("log");
    let mut store = LogStore::open(Arc::new(RealFs), &log, options()).unwrap();
    let failed = store.watch().failed();
    let mut acknowledged = 0;
    let error = loop {
        match append(&mut store, acknowledged).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(acknowledged > 500);
    assert!(failed.borrow().is_some());
    assert!(append(&mut store, acknowledged + 1).await.is_err());
    close(store).await;
    let more_room =
        Command::new("mount").args(["-o", "remount,size=1m"]).arg(dir).status().unwrap();
    assert!(more_room.success());
    let mut store = LogStore::open(Arc::new(RealFs), &log, options()).unwrap();
    let entries = store.try_get_log_entries(..).await.unwrap();
    assert!(entries.len() >= usize::try_from(acknowledged).unwrap());
    let next = u64::try_from(entries.len()).unwrap();
    append(&mut store, next).await.unwrap();
    close(store).await;
}

const DISK: &str = "DSYNC_TEST_SMALL_DISK";

/// Runs itself in a mount namespace with a disk of 256 KiB. Where the system does not let this
/// user have one, the same is tested on simulated files only (`raft::log::tests::faults`).
#[tokio::test]
async fn a_full_disk_stops_the_store_and_loses_nothing() {
    if let Some(disk) = std::env::var_os(DISK) {
        fill(Path::new(&disk)).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let namespace = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--map-root-user", "sh", "-c", command, "sh"]);
        unshare.arg(folder.path()).env(DISK, folder.path());
        unshare
    };
    let mount = "mount -t tmpfs -o size=256k none \"$1\"";
    if !namespace(mount).output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("no small disk: this user cannot mount one");
        return;
    }
    let name = "a_full_disk_stops_the_store_and_loses_nothing";
    let mut child = namespace(&format!("{mount} && exec \"$2\" {name} --exact --nocapture"));
    let output = child.arg(std::env::current_exe().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
