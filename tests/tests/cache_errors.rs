//! What a cache node refuses: bad requests, a name that is taken, a node of another store.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use dsync::api::{CacheReply, CacheRequest, Changed, KEYS_MAX};
use dsync_core::cache::op::{
    Action, Bytes, Condition, Outcome, TAGS_MAX, TTL_MAX_MS, VALUE_MAX, Value, tags_of,
};
use dsync_core::name::{NAME_MAX, Name};
use dsync_core::node::Role;
use dsync_core::{Code, Effect, Fault};
use dsync_tests::cache::Hand;
use dsync_tests::cache::hand::{key, set};
use dsync_tests::cache::nodes::Nodes;
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::node::http_get;
use dsync_tests::process::{Cluster, Plan, Redis, RedisPlan};

fn set_with(bytes: usize, tags: usize, ttl_ms: Option<u64>) -> Action {
    let tags = (0..tags).map(|n| key(&format!("tag-{n}"))).collect();
    let value = Value { bytes: Bytes::from(vec![b'x'; bytes]), tags: tags_of(tags) };
    Action::Set { value, condition: Condition::Always, ttl_ms }
}

fn none_done(fault: &Fault, code: Code) {
    assert_eq!((fault.code, fault.effect), (code, Effect::None), "{fault:?}");
}

async fn bad_requests_are_refused_and_nothing_is_done(on_redis: bool) {
    let nodes = Nodes::start(on_redis, false, "").await;
    let hand = nodes.at(0);
    hand.set("k", "one").await.unwrap();
    for (action, code) in [
        (set_with(VALUE_MAX + 1, 0, None), Code::LimitReached),
        (set_with(1, TAGS_MAX + 1, None), Code::InvalidArgument),
        (set_with(1, 0, Some(0)), Code::InvalidArgument),
        (set_with(1, 0, Some(TTL_MAX_MS + 1)), Code::InvalidArgument),
    ] {
        none_done(&hand.act("k", action).await.unwrap_err(), code);
    }
    // Several in one request: one that is bad spoils it, before any is made.
    let changes = vec![(key("k"), set("two")), (key("l"), set_with(1, 0, Some(0)))];
    none_done(&hand.ask(CacheRequest::Do { changes }).await.unwrap_err(), Code::InvalidArgument);
    let keys = |count: usize| (0..count).map(|n| key(&format!("k{n}"))).collect::<Vec<_>>();
    for count in [0, KEYS_MAX + 1] {
        let request = CacheRequest::Get { keys: keys(count), max_stale_ms: None };
        none_done(&hand.ask(request).await.unwrap_err(), Code::InvalidArgument);
        let changes = keys(count).into_iter().map(|key| (key, set("x"))).collect();
        let request = CacheRequest::Do { changes };
        none_done(&hand.ask(request).await.unwrap_err(), Code::InvalidArgument);
    }
    // A key that is none is not even a request.
    for text in ["", &"k".repeat(NAME_MAX + 1), "a\nb"] {
        let fault = Name::parse("key", text).unwrap_err();
        none_done(&fault, Code::InvalidArgument);
    }
    assert_eq!(hand.get("k").await.unwrap().as_deref(), Some("one"));
    what_is_just_possible(&hand).await;
    what_is_no_number(&hand).await;
}

async fn what_is_just_possible(hand: &Hand) {
    let largest = set_with(VALUE_MAX, TAGS_MAX, Some(TTL_MAX_MS));
    assert_eq!(hand.act("large", largest).await.unwrap().outcome, Outcome::Set);
    let got = hand.got("large", None).await.unwrap().value.unwrap();
    assert_eq!((got.bytes.as_slice().len(), got.tags.len()), (VALUE_MAX, TAGS_MAX));
    let longest = "k".repeat(NAME_MAX);
    hand.set(&longest, "x").await.unwrap();
    assert_eq!(hand.get(&longest).await.unwrap().as_deref(), Some("x"));
    let keys = (0..KEYS_MAX).map(|n| key(&format!("k{n}"))).collect();
    let reply = hand.ask(CacheRequest::Get { keys, max_stale_ms: None }).await.unwrap();
    let CacheReply::Read(got) = reply else { panic!("another answer") };
    assert_eq!(got.len(), KEYS_MAX);
    assert!(got.iter().all(|one| one.value.is_none()));
}

async fn what_is_no_number(hand: &Hand) {
    let add = |by| Action::Increment { by };
    for text in ["", "x", "1.5", "+1", "007", " 1", "9223372036854775808"] {
        hand.set("n", text).await.unwrap();
        let Changed { outcome, .. } = hand.act("n", add(1)).await.unwrap();
        assert_eq!(outcome, Outcome::NotANumber, "{text:?}");
        assert_eq!(hand.get("n").await.unwrap().as_deref(), Some(text), "it is as it was");
    }
    hand.set("n", &i64::MIN.to_string()).await.unwrap();
    assert_eq!(hand.act("n", add(-1)).await.unwrap().outcome, Outcome::Overflow);
    assert_eq!(hand.act("n", add(1)).await.unwrap().outcome, Outcome::Number(i64::MIN + 1));
}

#[tokio::test]
async fn bad_requests_are_refused_and_nothing_is_done_on_raft() {
    bad_requests_are_refused_and_nothing_is_done(false).await;
}

#[tokio::test]
async fn bad_requests_are_refused_and_nothing_is_done_on_redis() {
    bad_requests_are_refused_and_nothing_is_done(true).await;
}

/// Cache nodes on a Redis, which know of others at those addresses and no more.
fn on_redis(redis: &Redis, size: usize, others: &str) -> Cluster {
    let redis = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port());
    let lines = format!("{redis}CLUSTER_ADDRESSES={others}\n");
    Cluster::prepare(Plan { size, role: Some(Role::Cache), lines, ..Plan::default() })
}

fn hand_at(cluster: &Cluster, at: usize) -> Hand {
    let listen = cluster.nodes.get(at).expect("a node of that place").listen.clone();
    Hand::new(client_of(vec![listen], "hand").fail_fast())
}

async fn serves(cluster: &Cluster, count: usize) {
    let hand = hand_at(cluster, 0);
    cluster
        .wait_until("the cache to serve", async || {
            let view = hand.view().await.ok()?;
            (view.serving && view.members.len() == count).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_reported_and_takes_no_part() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let mut first = on_redis(&redis, 2, "");
    first.spawn_all().await;
    serves(&first, 2).await;
    hand_at(&first, 0).set("k", "one").await.unwrap();
    let before = hand_at(&first, 0).view().await.unwrap();
    // Another `node-cache-1`, somewhere else.
    let mut second = on_redis(&redis, 1, "");
    second.spawn_all().await;
    let taken = "NODE_ID node-cache-1 is in use by a live node at";
    let node = second.nodes.first().expect("it has one");
    second
        .wait_until("it to see the other", async || node.logged().contains(taken).then_some(()))
        .await;
    let ready = http_get(&node.metrics, "/readyz").await;
    assert!(ready.contains("503"), "it takes no part: {ready}");
    let fault = hand_at(&second, 0).within(Duration::from_secs(3)).act("k", set("theirs")).await;
    // It may be handed on to those that do take part; by itself it changes nothing.
    if let Err(fault) = fault {
        assert_eq!(fault.code, Code::Unavailable, "{fault:?}");
    }
    let after = hand_at(&first, 0).view().await.unwrap();
    assert_eq!(after.epoch, before.epoch, "the others go on undisturbed");
    assert_eq!(after.members, before.members);
    hand_at(&first, 0).set("k", "two").await.unwrap();
    assert_eq!(hand_at(&first, 1).get("k").await.unwrap().as_deref(), Some("two"));
    // Once the first one is gone for good, its name is free.
    first.node(0).kill();
    serves(&second, 2).await;
    assert_eq!(hand_at(&second, 0).get("k").await.unwrap().as_deref(), Some("two"));
}

#[tokio::test]
async fn a_node_of_another_store_stays_apart() {
    let stores = tokio::join!(
        Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }),
        Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() })
    );
    let mut first = on_redis(&stores.0, 1, "");
    first.spawn_all().await;
    serves(&first, 1).await;
    hand_at(&first, 0).set("k", "one").await.unwrap();
    let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", stores.1.port());
    let mut second =
        Cluster::prepare(Plan { size: 1, role: Some(Role::Cache), lines, ..Plan::default() });
    let other = first.endpoints();
    second
        .nodes
        .first()
        .expect("it has one")
        .edit("PEER_ADDRESSES=", &format!("PEER_ADDRESSES={other}"));
    second.spawn_all().await;
    let hand = hand_at(&second, 0).within(Duration::from_secs(1));
    let said = second
        .wait_until("the node of another store to say so", async || {
            let fault = hand.get("k").await.err()?;
            fault.message.contains("keep their keys elsewhere").then_some(fault)
        })
        .await;
    assert_eq!(said.code, Code::Unavailable);
    // Neither a value nor a view goes from one to the other.
    assert_eq!(hand_at(&first, 0).get("k").await.unwrap().as_deref(), Some("one"));
    assert_eq!(hand_at(&first, 0).view().await.unwrap().members.len(), 1);
}
