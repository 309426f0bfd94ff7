//! A node on a disk that is full, fails or has lost files: its last words and its exit code.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsd::assembly::{CannotStart, Host, RunningNode};
use dsd::raft::EngineOptions;
use dsd::raft::fs::{Crash, Fs, SimFs};
use dsd::raft::log::{LogOptions, LogStore};
use dsd::server::Limits;
use dsd::telemetry::{Recent, Telemetry};
use dsync::net::TcpNetwork;
use openraft::storage::RaftLogStorage;

/// Starts a cluster of one on that disk.
async fn start(fs: &SimFs) -> Result<RunningNode, CannotStart> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = dsd::dev::lock_node(0, &[port], Path::new("/data"));
    let host = Host {
        net: Arc::new(TcpNetwork),
        fs: Arc::new(fs.clone()),
        log: LogOptions::default(),
        limits: Limits::default(),
        engine: EngineOptions::default(),
        seed: 7,
        started_ms: 0,
    };
    RunningNode::start(config, Vec::new(), Telemetry::new(Recent::default()), host).await
}

async fn last_words(node: &RunningNode) -> String {
    tokio::time::timeout(Duration::from_secs(30), node.failed()).await.unwrap()
}

#[tokio::test]
async fn a_node_whose_disk_fills_up_ends_with_the_logs_own_words() {
    let fs = SimFs::new();
    let node = start(&fs).await.unwrap();
    // The log writes a mebibyte ahead with its first record: there is no room for that.
    fs.full_after(Some(1_000));
    let why = last_words(&node).await;
    assert!(why.starts_with("the Raft log has stopped: cannot write /data/"), "{why}");
    assert!(why.ends_with("(free space on that disk, then start the node again)"), "{why}");
    drop(node);

    fs.crash(Crash::Process);
    fs.full_after(Some(0));
    let refused = start(&fs).await.unwrap_err();
    assert_eq!(refused.exit, dsd::exit::INTERNAL, "{refused}");
    assert!(refused.what.contains("free space on that disk"), "{refused}");

    fs.full_after(None);
    start(&fs).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_node_whose_disk_fails_a_sync_ends_with_the_logs_own_words() {
    let fs = SimFs::new();
    let node = start(&fs).await.unwrap();
    let mut leadership = node.leadership();
    let led = leadership.wait_for(|now| now.mine);
    tokio::time::timeout(Duration::from_secs(30), led).await.unwrap().unwrap();
    fs.fail_sync(1);
    let noop = dsync_core::lock::Batch::default();
    let refused =
        node.service().parts().role.lock().unwrap().engine().propose(&noop).await.unwrap_err();
    let why = last_words(&node).await;
    assert!(why.starts_with("the Raft log has stopped: cannot sync /data/"), "{why}");
    assert!(!refused.to_string().contains("StorageError"), "{refused}");
}

#[tokio::test]
async fn the_directory_of_another_node_is_a_matter_of_configuration() {
    let fs = SimFs::new();
    fs.put(Path::new("/data/node-lock-1/dump.rdb"), b"x");
    let refused = start(&fs).await.unwrap_err();
    assert_eq!(refused.exit, dsd::exit::CONFIG, "{refused}");
}

/// Starts a node, lets it lead, and kills it.
async fn lead_and_die(fs: &SimFs) {
    let node = start(fs).await.unwrap();
    let mut leadership = node.leadership();
    let led = leadership.wait_for(|now| now.mine);
    tokio::time::timeout(Duration::from_secs(30), led).await.unwrap().unwrap();
    drop(leadership);
    node.stop().await;
    fs.crash(Crash::Process);
}

#[tokio::test]
async fn a_member_without_its_log_does_not_start_and_takes_its_place_again_as_a_new_one() {
    let fs = SimFs::new();
    lead_and_die(&fs).await;
    let dir = Path::new("/data/node-lock-1");
    for name in fs.list(&dir.join("log")).unwrap() {
        fs.remove(&dir.join("log").join(name)).unwrap();
    }
    // Not even the second time: the refused start must not begin a log.
    for _ in 0..2 {
        let refused = start(&fs).await.unwrap_err();
        assert_eq!(refused.exit, dsd::exit::INTERNAL, "{refused}");
        assert!(refused.what.starts_with("/data/node-lock-1/log holds no log"), "{refused}");
        assert!(refused.what.contains("move the whole data directory away"), "{refused}");
        fs.crash(Crash::Process);
    }
    fs.remove(&dir.join("identity")).unwrap();
    start(&fs).await.unwrap().stop().await;
}

#[tokio::test]
async fn a_member_without_the_snapshot_before_its_log_does_not_start() {
    let fs = SimFs::new();
    lead_and_die(&fs).await;
    let disk: Arc<dyn Fs> = Arc::new(fs.clone());
    let log = Path::new("/data/node-lock-1/log");
    let mut store = LogStore::open(disk, log, LogOptions::default()).unwrap();
    let watch = store.watch();
    let last = watch.status().last.unwrap();
    store.purge(last).await.unwrap();
    drop(store);
    watch.closed().await;
    let refused = start(&fs).await.unwrap_err();
    assert_eq!(refused.exit, dsd::exit::INTERNAL, "{refused}");
    let says = "/data/node-lock-1/snapshots holds no snapshot";
    assert!(refused.what.starts_with(says), "{refused}");
    assert!(refused.what.contains("move this node's data directory away"), "{refused}");
}
