//! Full disks and failed syncs: the store stops for good, and says so.

use std::io;
use std::path::Path;

use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use super::power::{SCRIPT, total};
use super::rig::{Rig, State};
use crate::raft::fs::{Crash, Fs as _};
use crate::raft::types::{Entry, EntryPayload, LogId, TypeConfig, Vote};

fn blank(index: u64) -> Entry {
    Entry { log_id: LogId::new_term_index(1, index), payload: EntryPayload::Blank }
}

/// Every call of a store that failed must fail with what it failed of.
async fn refuses_everything(store: &mut super::super::LogStore, needle: &str) {
    let (sender, receiver) = TypeConfig::oneshot();
    let id = LogId::new_term_index(1, 0);
    let answers: [io::Result<()>; 8] = [
        store.append([blank(1)], IOFlushed::signal(sender)).await,
        store.save_vote(&Vote::new(9, 1)).await,
        store.save_committed(Some(id)).await,
        store.truncate_after(None).await,
        store.purge(id).await,
        store.read_vote().await.map(drop),
        store.try_get_log_entries(..).await.map(drop),
        store.get_log_state().await.map(drop),
    ];
    for answer in answers {
        let error = answer.unwrap_err().to_string();
        assert!(error.contains(needle), "{error}");
    }
    assert!(receiver.await.is_err(), "no answer but the error");
}

#[test]
fn a_failed_sync_stops_the_store_for_good() {
    let rig = Rig::new();
    let mut store = rig.open().unwrap();
    let failed = store.watch().failed();
    rig.block_on(async {
        let (sender, receiver) = TypeConfig::oneshot();
        rig.fs.fail_sync(1);
        store.append([blank(0)], IOFlushed::signal(sender)).await.unwrap();
        let error = receiver.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("cannot sync /data/log/log-"), "{error}");
        assert!(failed.borrow().is_some());
        let syncs = rig.fs.syncs();
        refuses_everything(&mut store, "the Raft log has stopped: cannot sync").await;
        assert_eq!(rig.fs.syncs(), syncs, "a sync was tried again");
    });
    let watch = rig.close(store);
    assert!(watch.status().failed.is_some());
    assert_eq!(watch.status().flushed, None);
}

#[test]
fn every_failed_sync_of_a_run_is_survived() {
    let mut rig = Rig::new();
    let before = rig.fs.syncs();
    assert!(!rig.run(&State::default(), SCRIPT).failed);
    let syncs = rig.fs.syncs() - before;
    assert!(syncs > 10);
    for nth in 1..=syncs {
        for crash in [Crash::Process, Crash::Power] {
            rig.reset();
            rig.fs.fail_sync(nth);
            let run = rig.run(&State::default(), SCRIPT);
            // The last sync closes the log, when every call was answered already.
            assert_eq!(run.failed, nth < syncs, "sync {nth} of {syncs}");
            rig.fs.crash(crash);
            let state = rig.check(&run).unwrap();
            // What was read back after a failed sync is on disk from then on.
            rig.crash(Crash::Power);
            assert_eq!(rig.read().unwrap().0, state, "sync {nth}, {crash:?}");
        }
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_is_survived() {
    let mut rig = Rig::new();
    for room in 0..total() {
        rig.reset();
        rig.fs.full_after(Some(room));
        let run = rig.run(&State::default(), SCRIPT);
        rig.fs.full_after(None);
        rig.check(&run).unwrap_or_else(|why| panic!("room for {room}: {why}"));
    }
}

#[test]
fn a_full_disk_is_named_with_the_fix() {
    let rig = Rig::new();
    let mut store = rig.open().unwrap();
    rig.fs.full_after(Some(5));
    rig.block_on(async {
        let error = store.save_vote(&Vote::new(2, 1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("(free space on that disk"), "{error}");
        refuses_everything(&mut store, "cannot write /data/log/log-").await;
    });
    rig.close(store);
}

#[test]
fn a_start_on_a_full_disk_leaves_no_file_behind() {
    let rig = Rig::new();
    let names = || rig.fs.list(Path::new("/data/log")).unwrap();
    for room in [0, 5, 20] {
        rig.fs.full_after(Some(room));
        let error = rig.open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert!(names().iter().all(|name| !name.contains(".seg")), "{:?}", names());
    }
    rig.fs.full_after(None);
    rig.close(rig.open().unwrap());
    let before = names();
    rig.fs.full_after(Some(5));
    assert_eq!(rig.open().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(names(), before);
}

#[test]
fn an_append_with_a_hole_or_too_large_changes_nothing() {
    let rig = Rig::new();
    let mut store = rig.open().unwrap();
    rig.block_on(async {
        store.append([blank(0), blank(1)], IOFlushed::noop()).await.unwrap();
        for bad in [vec![blank(3)], vec![blank(1)], vec![blank(2), blank(4)]] {
            let error = store.append(bad, IOFlushed::noop()).await.unwrap_err();
            assert!(error.to_string().contains("does not follow"), "{error}");
        }
        let data = vec![0; super::super::RECORD_MAX].into();
        let proposal = crate::raft::types::Proposal { t_ms: 0, nonce: 0, data };
        let large = Entry { payload: EntryPayload::Normal(proposal), ..blank(2) };
        let error = store.append([large], IOFlushed::noop()).await.unwrap_err();
        assert!(error.to_string().contains("the log takes 16777216 at most"), "{error}");
        let last = store.get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, Some(LogId::new_term_index(1, 1)));
        store.append([blank(2)], IOFlushed::noop()).await.unwrap();
    });
    rig.close(store);
    assert_eq!(rig.read().unwrap().0.entries.len(), 3);
}

#[test]
fn one_process_at_a_time() {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    let error = rig.open().unwrap_err().to_string();
    assert!(error.contains("/data/log/lock is in use by another process"), "{error}");
    rig.close(store);
    rig.open().unwrap();
}
