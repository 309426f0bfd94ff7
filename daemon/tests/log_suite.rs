//! openraft's own test suite for log stores, on real files and on simulated ones.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsd::raft::fs::{Fs, RealFs, SimFs};
use dsd::raft::log::{LogOptions, LogStore, WriterKind};
use dsd::raft::types::{EntryPayload, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use futures::{Stream, TryStreamExt};
use openraft::alias::SnapshotOf;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, StorageError};
use parking_lot::Mutex;

type Data = Cursor<Vec<u8>>;

/// The smallest state machine: it counts nothing and remembers where it is.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

impl RaftSnapshotBuilder<TypeConfig> for Place {
    type SnapshotData = Data;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, Data>> {
        let mut state = self.0.lock();
        let meta =
            SnapshotMeta { last_log_id: state.last, last_membership: state.membership.clone() };
        state.snapshot = Some(meta.clone());
        Ok(SnapshotOf::<TypeConfig, Data> { meta, snapshot: Cursor::new(Vec::new()) })
    }
}

impl RaftStateMachine<TypeConfig> for Place {
    type SnapshotData = Data;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.lock();
        Ok((state.last, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut state = self.0.lock();
            state.last = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                state.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            drop(state);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _data: Data) -> io::Result<()> {
        let mut state = self.0.lock();
        state.last = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        state.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, Data>>> {
        let meta = self.0.lock().snapshot.clone();
        Ok(meta
            .map(|meta| SnapshotOf::<TypeConfig, Data> { meta, snapshot: Cursor::new(Vec::new()) }))
    }
}

/// Small segments, so that the suite's purges remove some.
const SMALL: LogOptions =
    LogOptions { writer: WriterKind::Thread, segment_bytes: 256, step_bytes: 128 };

struct OnDisk;

impl StoreBuilder<TypeConfig, LogStore, Place, tempfile::TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, Place), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let store = LogStore::open(Arc::new(RealFs), &dir.path().join("log"), SMALL).unwrap();
        Ok((dir, store, Place::default()))
    }
}

struct Simulated;

impl StoreBuilder<TypeConfig, LogStore, Place, ()> for Simulated {
    async fn build(&self) -> Result<((), LogStore, Place), StorageError<TypeConfig>> {
        let writer = WriterKind::Task { sync_takes: Duration::from_micros(10) };
        let fs: Arc<dyn Fs> = Arc::new(SimFs::new());
        let store = LogStore::open(fs, Path::new("/d/log"), LogOptions { writer, ..SMALL });
        Ok(((), store.unwrap(), Place::default()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes_on_real_files() {
    Suite::test_all(OnDisk).await.unwrap();
}

#[tokio::test]
async fn openrafts_suite_passes_on_simulated_files() {
    Suite::test_all(Simulated).await.unwrap();
}
