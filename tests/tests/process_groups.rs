//! Two Rafts at one list of endpoints, and a queue in Redis: `dsctl` speaks with the one that is meant.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dsync::CallOptions;
use dsync::api::AdminRequest;
use dsync_core::node::Role;
use dsync_tests::jobs::wait_for_ring;
use dsync_tests::process::redis::{Redis, RedisPlan};
use dsync_tests::process::{Cluster, Plan, Run, dsctl};
use serde_json::Value;

async fn queues(size: usize) -> Cluster {
    Cluster::start_plan(Plan { size, role: Some(Role::Queue), ..Plan::default() }).await
}

async fn redis_queue(redis: &Redis) -> Cluster {
    let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port());
    let mut cluster =
        Cluster::prepare(Plan { size: 1, role: Some(Role::Queue), lines, ..Plan::default() });
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 1).await;
    cluster
}

/// Runs `dsctl … -o json` with the endpoints of both.
async fn both(a: &Cluster, b: &Cluster, arguments: &[&str]) -> Run {
    let endpoints = format!("{},{}", a.endpoints(), b.endpoints());
    dsctl::run(&endpoints, &[arguments, &["-o", "json"]].concat()).await
}

fn roles(document: &Value) -> Vec<&str> {
    document["items"].as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap()).collect()
}

/// The role and the node that answered.
fn served(document: &Value) -> (&str, &str) {
    (document["role"].as_str().unwrap(), document["served_by"].as_str().unwrap())
}

#[tokio::test]
async fn a_raft_is_steered_by_its_own_nodes_whichever_endpoint_answers_first() {
    let (locks, jobs) = tokio::join!(Cluster::start(1), queues(1));
    let file = |name: &str| locks.folder().join(name).to_str().unwrap().to_owned();
    let (lock_file, queue_file) = (file("locks.snap"), file("jobs.snap"));
    locks.dsctl(&["lock", "acquire", "kept", "--ttl", "10m"]).await.expect(0);
    jobs.dsctl(&["queue", "push", "kept", "x"]).await.expect(0);
    // Each run begins at another endpoint.
    for _ in 0..6 {
        let saved = both(&locks, &jobs, &["raft", "snapshot", "save", &lock_file]).await.ok();
        assert_eq!(served(&saved), ("lock", "node-lock-1"));
        let asked = ["raft", "snapshot", "save", &queue_file, "--role", "queue"];
        assert_eq!(served(&both(&locks, &jobs, &asked).await.ok()), ("queue", "node-queue-1"));
        let probed = both(&locks, &jobs, &["raft", "probe", "--role", "queue"]).await.ok();
        assert_eq!(probed["items"][0]["leader"], "node-queue-1");
        assert_eq!(roles(&probed), ["queue"]);
    }
    locks.dsctl(&["lock", "acquire", "later", "--ttl", "10m"]).await.expect(0);
    jobs.dsctl(&["queue", "push", "later", "x"]).await.expect(0);
    // The file says whose it is.
    let restored =
        both(&locks, &jobs, &["raft", "snapshot", "restore", &queue_file, "--yes"]).await.ok();
    assert_eq!(served(&restored), ("queue", "node-queue-1"));
    let names = async |cluster: &Cluster, noun| {
        cluster.dsctl(&[noun, "list", "-o", "name"]).await.expect(0).stdout.clone()
    };
    assert_eq!(names(&jobs, "queue").await, "kept\n");
    assert_eq!(names(&locks, "lock").await, "kept\nlater\n", "the locks are as they were");
    let wrong = ["raft", "snapshot", "restore", &queue_file, "--yes", "--role", "lock"];
    let refused = both(&locks, &jobs, &wrong).await;
    let message = refused.expect(64).json()["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("of the queue nodes"), "{message}");
    both(&locks, &jobs, &["raft", "snapshot", "restore", &lock_file, "--yes"]).await.ok();
    // A lock that the restore took away stays listed, held by nobody, until its lease would be over.
    let list = locks.dsctl(&["lock", "list", "-o", "json"]).await.ok();
    let held = |name: &str| {
        let items = list["items"].as_array().unwrap();
        items.iter().any(|lock| lock["name"] == name && lock["holders"] == 1)
    };
    assert!(held("kept") && !held("later"), "{list:#}");
}

#[tokio::test]
async fn leadership_goes_to_a_node_of_its_own_group() {
    let (locks, jobs) = tokio::join!(Cluster::start(1), queues(3));
    let leader = jobs.wait_for_leader().await;
    let other = format!("node-queue-{}", (leader.at + 1) % 3 + 1);
    let endpoints = format!("{},{}", locks.endpoints(), jobs.endpoints());
    let named = ["raft", "transfer", &other, "-o", "json"];
    let moved = dsctl::run(&endpoints, &named).await.ok();
    assert_eq!((&moved["role"], &moved["node"]), (&"queue".into(), &other.as_str().into()));
    let unled = ["raft", "transfer", "node-queue-1", "--role", "lock", "-o", "json"];
    let run = dsctl::run(&jobs.endpoints(), &unled).await;
    let message = run.expect(64).json()["error"]["message"].clone();
    assert!(message.as_str().unwrap().contains("node-queue-1 is of the queue nodes"), "{message}");

    // A named follower hands on what only the leader can do.
    let leader = jobs.wait_for_leader().await;
    let follower = jobs.nodes[(leader.at + 1) % 3].name.clone();
    let options = CallOptions {
        target: Some(follower),
        timeout: Duration::from_secs(5),
        ..Default::default()
    };
    let answer = jobs.client("probe").admin(AdminRequest::RaftProbe, options).await.unwrap();
    assert_eq!((answer.result.err(), answer.served_by), (None, jobs.nodes[leader.at].name.clone()));
}

#[tokio::test]
async fn every_raft_is_shown() {
    let (locks, jobs) = tokio::join!(Cluster::start(1), queues(1));
    let peers = both(&locks, &jobs, &["raft", "peers"]).await.ok();
    assert_eq!(roles(&peers), ["lock", "queue"]);
    let only = both(&locks, &jobs, &["raft", "peers", "--role", "queue"]).await.ok();
    assert_eq!(roles(&only), ["queue"]);
    let leader = both(&locks, &jobs, &["raft", "leader"]).await.ok();
    assert_eq!(leader["leader"]["node"], "node-lock-1");
    assert_eq!(leader["groups"][1]["leader"]["node"], "node-queue-1");
    let topology = both(&locks, &jobs, &["cluster", "topology"]).await.ok();
    let parts: Vec<_> = topology["nodes"].as_array().unwrap().iter().map(|n| &n["part"]).collect();
    assert_eq!(parts, ["leader", "leader"]);
    let waited = both(&locks, &jobs, &["cluster", "wait", "--for", "leader"]).await.ok();
    assert_eq!(waited["found"], "lock: node-lock-1 leads; queue: node-queue-1 leads");

    // Where there are queue nodes alone, theirs is the one that is meant.
    let alone = async |words: &[&str]| jobs.dsctl(&[words, &["-o", "json"]].concat()).await.ok();
    assert_eq!(alone(&["raft", "leader"]).await["leader"]["node"], "node-queue-1");
    assert_eq!(alone(&["raft", "status"]).await["node"], "node-queue-1");
    assert_eq!(alone(&["cluster", "topology"]).await["leader"], "node-queue-1");
    assert_eq!(alone(&["cluster", "wait", "--for", "leader"]).await["found"], "node-queue-1 leads");
}

#[tokio::test]
async fn a_queue_in_redis_has_no_raft_and_hides_none() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let (locks, jobs) = tokio::join!(Cluster::start(1), redis_queue(&redis));
    let file = locks.folder().join("locks.snap");
    for _ in 0..6 {
        let words = ["raft", "snapshot", "save", file.to_str().unwrap()];
        let saved = both(&locks, &jobs, &words);
        assert_eq!(served(&saved.await.ok()), ("lock", "node-lock-1"));
    }
    let endpoints = format!("{},{}", locks.endpoints(), jobs.endpoints());
    let peers = dsctl::run(&endpoints, &["raft", "peers"]).await;
    let shown = &peers.expect(0).stdout;
    assert!(shown.contains("the queue keeps its jobs in Redis: no Raft"), "{shown}");
    both(&locks, &jobs, &["cluster", "wait", "--for", "leader"]).await.ok();

    for words in [
        &["raft", "leader"][..],
        &["raft", "peers"],
        &["raft", "probe"],
        &["raft", "transfer", "node-queue-1"],
    ] {
        let run = jobs.dsctl(&[words, &["-o", "json"]].concat()).await;
        let message = run.expect(76).json()["error"]["message"].clone();
        assert_eq!(message, "the queue keeps its jobs in Redis: no Raft", "{words:?}");
    }
}
