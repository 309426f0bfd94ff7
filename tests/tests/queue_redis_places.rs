//! Where Redis is, and what becomes of it: Sentinel, Cluster, levels of durability, two servers that
//! were taken for one, a server that forgot all.
#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync::api::Durability;
use dsync_core::Code;
use dsync_core::node::Role;
use dsync_core::queue::{Command, Outcome, Pushed, Settled, State};
use dsync_tests::jobs::hand::{ids, job, receipts};
use dsync_tests::jobs::{Hand, ring, wait_for_ring};
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::redis_sets::{Shards, Watched, replica_of, replicas};
use dsync_tests::process::{Cluster, Plan, Redis, RedisPlan};
use futures::future::join_all;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

const LONG: Duration = Duration::from_secs(600);
const SOON: Duration = Duration::from_secs(15);
const NONE: Duration = Duration::ZERO;

fn at(redis: &Redis) -> String {
    format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port())
}

fn prepare(size: usize, lines: String) -> Cluster {
    Cluster::prepare(Plan { role: Some(Role::Queue), size, lines, ..Plan::default() })
}

async fn start(size: usize, lines: String) -> Cluster {
    let mut cluster = prepare(size, lines);
    cluster.spawn_all().await;
    wait_for_ring(&cluster, size).await;
    cluster
}

fn hand(cluster: &Cluster, queue: &str) -> Hand {
    Hand::new(cluster.client("hand"), queue)
}

fn hand_at(cluster: &Cluster, node: usize, queue: &str) -> Hand {
    let listen = cluster.nodes[node].listen.clone();
    Hand::new(client_of(vec![listen], "hand"), queue)
}

async fn push_safely(
    hand: &Hand,
    id: &str,
    wanted: Durability,
) -> Result<(Outcome, Durability), dsync_core::Fault> {
    hand.try_do(Command::Push { jobs: vec![job(id, "")] }, NONE, Some(wanted)).await
}

fn created() -> Outcome {
    Outcome::Pushed(vec![Pushed::Created])
}

/// What producers were told is safe, and how long they were told nothing.
#[derive(Default)]
struct Told {
    safe: Mutex<BTreeSet<String>>,
    gap: Mutex<Duration>,
    stop: AtomicBool,
}

/// Pushes job after job, each until it is known to be on a replica too.
async fn produce(hand: Hand, number: usize, told: Arc<Told>) {
    let (mut last, mut count) = (Instant::now(), 0);
    while !told.stop.load(Ordering::Relaxed) {
        let id = format!("{number}-{count}");
        match push_safely(&hand, &id, Durability::Replica).await {
            Ok((Outcome::Pushed(_), Durability::Replica)) => {
                let mut gap = told.gap.lock();
                *gap = last.elapsed().max(*gap);
                last = Instant::now();
                told.safe.lock().insert(id);
                count += 1;
            }
            // Not known to be on a replica, and said so: not safe yet, so once more.
            Ok(_) => {}
            Err(fault) => assert!(fault.retryable, "{fault:?}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Two failovers under load: nothing is lost of what was said to be on a replica.
#[tokio::test]
async fn sentinel_fails_over_and_nothing_replicated_is_lost() {
    let mut watched = Watched::start().await;
    let cluster = start(3, watched.lines()).await;
    let told = Arc::<Told>::default();
    let producers: Vec<_> = (0..4)
        .map(|number| tokio::spawn(produce(hand(&cluster, "safe"), number, Arc::clone(&told))))
        .collect();
    for _ in 0..2 {
        sleep(Duration::from_secs(2)).await;
        let old = watched.master().unwrap();
        let before = told.safe.lock().len();
        watched.kill9(old);
        cluster
            .wait_until("writes to go on by themselves", async || {
                (told.safe.lock().len() > before + 50).then_some(())
            })
            .await;
        assert_ne!(watched.master(), Some(old));
        watched.restart(old).await;
        cluster
            .wait_until("the old master to follow", async || {
                let master = watched.servers.get(watched.master()?)?;
                (replicas(master.port()) == 2).then_some(())
            })
            .await;
    }
    told.stop.store(true, Ordering::Relaxed);
    for producer in producers {
        producer.await.unwrap();
    }
    let (safe, gap) = (told.safe.lock().clone(), *told.gap.lock());
    println!("{} jobs on a replica, {gap:?} without a word at most", safe.len());
    // One second until it counts as down, the election, and a busy machine.
    assert!(gap < Duration::from_secs(15), "{gap:?}");
    let hand = hand(&cluster, "safe");
    let mut found = BTreeSet::new();
    loop {
        let taken = hand.pop(1_000, LONG, NONE).await;
        if taken.is_empty() {
            break;
        }
        found.extend(taken.iter().map(|job| job.receipt.id.to_string()));
    }
    let lost: Vec<&String> = safe.difference(&found).collect();
    assert!(safe.len() > 100 && lost.is_empty(), "lost of {}: {lost:?}", safe.len());
    hand.audit().await;
}

/// Queues in all slots; one of three masters dies and comes back.
#[tokio::test]
async fn a_redis_cluster_loses_a_master_and_gets_it_back() {
    let mut shards = Shards::start().await;
    let cluster = start(3, shards.lines()).await;
    let names: Vec<String> = (0..12).map(|number| format!("q-{number}")).collect();
    let mut slots = BTreeSet::new();
    for name in &names {
        let partition = dsync_core::queue::partition_of(hand(&cluster, name).queue());
        slots.insert(partition);
        hand_at(&cluster, 0, name).create([job("a", name.as_str()), job("b", "")]).await;
    }
    assert!(slots.len() > 6, "{slots:?}");
    let held = join_all(names.iter().map(|name| {
        let hand = hand_at(&cluster, 1, name);
        async move { hand.take(LONG, NONE).await }
    }))
    .await;
    shards.servers[1].kill9();
    sleep(Duration::from_secs(4)).await;
    shards.servers[1].restart().await;
    shards.wait().await;
    let begun = Instant::now();
    for (name, held) in names.iter().zip(held) {
        assert_eq!(held.payload, name.as_bytes());
        let hand = hand_at(&cluster, 2, name);
        assert_eq!(hand.ack(vec![held.receipt]).await, [Settled::Done], "{name}");
        let taken = hand.pop(9, LONG, NONE).await;
        assert_eq!(ids(&taken), ["b"], "{name}");
        hand.audit().await;
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // A push at one node wakes who waits at another one, whichever shard has the queue.
    let waiter = hand_at(&cluster, 0, "q-0");
    let waiting = tokio::spawn(async move { waiter.take(LONG, SOON).await });
    sleep(Duration::from_millis(500)).await;
    hand_at(&cluster, 2, "q-0").create([job("c", "")]).await;
    assert_eq!(waiting.await.unwrap().receipt.id.as_str(), "c");
    let fault = push_safely(&hand(&cluster, "q-1"), "x", Durability::Replica).await.unwrap_err();
    assert!(fault.message.contains("Redis Cluster"), "{fault:?}");
}

#[tokio::test]
async fn fsync_is_reached_with_always_and_refused_without() {
    let always = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let cluster = start(1, at(&always)).await;
    let user = hand(&cluster, "q");
    let done = push_safely(&user, "a", Durability::Fsync).await;
    assert_eq!(done, Ok((created(), Durability::Fsync)));
    let plain = user.try_do(Command::Push { jobs: vec![job("b", "")] }, NONE, None).await;
    assert_eq!(plain, Ok((created(), Durability::Fsync)), "as safe as the server makes it");
    let fault = push_safely(&user, "c", Durability::Replica).await.unwrap_err();
    assert_eq!(fault.code, Code::InvalidArgument);
    assert!(fault.message.contains("durability replica: this Redis has no replica"), "{fault:?}");
    let fault = push_safely(&user, "c", Durability::Quorum).await.unwrap_err();
    assert!(fault.message.contains("only STORE=raft"), "{fault:?}");
    assert_eq!(user.show("c").await, None, "what was refused is not there");

    let args = ["--appendonly", "yes", "--appendfsync", "everysec"].map(str::to_owned).to_vec();
    let everysec = Redis::start(RedisPlan { args, ..RedisPlan::default() }).await;
    let cluster = start(1, at(&everysec)).await;
    let user = hand(&cluster, "q");
    let done = push_safely(&user, "a", Durability::Memory).await.unwrap();
    assert_eq!(done.1, Durability::Memory);
    let fault = push_safely(&user, "b", Durability::Fsync).await.unwrap_err();
    assert_eq!(fault.code, Code::InvalidArgument);
    for word in ["durability fsync", "7.0.15", "appendfsync always", "7.2"] {
        assert!(fault.message.contains(word), "{word}: {fault:?}");
    }
    assert_eq!(user.ids(State::Ready).await, ["a"]);
}

/// A node that lives for long hears of replicas that come and go, and of another policy.
#[tokio::test]
async fn what_is_safe_is_looked_at_anew() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let cluster = start(1, at(&redis)).await;
    let user = hand(&cluster, "q");
    let refused = push_safely(&user, "a", Durability::Replica).await;
    assert!(refused.is_err(), "{refused:?}");
    let replica = Redis::start(replica_of(redis.port())).await;
    cluster
        .wait_until("a push that is on the replica", async || {
            let done = push_safely(&user, "a", Durability::Replica).await.ok()?;
            (done.1 == Durability::Replica).then_some(())
        })
        .await;
    drop(replica);
    let begun = Instant::now();
    let done = push_safely(&user, "b", Durability::Replica).await;
    assert!(!matches!(done, Ok((_, Durability::Replica))), "there is none: {done:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let mut connection = redis.connection();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("appendfsync").arg("everysec").query::<()>(&mut connection).unwrap();
    cluster
        .wait_until("the node to promise no more than there is", async || {
            let refused = push_safely(&user, "c", Durability::Fsync).await.is_err();
            refused.then_some(())
        })
        .await;
}

/// A replica that is there and says nothing: who waits for it waits, and nobody else.
#[tokio::test]
async fn a_frozen_replica_holds_up_nobody_else() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let replica = Redis::start(replica_of(redis.port())).await;
    let cluster = start(1, at(&redis)).await;
    let user = hand(&cluster, "plain");
    cluster
        .wait_until("the replica to be in step", async || {
            (replicas(redis.port()) == 1).then_some(())
        })
        .await;
    let done = push_safely(&user, "a", Durability::Replica).await;
    assert_eq!(done, Ok((created(), Durability::Replica)));
    replica.stop();
    let safely = (0..8).map(|number| {
        let user = hand(&cluster, &format!("safe-{number}"));
        tokio::spawn(async move { push_safely(&user, "a", Durability::Replica).await })
    });
    let safely: Vec<_> = safely.collect();
    for number in 0..40 {
        let begun = Instant::now();
        user.create([job(&number.to_string(), "")]).await;
        let taken = user.take(LONG, NONE).await;
        assert_eq!(user.ack(vec![taken.receipt]).await, [Settled::Done]);
        assert!(begun.elapsed() < Duration::from_secs(3), "{number}: {:?}", begun.elapsed());
        sleep(Duration::from_millis(200)).await;
    }
    for done in join_all(safely).await {
        match done.unwrap() {
            Ok((_, reached)) => assert_eq!(reached, Durability::Fsync, "and no more is said"),
            Err(fault) => assert!(fault.retryable, "{fault:?}"),
        }
    }
    let log = cluster.nodes.first().unwrap().logged();
    assert!(!log.contains("broke"), "the node's connection goes on:\n{log}");
    replica.cont();
}

/// One node of two points at another Redis: each says so, and no job goes to the wrong one.
#[tokio::test]
async fn two_stores_are_told_apart() {
    let (here, there) =
        (Redis::start(RedisPlan::default()).await, Redis::start(RedisPlan::default()).await);
    let mut cluster = prepare(2, at(&here));
    let port = |redis: &Redis| format!("REDIS_PORT={}\n", redis.port());
    cluster.node(1).edit(&port(&here), &port(&there));
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 1).await;
    for (node, other) in [(0, 1), (1, 0)] {
        let (target, listen) = (&cluster.nodes[node].name, cluster.nodes[node].listen.clone());
        let problems = cluster
            .wait_until("the node to say so", async || {
                let info = info(&client_of(vec![listen.clone()], "info"), target).await?;
                (!info.problems.is_empty()).then_some(info)
            })
            .await;
        let said = problems.problems.join("; ");
        let other = &cluster.nodes[other];
        assert!(said.contains(&other.name) && said.contains("another store"), "{said}");
        let ours = problems.cluster.unwrap().to_string();
        let theirs = info(&client_of(vec![other.listen.clone()], "info"), &other.name).await;
        let theirs = theirs.unwrap().cluster.unwrap().to_string();
        assert!(said.contains(&ours) && said.contains(&theirs), "{said}");
        assert!(cluster.nodes[node].logged().contains("another store"));
    }
    for number in 0..20 {
        let (one, two) = (hand_at(&cluster, 0, &format!("q-{number}")), hand_at(&cluster, 1, "x"));
        one.create([job("a", "")]).await;
        assert_eq!(two.at(one.queue().as_str()).try_stats().await, None, "another queue");
    }
    // A client that has met one of them refuses the other.
    let both = hand(&cluster, "q-0");
    let met = ring(both.client()).await.unwrap().members.first().unwrap().node.clone();
    let at = cluster.nodes.iter().position(|node| node.name == met).unwrap();
    let ours = info(both.client(), &met).await.unwrap().cluster.unwrap();
    let other = hand_at(&cluster, 1 - at, "q-0");
    let pinned = other.client().clone().expect_cluster(Role::Queue, ours);
    let fault = Hand::new(pinned, "q-0").try_do(Command::Resume, NONE, None).await.unwrap_err();
    assert_eq!(fault.code, Code::WrongCluster, "{fault:?}");
    cluster.node(at).kill();
    // Until the client has seen that, a request is on a connection that breaks.
    sleep(Duration::from_millis(500)).await;
    let fault = both.try_do(Command::Resume, NONE, None).await.unwrap_err();
    assert!(fault.message.contains("belongs to cluster"), "{fault:?}");
    assert_eq!(fault.effect, dsync_core::Effect::None);
}

async fn info(client: &dsync::Client, node: &str) -> Option<dsync::api::NodeInfo> {
    use dsync::api::{AdminReply, AdminRequest};
    let options =
        dsync::CallOptions { target: Some(node.to_owned()), ..dsync::CallOptions::default() };
    let answer = client.admin(AdminRequest::NodeInfo, options).await.ok()?.result.ok()?;
    let AdminReply::Node(info) = answer else { panic!("answered {answer:?}") };
    Some(*info)
}

/// Prototype: every replica of the scaled service had the same id and knew no other.
#[tokio::test]
async fn scaled_replicas_find_each_other() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let mut cluster = prepare(3, at(&redis));
    for at in 0..3 {
        let node = cluster.node(at);
        node.edit(&format!("NODE_ID={}\n", node.name), "NODE_ID=auto\n");
        let lines = std::fs::read_to_string(&node.env_file).unwrap();
        let peers = lines.lines().find(|line| line.starts_with("PEER_ADDRESSES=")).unwrap();
        node.edit(peers, "PEER_ADDRESSES=");
    }
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 3).await;
    let members = ring(&cluster.client("ring")).await.unwrap().members;
    let names: BTreeSet<&str> = members.iter().map(|one| one.node.as_str()).collect();
    let shares: Vec<u16> = members.iter().map(|one| one.partitions).collect();
    assert_eq!((names.len(), shares.iter().sum::<u16>()), (3, 256), "{members:?}");
    assert!(shares.iter().all(|share| (60..=100).contains(share)), "{members:?}");
    let queues: Vec<String> = (0..16).map(|number| format!("q-{number}")).collect();
    for queue in &queues {
        hand_at(&cluster, 0, queue).create([job("a", "")]).await;
    }
    // Scaled down: the others take over, and nothing is lost.
    cluster.node(0).signal(rustix::process::Signal::TERM);
    assert_eq!(cluster.node(0).exit_code(Duration::from_secs(15)).await, 0);
    wait_for_ring(&cluster, 2).await;
    for queue in &queues {
        assert_eq!(hand_at(&cluster, 1, queue).take(LONG, SOON).await.receipt.id.as_str(), "a");
        hand_at(&cluster, 2, queue).create([job("b", "")]).await;
    }
    // And up again, under its old name.
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 3).await;
    let again = ring(&cluster.client("ring")).await.unwrap().members;
    let live = again.iter().filter(|one| one.live).map(|one| one.node.as_str()).collect();
    assert_eq!(names, live);
    for queue in &queues {
        assert_eq!(hand_at(&cluster, 0, queue).take(LONG, SOON).await.receipt.id.as_str(), "b");
    }
}

/// Any node of any role answers, where it knows one that can.
#[tokio::test]
async fn lock_and_queue_nodes_answer_for_each_other() {
    let redis = Redis::start(RedisPlan::default()).await;
    let mut queues = prepare(2, at(&redis));
    let mut locks = Cluster::prepare(Plan::default());
    let (of_locks, of_queues) = (locks.endpoints(), queues.endpoints());
    for (cluster, others) in [(&queues, &of_locks), (&locks, &of_queues)] {
        for node in &cluster.nodes {
            let line = format!("CLUSTER_ADDRESSES={others}\nPEER_ADDRESSES=");
            node.edit("PEER_ADDRESSES=", &line);
        }
    }
    queues.spawn_all().await;
    locks.spawn_all().await;
    wait_for_ring(&queues, 2).await;
    locks.wait_for_leader().await;
    locks
        .wait_until("the lock nodes to know queue nodes", async || {
            let user = hand_at(&locks, 0, "probe");
            user.try_do(Command::Resume, NONE, None).await.ok().map(drop)
        })
        .await;
    for at in 0..3 {
        let user = hand_at(&locks, at, "q");
        let waiter = user.clone();
        let waiting = tokio::spawn(async move { waiter.take(LONG, SOON).await });
        sleep(Duration::from_millis(300)).await;
        hand_at(&locks, (at + 1) % 3, "q").create([job(&at.to_string(), "x")]).await;
        let taken = waiting.await.unwrap();
        assert_eq!(user.ack(vec![taken.receipt]).await, [Settled::Done]);
    }
    let arguments = ["lock", "acquire", "a", "--owner", "me", "-o", "json"];
    let endpoint = queues.nodes.first().unwrap().listen.clone();
    dsync_tests::process::dsctl::run(&endpoint, &arguments).await.ok();
    let listed = locks.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    assert_eq!(listed.pointer("/holders/0/owner").and_then(|v| v.as_str()), Some("me"));
}

/// Prototype: one Redis connection per waiting consumer.
#[tokio::test]
async fn a_thousand_waiting_consumers_cost_few_connections() {
    let redis = Redis::start(RedisPlan::default()).await;
    let cluster = start(3, at(&redis)).await;
    let mut waiting = Vec::new();
    for group in 0..20 {
        let hand = hand_at(&cluster, group % 3, &format!("q-{}", group % 4));
        for _ in 0..50 {
            let hand = hand.clone();
            waiting.push(tokio::spawn(async move {
                let job = hand.take(LONG, Duration::from_secs(20)).await;
                hand.ack(vec![job.receipt]).await
            }));
        }
    }
    sleep(Duration::from_secs(4)).await;
    let mut connection = redis.connection();
    let list = redis::cmd("CLIENT").arg("LIST").query::<String>(&mut connection).unwrap();
    let count = list.lines().count() - 1;
    println!("{count} connections");
    assert!(count <= 3 * 4, "{count} connections of three nodes:\n{list}");
    for queue in 0..4 {
        let user = hand_at(&cluster, 1, &format!("q-{queue}"));
        user.create((0..250).map(|number| job(&number.to_string(), ""))).await;
    }
    for one in join_all(waiting).await {
        assert_eq!(one.unwrap(), [Settled::Done], "one job each");
    }
}

/// A server that was started again without its data: everything is gone, and everything goes on.
#[tokio::test]
async fn a_redis_that_forgot_everything_is_used_on() {
    let mut redis = Redis::start(RedisPlan::default()).await;
    let cluster = start(3, at(&redis)).await;
    let user = hand(&cluster, "q");
    user.create([job("a", ""), job("b", "")]).await;
    let old = user.take(LONG, NONE).await.receipt;
    let waiter = hand_at(&cluster, 1, "other");
    let waiting = tokio::spawn(async move { waiter.take(LONG, Duration::from_secs(20)).await });
    sleep(Duration::from_millis(500)).await;
    redis.restart().await;
    user.create([job("a", "")]).await;
    assert_eq!(user.ack(vec![old.clone()]).await, [Settled::Stale], "of before");
    let taken = user.pop(9, LONG, NONE).await;
    assert_eq!(ids(&taken), ["a"]);
    assert!(receipts(&taken).iter().all(|one| one.token > old.token), "tokens go on rising");
    hand_at(&cluster, 2, "other").create([job("c", "")]).await;
    assert_eq!(waiting.await.unwrap().receipt.id.as_str(), "c");
    wait_for_ring(&cluster, 3).await;
    // New connections of a client that was there before, too.
    let mut cluster = cluster;
    cluster.kill_all();
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 3).await;
    assert_eq!(user.counts().await, [0, 0, 1, 0]);
    user.audit().await;
}
