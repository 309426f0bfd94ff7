//! The memory in the nodes' own log: one node, in this process, on real files.
#![recursion_limit = "256"]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsd::dev::lock_node;
use dsd::directory::{Hailer, Nodes};
use dsd::forward::Forwarder;
use dsd::raft::identity::Identity;
use dsd::raft::log::{LogOptions, LogStore};
use dsd::raft::snapshot::SnapshotStore;
use dsd::raft::{Engine, EngineOptions, Group as _, GroupOf, Transport, follow};
use dsd::roles::cache::{Memory, MemoryState, Peers, RaftMemory, noop};
use dsd::roles::leader::ToLeader;
use dsd::roles::proposer::COMMAND_MAX;
use dsd::run::real_host;
use dsd::telemetry::Metrics;
use dsync_core::Fault;
use dsync_core::cache::command::{Ask, By, Command, Done, Found, Query, Sign, Told, Written};
use dsync_core::cache::op::{Action, Bytes, Condition, Op, Outcome, VALUE_MAX, Value};
use dsync_core::cache::view::{Member, Seen, View};
use dsync_core::config::Timers;
use dsync_core::name::Name;
use dsync_core::node::{Hello, Role};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LIMIT: u64 = 4 * 1024 * 1024;

fn name(text: &str) -> Name {
    Name::parse("name", text).unwrap()
}

/// The memory of a cluster of one, and what keeps it up.
struct Node {
    memory: Memory,
    group: GroupOf<MemoryState>,
    engine: Engine<MemoryState>,
}

async fn start(dir: &Path) -> Node {
    let host = real_host(1);
    let config = lock_node(0, &[9], dir);
    let id = config.node_id.as_str();
    let identity =
        Identity::open(Arc::clone(&host.fs), dir, id, Role::Cache, 5, host.started_ms).unwrap();
    let log =
        LogStore::open(Arc::clone(&host.fs), &dir.join("log"), LogOptions::default()).unwrap();
    let snapshots = SnapshotStore::open(Arc::clone(&host.fs), &dir.join("snapshots")).unwrap();
    let (nodes, hailer, metrics) = (Nodes::new(), Hailer::new(id), Metrics::new());
    let transport = Transport::new(
        Arc::clone(&host.net),
        hailer.clone(),
        identity.raft_id(),
        Timers::default(),
        Arc::clone(&nodes),
        Arc::clone(&metrics),
    );
    if let Some(cluster) = identity.cluster() {
        transport.set_cluster(cluster);
    }
    let hello = Hello {
        node: name(id),
        role: Role::Cache,
        address: config.advertise.clone(),
        incarnation: 1,
        version: String::new(),
        raft_id: identity.raft_id(),
        fingerprint: 0,
        members: Vec::new(),
        initialized: false,
        cluster: None,
        voters: Vec::new(),
        directory: Vec::new(),
    };
    let forwarder = Arc::new(Forwarder::new(Arc::clone(&host.net), hailer.clone(), &config, nodes));
    let identity = Arc::new(Mutex::new(identity));
    let options =
        EngineOptions { command_max: COMMAND_MAX, snapshot_every: 50, ..EngineOptions::default() };
    let on = (Timers::default(), options);
    let engine = Engine::open(MemoryState::new(), log, snapshots, transport, on).await.unwrap();
    let leadership = follow(engine.clone());
    let group =
        GroupOf::new(engine.clone(), &identity, (leadership.clone(), Role::Cache), 5, noop(LIMIT));
    group.step(&hello, &[]).await;
    let cluster = engine.transport().watch_cluster();
    let peers = Peers::new(Arc::clone(&host.net), hailer, (name(id), 1), cluster);
    let stop = CancellationToken::new();
    let to_leader = ToLeader::new(engine.clone(), leadership, forwarder, Role::Cache, stop);
    let memory = Memory::Raft(RaftMemory::start(to_leader, peers, LIMIT, metrics));
    Node { memory, group, engine }
}

async fn ask(memory: &Memory, ask: Ask) -> Result<Told, Fault> {
    memory.ask(&ask, Instant::now() + Duration::from_secs(10)).await
}

fn sign(count: u64) -> Ask {
    let (node, address) = (name("n1"), "127.0.0.1:7".to_owned());
    let member = Member { node, incarnation: 3, address, lease_ms: 2_000, writes_back: false };
    Ask::Live(Sign { member, count, leaves: false })
}

async fn live(memory: &Memory, count: u64) -> Seen {
    match ask(memory, sign(count)).await {
        Ok(Told::Seen(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

fn write(key: &str, id: u128, action: Action) -> Ask {
    let write = Written::Apply(Op { request: id, action });
    Ask::Do(Command::Write { key: name(key), by: By::Home(1), id, write })
}

fn set(key: &str, id: u128, bytes: usize, ttl_ms: Option<u64>) -> Ask {
    let value = Value { bytes: Bytes::from(vec![7; bytes]), ..Value::default() };
    write(key, id, Action::Set { value, condition: Condition::Always, ttl_ms })
}

async fn size(memory: &Memory) -> (u64, u64, u64) {
    match ask(memory, Ask::Look(Query::Size)).await {
        Ok(Told::Found(Found::Size(size))) => (size.keys, size.bytes, size.limit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_there_after_a_restart() {
    let folder = tempfile::TempDir::new().unwrap();
    let node = start(folder.path()).await;
    let memory = node.memory.clone();
    let seen = live(&memory, 1).await;
    assert_eq!((seen.view.epoch, seen.serving, seen.run.as_str()), (0, 0, "raft"));
    assert_eq!(seen.beats.len(), 1);
    assert_eq!(ask(&memory, set("k", 1, 3, None)).await, Ok(Told::Done(Done::Fenced)));
    let view = View { epoch: 1, run: "raft".to_owned(), ..View::default() };
    for command in [Command::Replace { epoch: 0, view }, Command::TakeOver { epoch: 1 }] {
        assert_eq!(ask(&memory, Ask::Do(command)).await, Ok(Told::Done(Done::Is(true))));
    }
    let begun = Instant::now();
    let writers = (0..400_u32).map(|n| {
        let memory = memory.clone();
        tokio::spawn(async move {
            for again in 0..5 {
                let id = u128::from(n * 5 + again) + 1;
                ask(&memory, set(&format!("k{n}"), id, 100, None)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    println!("2000 writes by 400 writers: {:?}", begun.elapsed());
    // A large one goes through the log too.
    assert!(matches!(
        ask(&memory, set("large", 1 << 80, VALUE_MAX, None)).await,
        Ok(Told::Done(Done::Written { .. }))
    ));
    let before = size(&memory).await;
    assert_eq!((before.0, before.2), (401, LIMIT));
    node.group.shutdown().await;
    drop((memory, node));

    let node = start(folder.path()).await;
    assert_eq!(size(&node.memory).await, before);
    let again = ask(&node.memory, set("large", 1 << 80, VALUE_MAX, None)).await.unwrap();
    let Told::Done(Done::Written { outcome, item, .. }) = again else { panic!("{again:?}") };
    assert_eq!((outcome, item.version), (Some(Outcome::Set), 2_001));
    assert_eq!(node.engine.peek(|state| state.machine().serving()), 1);
    assert_eq!(node.memory.serve(sign(2), Instant::now() + Duration::from_secs(2)).await.map(
        |told| matches!(told, Told::Seen(seen) if seen.beats.first().is_some_and(|b| b.count == 2))
    ), Ok(true));
    node.group.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_goes_though_nobody_writes() {
    let folder = tempfile::TempDir::new().unwrap();
    let node = start(folder.path()).await;
    let memory = &node.memory;
    let view = View { epoch: 1, ..View::default() };
    for command in [Command::Replace { epoch: 0, view }, Command::TakeOver { epoch: 1 }] {
        ask(memory, Ask::Do(command)).await.unwrap();
    }
    for n in 0..20_u32 {
        ask(memory, set(&format!("k{n}"), u128::from(n) + 1, 10, Some(300))).await.unwrap();
    }
    assert!(size(memory).await.1 > 0);
    let deadline = Instant::now() + Duration::from_secs(8);
    while size(memory).await.1 > 0 {
        assert!(Instant::now() < deadline, "{:?}", size(memory).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Twenty of these do not fit.
    let mut full = 0;
    for n in 0..20_u32 {
        let told = ask(memory, set(&format!("l{n}"), u128::from(n) + 100, VALUE_MAX, None)).await;
        full += u32::from(matches!(told, Ok(Told::Done(Done::Full { limit: LIMIT, .. }))));
    }
    assert_eq!(full, 13, "seven are in four megabytes");
    node.group.shutdown().await;
}
