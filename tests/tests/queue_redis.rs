//! Queues in a real Redis, with real nodes: what is acknowledged is there, whatever is killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what a run checked belongs to its output")]

use std::time::Duration;

use dsync::NodeConnection;
use dsync::api::{Head, QueueReply, QueueRequest};
use dsync::preamble::Plane;
use dsync_core::name::Name;
use dsync_core::node::Role;
use dsync_core::queue::{Backoff, Command, JobId, NewJob, Outcome, Pushed, Query, Seen};
use dsync_core::{Code, Effect, Fault};
use dsync_tests::jobs::{Hand, Load, Mix, command, wait_for_ring};
use dsync_tests::process::redis::{Redis, RedisPlan};
use dsync_tests::process::{Cluster, Plan};
use dsync_tests::wire::{hail, net};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

fn queue() -> Name {
    Name::parse("queue", "orders").unwrap()
}

fn safe() -> RedisPlan {
    RedisPlan { append_only: true, ..RedisPlan::default() }
}

/// Nodes on that Redis, once all are in the ring.
async fn start(redis: &Redis, size: usize) -> Cluster {
    let mut cluster = prepare(redis, size, "");
    cluster.spawn_all().await;
    wait_for_ring(&cluster, size).await;
    cluster
}

fn prepare(redis: &Redis, size: usize, more: &str) -> Cluster {
    let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n{more}", redis.port());
    Cluster::prepare(Plan { role: Some(Role::Queue), size, lines, ..Plan::default() })
}

async fn judge(cluster: &Cluster, load: Load, faults: bool) {
    println!("{:?}", load.judge(&cluster.client("judge"), &queue(), faults).await);
}

fn mix(jobs: u64, rough: bool, pause_ms: u64) -> Mix {
    let pause = Duration::from_millis(pause_ms);
    Mix { producers: 4, consumers: 6, jobs, rough, pause }
}

fn job(number: u32) -> NewJob {
    NewJob {
        id: JobId::random(number.into()),
        payload: b"x".to_vec(),
        priority: 0,
        delay_ms: 0,
        max_attempts: 1,
        backoff: Backoff::default(),
        ttl_ms: 0,
        headers: Vec::new(),
    }
}

async fn push(cluster: &Cluster, number: u32, within: Duration) -> Result<Outcome, Fault> {
    let client = cluster.client("pusher");
    command(&client, &queue(), Command::Push { jobs: vec![job(number)] }, within).await
}

#[tokio::test]
async fn without_faults_every_job_comes_once() {
    let redis = Redis::start(safe()).await;
    let cluster = start(&redis, 3).await;
    let load = Load::start(|name| cluster.client(name), &queue(), 1, mix(4_000, false, 0));
    judge(&cluster, load, false).await;
}

/// Q1, Q10, Q11: nodes and Redis itself are killed and frozen in turn.
#[tokio::test]
async fn nodes_and_redis_die_in_turn() {
    let mut redis = Redis::start(safe()).await;
    let mut cluster = start(&redis, 3).await;
    let load = Load::start(|name| cluster.client(name), &queue(), 2, mix(20_000, true, 4));
    let mut round = 0;
    while !load.all_pushed() || round < 8 {
        sleep(Duration::from_millis(1_500)).await;
        let at = round % 3;
        match round % 4 {
            0 => cluster.node(at).kill(),
            1 => redis.kill9(),
            2 => cluster.node(at).signal(Signal::STOP),
            _ => redis.stop(),
        }
        sleep(Duration::from_millis(1_500)).await;
        match round % 4 {
            0 => cluster.spawn_all().await,
            1 => redis.restart().await,
            2 => cluster.node(at).signal(Signal::CONT),
            _ => redis.cont(),
        }
        round += 1;
    }
    println!("{round} faults");
    judge(&cluster, load, true).await;
}

/// Frozen for long: a typed error within the caller's time, and work again soon after.
#[tokio::test]
async fn a_frozen_redis_is_told_and_forgiven() {
    let redis = Redis::start(safe()).await;
    let cluster = start(&redis, 3).await;
    assert!(is_created(&push(&cluster, 1, Duration::from_secs(5)).await));
    redis.stop();
    let begun = Instant::now();
    let fault = push(&cluster, 2, Duration::from_secs(4)).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_millis(4_500), "{:?}", begun.elapsed());
    assert!(fault.message.contains("Redis at 127.0.0.1"), "{fault:?}");
    sleep(Duration::from_secs(20).saturating_sub(begun.elapsed())).await;
    redis.cont();
    let begun = Instant::now();
    assert!(push(&cluster, 3, Duration::from_secs(5)).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// It was pushed, and was not there before.
fn is_created(pushed: &Result<Outcome, Fault>) -> bool {
    pushed.as_ref() == Ok(&Outcome::Pushed(vec![Pushed::Created]))
}

/// What ends by itself in a queue that nobody uses ends in time: after a pause that is longer than
/// a dispatcher lives, and after a start.
#[tokio::test]
async fn unused_queues_are_looked_after() {
    let redis = Redis::start(safe()).await;
    let mut cluster = start(&redis, 1).await;
    let hand = Hand::new(cluster.client("hand"), "slow");
    let delayed = |number, delay_ms| NewJob { delay_ms, ..job(number) };
    hand.create([delayed(1, 12_000)]).await;
    hand.at("restarted").create([delayed(2, 2_000)]).await;
    cluster.node(0).kill();
    cluster.spawn_all().await;
    hand.at("also").create([delayed(3, 12_000)]).await;
    sleep(Duration::from_secs(13)).await;
    // A list looks at no queue: it tells what was found before.
    let list = Query::Queues { prefix: String::new(), after: None, limit: 10 };
    let Seen::Queues { items, .. } = hand.see(list).await else { panic!("no list") };
    let ready: Vec<(&str, u64)> = items.iter().map(|q| (q.queue.as_str(), q.ready)).collect();
    assert_eq!(ready, [("also", 1), ("restarted", 1), ("slow", 1)]);
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let redis = Redis::start(safe()).await;
    let cluster = start(&redis, 1).await;
    for number in 0..3 {
        assert!(is_created(&push(&cluster, number, Duration::from_secs(5)).await));
        let mut connection = redis.connection();
        redis::cmd("SCRIPT").arg("FLUSH").query::<()>(&mut connection).unwrap();
    }
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_named() {
    let redis = Redis::start(safe()).await;
    let cluster = start(&redis, 1).await;
    let within = Duration::from_secs(2);
    let set = |key: &str, value: &str| {
        let mut connection = redis.connection();
        redis::cmd("CONFIG").arg("SET").arg(key).arg(value).query::<()>(&mut connection).unwrap();
    };
    set("maxmemory", "1");
    let fault = push(&cluster, 1, within).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("out of memory (maxmemory)"), "{fault:?}");
    set("maxmemory", "0");
    assert!(is_created(&push(&cluster, 1, within).await), "nothing was done the first time");
    set("min-replicas-to-write", "1");
    let fault = push(&cluster, 2, within).await.unwrap_err();
    assert!(fault.message.contains("too few replicas"), "{fault:?}");
    set("min-replicas-to-write", "0");
    assert!(is_created(&push(&cluster, 2, within).await));
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let plan = RedisPlan { password: Some("right".into()), ..safe() };
    let redis = Redis::start(plan).await;
    for (line, what) in [("", "NOAUTH"), ("REDIS_PASSWORD=hunter2\n", "does not let this node in")]
    {
        let mut cluster = prepare(&redis, 1, line);
        cluster.spawn_all().await;
        let fault = cluster
            .wait_until("an answer", async || {
                let fault = push(&cluster, 1, Duration::from_secs(2)).await.unwrap_err();
                fault.message.contains("Redis at").then_some(fault)
            })
            .await;
        assert!(fault.message.contains(what), "{fault:?}");
        assert!(!fault.retryable, "waiting does not mend it: {fault:?}");
        assert!(fault.hint.unwrap_or_default().contains("REDIS_PASSWORD"));
        assert!(!cluster.node(0).logged().contains("hunter2"));
    }
    let mut cluster = prepare(&redis, 1, "REDIS_PASSWORD=right\n");
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 1).await;
    assert!(is_created(&push(&cluster, 1, Duration::from_secs(5)).await));
}

/// No jobs where they may be thrown away; nor under a name that is taken.
#[tokio::test]
async fn an_unsafe_redis_and_a_taken_name_are_refused() {
    let plan =
        RedisPlan { args: vec!["--maxmemory-policy".into(), "allkeys-lru".into()], ..safe() };
    let redis = Redis::start(plan).await;
    let mut cluster = prepare(&redis, 1, "");
    cluster.spawn_all().await;
    assert_eq!(cluster.node(0).exit_code(Duration::from_secs(10)).await, 78);
    let log = cluster.node(0).logged();
    assert!(log.contains("maxmemory-policy is allkeys-lru"), "{log}");
    let mut cluster = prepare(&redis, 1, "REDIS_ALLOW_UNSAFE=true\n");
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 1).await;

    let mut other = prepare(&redis, 1, "REDIS_ALLOW_UNSAFE=true\n");
    other.spawn_all().await;
    assert_eq!(other.node(0).exit_code(Duration::from_secs(10)).await, 78);
    let log = other.node(0).logged();
    assert!(log.contains("NODE_ID node-queue-1 is in use by a live node"), "{log}");
}

/// Q10: nodes come and go under load.
#[tokio::test]
async fn three_nodes_become_six_and_three_again() {
    let redis = Redis::start(safe()).await;
    let mut cluster = start(&redis, 6).await;
    for at in 3..6 {
        cluster.node(at).kill();
    }
    wait_for_ring(&cluster, 3).await;
    let load = Load::start(|name| cluster.client(name), &queue(), 5, mix(8_000, false, 4));
    sleep(Duration::from_secs(1)).await;
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 6).await;
    sleep(Duration::from_secs(1)).await;
    for at in 3..6 {
        cluster.node(at).signal(Signal::TERM);
        assert_eq!(cluster.node(at).exit_code(Duration::from_secs(10)).await, 0);
    }
    wait_for_ring(&cluster, 3).await;
    judge(&cluster, load, false).await;
}

/// Whether it is in charge of the queue or hands the pop on, and whoever is in charge after it.
#[tokio::test]
async fn a_node_that_stops_lets_waiting_consumers_go() {
    let redis = Redis::start(safe()).await;
    let mut cluster = start(&redis, 3).await;
    for at in 0..2 {
        let waiting = tokio::spawn(wait_at(cluster.node(at).listen.clone()));
        // By then the pop waits at the node, or where that one handed it on to.
        sleep(Duration::from_millis(500)).await;
        cluster.node(at).signal(Signal::TERM);
        let fault = waiting.await.unwrap().unwrap_err();
        assert!(fault.message.contains("stopping"), "{at}: {fault:?}");
        assert_eq!(fault.effect, Effect::None);
        assert_eq!(cluster.node(at).exit_code(Duration::from_secs(10)).await, 0);
    }
}

/// Waits for a job at that node alone, on a connection of its own.
async fn wait_at(address: String) -> Result<QueueReply, Fault> {
    let hail = hail(Plane::Client);
    let limit = Duration::from_secs(30);
    let node = NodeConnection::open(&net(), &address, &hail, limit).await.unwrap();
    let command = Command::Pop {
        request: 7,
        max: 1,
        lease_ms: 30_000,
        ack: false,
        consumer: Name::parse("consumer", "c").unwrap(),
    };
    let (queue, durability) = (queue(), None);
    let request = QueueRequest::Do { queue, command, wait_ms: 15_000, durability };
    node.queue(Head { request_id: 7, ..Head::default() }, request, limit).await.unwrap().result
}
