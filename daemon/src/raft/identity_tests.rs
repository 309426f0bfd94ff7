//! Tests of the identity.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::raft::fs::{Crash, FsFile, RealFs, SimFs};

const DIR: &str = "/data";

fn open(fs: &SimFs, node: &str, role: Role) -> Result<Identity, IdentityError> {
    Identity::open(Arc::new(fs.clone()), Path::new(DIR), node, role, 0x1_0000_0007, 0)
}

fn refusal(result: Result<Identity, IdentityError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn it_is_kept_and_starts_are_counted() {
    let fs = SimFs::new();
    let mut first = open(&fs, "node-lock-1", Role::Lock).unwrap();
    assert_eq!((first.starts(), first.cluster()), (1, None));
    assert_eq!(first.raft_id() & 0xffff_ffff, 7);
    assert_eq!(first.raft_id() >> 32, xxh3_64(b"node-lock-1") & 0xffff_ffff);
    first.join(ClusterId(5)).unwrap();
    let id = first.raft_id();
    fs.crash(Crash::Power);
    let second =
        Identity::open(Arc::new(fs), Path::new(DIR), "node-lock-1", Role::Lock, 99, 0).unwrap();
    assert_eq!((second.starts(), second.cluster()), (2, Some(ClusterId(5))));
    assert_eq!(second.raft_id(), id);
}

#[test]
fn a_directory_has_one_node_one_role_one_cluster_and_one_process() {
    let fs = SimFs::new();
    let mut owner = open(&fs, "a", Role::Lock).unwrap();
    let in_use = refusal(open(&fs, "a", Role::Lock));
    assert!(in_use.contains("/data is in use by another process"), "{in_use}");
    owner.join(ClusterId(5)).unwrap();
    owner.join(ClusterId(5)).unwrap();
    let other = owner.join(ClusterId(6)).unwrap_err().to_string();
    assert!(other.contains("cluster 0000000000000005, not to 0000000000000006"), "{other}");
    drop(owner);
    let other = refusal(open(&fs, "b", Role::Lock));
    assert!(other.contains("belongs to node \"a\", this is node \"b\""), "{other}");
    assert!(other.contains("or NODE_ID to \"a\""), "{other}");
    let other = refusal(open(&fs, "a", Role::Queue));
    assert!(other.contains("belongs to a lock node, this is a queue node"), "{other}");
    assert_eq!(open(&fs, "a", Role::Lock).unwrap().starts(), 2);
}

#[test]
fn a_member_of_a_cluster_has_a_log() {
    let fs = SimFs::new();
    let mut identity = open(&fs, "a", Role::Lock).unwrap();
    assert!(identity.check_log().is_ok(), "a first start has none");
    identity.join(ClusterId(5)).unwrap();
    fs.put(Path::new("/data/log/lock"), b"");
    let lost = identity.check_log().unwrap_err();
    assert_eq!(lost.kind(), io::ErrorKind::InvalidData);
    let lost = lost.to_string();
    assert!(lost.starts_with("/data/log holds no log, and DATA_DIR /data belongs to"), "{lost}");
    fs.put(Path::new("/data/log/log-0000000000000001.seg"), b"x");
    assert!(identity.check_log().is_ok());
}

#[test]
fn every_flipped_bit_is_refused() {
    let fs = SimFs::new();
    drop(open(&fs, "a", Role::Lock).unwrap());
    let path = Path::new(DIR).join(FILE);
    let good = read_all(&fs, &path).unwrap();
    for offset in 0..good.len() {
        fs.put(&path, &good);
        fs.flip_bit(&path, offset, 0).unwrap();
        let why = refusal(open(&fs, "a", Role::Lock));
        assert!(why.contains("/data/identity is damaged"), "{offset}: {why}");
    }
    for length in 0..good.len() {
        fs.put(&path, &good[..length]);
        assert!(open(&fs, "a", Role::Lock).is_err(), "{length} bytes");
    }
}

#[test]
fn it_survives_a_power_cut_at_every_byte() {
    let total = {
        let fs = SimFs::new();
        open(&fs, "a", Role::Lock).unwrap().join(ClusterId(5)).unwrap();
        fs.written()
    };
    for cut in 0..=total {
        for crash in [Crash::Process, Crash::Power, Crash::Scattered(cut)] {
            let fs = SimFs::new();
            fs.cut_power_after(cut);
            let before = open(&fs, "a", Role::Lock)
                .map(|mut identity| (identity.raft_id(), identity.join(ClusterId(5)).is_ok()));
            fs.crash(crash);
            let after = open(&fs, "a", Role::Lock).unwrap();
            if let Ok((raft_id, joined)) = before {
                assert_eq!(after.raft_id(), raft_id, "cut at {cut}, {crash:?}");
                assert!(after.starts() == 2 && (!joined || after.cluster().is_some()));
            }
        }
    }
}

#[test]
fn a_directory_of_someone_else_is_refused() {
    let fs = SimFs::new();
    fs.put(Path::new("/data/dump.rdb"), b"x");
    fs.put(Path::new("/data/.keep"), b"x");
    let foreign = refusal(open(&fs, "a", Role::Lock));
    assert!(foreign.contains("it holds dump.rdb: set DATA_DIR to an empty"), "{foreign}");
    let fs = SimFs::new();
    fs.put(Path::new("/data/node_id"), b"x");
    assert!(open(&fs, "a", Role::Lock).is_ok());
    let fs = SimFs::new();
    fs.put(Path::new("/data/log/log-0000000000000001.seg"), b"x");
    let lost = refusal(open(&fs, "a", Role::Lock));
    assert!(lost.contains("holds a log but no file `identity`"), "{lost}");
}

#[test]
fn what_the_system_refuses_is_named_with_the_fix() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let under = Identity::open(Arc::new(RealFs), &file.join("data"), "a", Role::Lock, 1, 0);
    let text = under.unwrap_err().to_string();
    assert!(text.starts_with("cannot create ") && text.contains("file/data"), "{text}");

    let fs = SimFs::new();
    fs.full_after(Some(10));
    let full = refusal(open(&fs, "a", Role::Lock));
    assert!(full.contains("cannot write /data/identity"), "{full}");
    assert!(full.contains("free space on that disk"), "{full}");
    assert!(fs.list(Path::new(DIR)).unwrap().iter().all(|name| !name.contains(".tmp")));
    fs.full_after(None);
    assert!(open(&fs, "a", Role::Lock).is_ok(), "what a full disk left is no obstacle");
}

#[test]
fn the_file_is_text_of_a_fixed_form() {
    let (cluster, raft_id) = (Some(ClusterId(10)), 0x0123_4567_0000_0001);
    let (node, role, incarnation) = ("node-lock-1".to_owned(), Role::Lock, 1_700_000_000_000);
    let stored = Stored { node, role, raft_id, cluster, starts: 3, incarnation };
    let first = "dsync identity 1\nnode=node-lock-1\nrole=lock\nraft_id=0123456700000001\n\
                 cluster=000000000000000a\nstarts=3\n";
    let text = encode(&stored);
    let body = format!("{first}incarnation=1700000000000\n");
    assert_eq!(text, format!("{body}checksum={:016x}\n", xxh3_64(body.as_bytes())));
    assert_eq!(decode(text.as_bytes()), Ok(stored.clone()));
    let before = format!("{first}checksum=825fd63904853f7e\n");
    assert_eq!(decode(before.as_bytes()), Ok(Stored { incarnation: 0, ..stored }));
}

#[test]
fn the_incarnation_rises_whatever_the_clock_says() {
    let fs = SimFs::new();
    let start = |now_ms| {
        let fs = Arc::new(fs.clone());
        let opened = Identity::open(fs, Path::new(DIR), "a", Role::Lock, 7, now_ms);
        opened.unwrap().incarnation()
    };
    assert_eq!([5_000, 9_000, 8_000, 0, 9_001].map(start), [5_000, 9_000, 9_001, 9_002, 9_003]);
    assert_eq!([u64::MAX, 1].map(start), [u64::MAX; 2]);
}

/// A file system on which another start runs from beginning to end just before this one's lock.
#[derive(Debug)]
struct Overtaken {
    fs: SimFs,
    done: AtomicBool,
}

impl Fs for Overtaken {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir_all(dir)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.fs.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.fs.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fs.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.fs.list(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FsLock>> {
        if !self.done.swap(true, Ordering::Relaxed) {
            open(&self.fs, "a", Role::Lock).unwrap().join(ClusterId(5)).unwrap();
        }
        self.fs.lock(path)
    }
}

#[test]
fn two_starts_that_race_on_an_empty_directory_have_one_raft_id() {
    let fs = Overtaken { fs: SimFs::new(), done: AtomicBool::new(false) };
    let second = Identity::open(Arc::new(fs), Path::new(DIR), "a", Role::Lock, 0x2_0000_0008, 0);
    let second = second.unwrap();
    assert_eq!(second.raft_id() & 0xffff_ffff, 7, "the id of the first start stands");
    assert_eq!((second.starts(), second.cluster()), (2, Some(ClusterId(5))));
}

#[test]
fn a_refused_directory_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dump.rdb"), b"x").unwrap();
    let refused = Identity::open(Arc::new(RealFs), folder.path(), "a", Role::Lock, 1, 0);
    assert!(matches!(refused, Err(IdentityError::Foreign { .. })));
    assert_eq!(RealFs.list(folder.path()).unwrap(), ["dump.rdb"]);
}
