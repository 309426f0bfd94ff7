//! Tests of the snapshots.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::raft::fs::{Crash, SimFs};
use crate::raft::types::{Membership, RaftNode};

const DIR: &str = "/data/snapshots";

fn snapshot(index: u64, data: &[u8]) -> Snapshot {
    let node = RaftNode { node: "n1".to_owned(), address: "h:1".to_owned() };
    let membership =
        Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, node)])).unwrap();
    let meta = SnapshotMeta {
        last_log_id: Some(LogId::new_term_index(2, index)),
        last_membership: StoredMembership::new(Some(LogId::new_term_index(1, 0)), membership),
    };
    Snapshot { meta, data: data.to_vec() }
}

fn open(fs: &SimFs) -> SnapshotStore {
    SnapshotStore::open(Arc::new(fs.clone()), Path::new(DIR)).unwrap()
}

fn files(fs: &SimFs) -> Vec<PathBuf> {
    let dir = Path::new(DIR);
    fs.list(dir).unwrap().into_iter().map(|name| dir.join(name)).collect()
}

#[test]
fn the_newest_is_kept_and_the_rest_removed() {
    let fs = SimFs::new();
    let store = open(&fs);
    assert_eq!(store.current().unwrap(), None);
    let empty = Snapshot { meta: SnapshotMeta::default(), data: Vec::new() };
    store.save(&empty).unwrap();
    assert_eq!(store.current().unwrap(), Some(empty));
    for (index, data) in [(9, &b"nine"[..]), (300, b"threehundred"), (300, b"again")] {
        store.save(&snapshot(index, data)).unwrap();
        assert_eq!(store.current().unwrap(), Some(snapshot(index, data)));
        assert_eq!(files(&fs).len(), 1);
    }
    store.save(&snapshot(200, b"late")).unwrap();
    assert_eq!(store.current().unwrap(), Some(snapshot(300, b"again")));
    assert_eq!(files(&fs).len(), 1);
}

#[test]
fn pieces_are_taken_in_order_only() {
    let fs = SimFs::new();
    let store = open(&fs);
    let whole = snapshot(4, b"abcdef");
    let mut draft = store.draft(&whole.meta).unwrap();
    draft.write(0, b"abc").unwrap();
    let error = draft.write(4, b"x").unwrap_err();
    assert!(matches!(error, SnapshotError::OutOfOrder { offset: 4, expected: 3 }), "{error}");
    draft.write(3, b"def").unwrap();
    let other = store.draft(&snapshot(9, b"").meta).unwrap();
    draft.finish().unwrap();
    assert_eq!(store.current().unwrap(), Some(whole.clone()));
    assert_eq!(files(&fs).len(), 2);
    drop(other);
    assert_eq!(files(&fs).len(), 1, "an abandoned draft is removed");
    let other = store.draft(&snapshot(9, b"").meta).unwrap();
    std::mem::forget(other);
    fs.crash(Crash::Process);
    assert_eq!(files(&fs).len(), 2, "a crash leaves it");
    assert_eq!(open(&fs).current().unwrap(), Some(whole));
    assert_eq!(files(&fs).len(), 1, "and the next start removes it");
}

#[test]
fn a_damaged_newest_is_refused_even_if_an_older_is_there() {
    let fs = SimFs::new();
    open(&fs).save(&snapshot(5, b"five")).unwrap();
    let older = files(&fs).remove(0);
    let bytes = read_all(&fs, &older).unwrap();
    open(&fs).save(&snapshot(6, b"six")).unwrap();
    fs.put(&older, &bytes);
    let newest = files(&fs).pop().unwrap();
    let good = read_all(&fs, &newest).unwrap();
    for offset in 0..good.len() {
        fs.put(&newest, &good);
        fs.flip_bit(&newest, offset, 3).unwrap();
        let error = open(&fs).current().unwrap_err();
        assert!(
            matches!(&error, SnapshotError::Damaged { path, .. } if *path == newest),
            "{error}"
        );
    }
    for length in 0..good.len() {
        fs.put(&newest, &good[..length]);
        assert!(open(&fs).current().is_err(), "{length} bytes");
    }
    fs.put(&newest, &bytes);
    let error = open(&fs).current().unwrap_err().to_string();
    assert!(error.contains("it holds snap-0000000000000006"), "{error}");
}

#[test]
fn a_later_format_is_named() {
    let fs = SimFs::new();
    open(&fs).save(&snapshot(5, b"five")).unwrap();
    let path = files(&fs).remove(0);
    let mut bytes = read_all(&fs, &path).unwrap();
    let body = bytes.len() - CHECKSUM;
    bytes[8] = 2;
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&checksum);
    fs.put(&path, &bytes);
    let error = open(&fs).current().unwrap_err().to_string();
    assert!(error.contains("has format 2, this version reads format 1"), "{error}");
}

#[test]
fn a_power_cut_at_any_byte_leaves_the_old_or_the_new() {
    let total = {
        let fs = SimFs::new();
        open(&fs).save(&snapshot(5, b"five")).unwrap();
        let before = fs.written();
        open(&fs).save(&snapshot(6, b"sixsixsix")).unwrap();
        fs.written() - before
    };
    for cut in 0..=total {
        for crash in [Crash::Process, Crash::Power, Crash::Scattered(cut)] {
            let fs = SimFs::new();
            open(&fs).save(&snapshot(5, b"five")).unwrap();
            let store = open(&fs);
            fs.cut_power_after(cut);
            let saved = store.save(&snapshot(6, b"sixsixsix")).is_ok();
            drop(store);
            fs.crash(crash);
            let found = open(&fs).current().unwrap();
            let new = found == Some(snapshot(6, b"sixsixsix"));
            let old = found == Some(snapshot(5, b"five"));
            assert!(new || (old && !saved), "cut at {cut}, {crash:?}: {found:?}");
        }
    }
}

#[test]
fn a_full_disk_and_a_failed_sync_leave_the_old() {
    let fs = SimFs::new();
    let store = open(&fs);
    store.save(&snapshot(5, b"five")).unwrap();
    fs.full_after(Some(30));
    let error = store.save(&snapshot(6, b"six")).unwrap_err().to_string();
    assert!(error.contains("free space on that disk"), "{error}");
    fs.full_after(None);
    fs.fail_sync(1);
    assert!(store.save(&snapshot(6, b"six")).is_err());
    assert_eq!(store.current().unwrap(), Some(snapshot(5, b"five")));
    store.save(&snapshot(6, b"six")).unwrap();
    assert_eq!(store.current().unwrap(), Some(snapshot(6, b"six")));
}

#[test]
fn the_bytes_on_disk_do_not_change() {
    let fs = SimFs::new();
    open(&fs).save(&snapshot(5, b"data")).unwrap();
    let bytes = read_all(&fs, &files(&fs).remove(0)).unwrap();
    let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    assert_eq!(
        hex,
        "4453594e43534e5001120000000102050101000101010101026e3103683a31646174610e7dd54471523f21"
    );
}
