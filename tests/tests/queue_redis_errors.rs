//! A Redis that takes no writes says why, and so do the nodes; when it takes them again, so do they.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dsync_core::node::Role;
use dsync_core::queue::{Command, Settled};
use dsync_core::{Code, Effect, Fault};
use dsync_tests::jobs::Hand;
use dsync_tests::jobs::hand::job;
use dsync_tests::process::{Cluster, Plan, Redis, RedisPlan};

/// Less than a client waits by itself: the reason comes within its time.
const WITHIN: Duration = Duration::from_secs(3);

async fn start(redis: &Redis) -> (Cluster, Hand) {
    let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port());
    let plan = Plan { role: Some(Role::Queue), size: 1, lines, ..Plan::default() };
    let mut cluster = Cluster::prepare(plan);
    cluster.spawn_all().await;
    let hand = Hand::new(cluster.client("hand"), "orders");
    cluster.wait_until("the first push", async || push(&hand, "first").await.ok()).await;
    (cluster, hand)
}

/// Pushes, for at most [`WITHIN`].
async fn push(hand: &Hand, id: &str) -> Result<(), Fault> {
    let push = Command::Push { jobs: vec![job(id, "x")] };
    dsync_tests::jobs::command(hand.client(), hand.queue(), push, WITHIN).await.map(|_| ())
}

/// Pushes until the node says that, of that Redis, without having done anything.
async fn refused(cluster: &Cluster, hand: &Hand, what: &str) {
    let told = cluster.wait_until(what, async || {
        let fault = push(hand, "refused").await.err()?;
        fault.message.contains(what).then_some(fault)
    });
    let fault = told.await;
    assert_eq!((fault.code, fault.effect), (Code::Unavailable, Effect::None), "{fault:?}");
    assert!(fault.retryable && fault.message.contains("Redis at 127.0.0.1:"), "{fault:?}");
}

async fn accepted(cluster: &Cluster, hand: &Hand) {
    cluster.wait_until("a push", async || push(hand, "refused").await.ok()).await;
}

fn run(redis: &Redis, words: &[&str]) {
    let (name, arguments) = words.split_first().unwrap();
    redis::cmd(name).arg(arguments).exec(&mut redis.connection()).unwrap();
}

#[tokio::test]
async fn a_master_that_becomes_a_replica() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let (cluster, hand) = start(&redis).await;
    run(&redis, &["REPLICAOF", "127.0.0.1", "1"]);
    refused(&cluster, &hand, "is a replica").await;
    run(&redis, &["REPLICAOF", "NO", "ONE"]);
    accepted(&cluster, &hand).await;
}

/// Jobs can be taken from a Redis whose memory is full, after a new connection too: nothing else
/// makes room.
#[tokio::test]
async fn a_full_server_lets_jobs_out() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let (mut cluster, hand) = start(&redis).await;
    run(&redis, &["CONFIG", "SET", "maxmemory", "900kb"]);
    refused(&cluster, &hand, "out of memory").await;
    let logged = "signs of life cannot be written";
    let node = &cluster.nodes[0];
    cluster.wait_until(logged, async || node.logged().contains(logged).then_some(())).await;
    run(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    let job = hand.take(Duration::from_secs(5), Duration::from_secs(5)).await;
    assert_eq!(hand.ack(vec![job.receipt]).await, [Settled::Done]);
    // A node that starts now can serve as well.
    cluster.node(0).kill();
    cluster.spawn_all().await;
    assert_eq!(hand.counts().await, [0; 4]);
    run(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
    accepted(&cluster, &hand).await;
}

/// What would lose jobs is told when it is switched on, not at the next connection.
#[tokio::test]
async fn a_setting_that_becomes_unsafe_is_warned_of() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let (cluster, _) = start(&redis).await;
    run(&redis, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let node = &cluster.nodes[0];
    let logged = "was changed: maxmemory-policy is allkeys-lru";
    cluster.wait_until(logged, async || node.logged().contains(logged).then_some(())).await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_written() {
    let folder = tempfile::TempDir::new().unwrap();
    // A folder of that name is in the way of the file.
    std::fs::create_dir(folder.path().join("dump.rdb")).unwrap();
    let args = ["--enable-protected-configs", "yes", "--save", "3600 1"].map(str::to_owned);
    let redis = Redis::start(RedisPlan { args: args.to_vec(), ..RedisPlan::default() }).await;
    let (cluster, hand) = start(&redis).await;
    run(&redis, &["CONFIG", "SET", "dir", folder.path().to_str().unwrap()]);
    run(&redis, &["BGSAVE"]);
    refused(&cluster, &hand, "cannot write to its disk").await;
    std::fs::remove_dir(folder.path().join("dump.rdb")).unwrap();
    run(&redis, &["BGSAVE"]);
    accepted(&cluster, &hand).await;
}

#[tokio::test]
async fn a_server_that_is_still_loading() {
    // Each key takes 10 ms to be read, and questions are answered after each.
    let args = [
        ["--key-load-delay", "10000"],
        ["--loading-process-events-interval-bytes", "1024"],
        ["--rdbcompression", "no"],
    ];
    let args = args.concat().into_iter().map(str::to_owned).collect();
    let plan = RedisPlan { append_only: true, args, ..RedisPlan::default() };
    let mut redis = Redis::start(plan).await;
    let (cluster, hand) = start(&redis).await;
    for key in 0..600 {
        run(&redis, &["SET", &format!("key-{key}"), &"x".repeat(2_000)]);
    }
    run(&redis, &["BGREWRITEAOF"]);
    cluster
        .wait_until("the file", async || {
            let mut connection = redis.connection();
            let info: String = redis::cmd("INFO").arg("persistence").query(&mut connection).ok()?;
            info.contains("aof_rewrite_in_progress:0").then_some(())
        })
        .await;
    tokio::join!(redis.restart(), refused(&cluster, &hand, "is still loading its data"));
    accepted(&cluster, &hand).await;
}
