//! Three cache nodes, with both memories: what a user does, and what happens when nodes end.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![expect(clippy::cognitive_complexity, reason = "a story of many steps")]
#![expect(clippy::print_stdout, reason = "what a run measured belongs to its output")]

use std::time::Duration;

use dsync::api::{CacheReply, CacheRequest, Source};
use dsync_core::Code;
use dsync_core::cache::command::Selector;
use dsync_core::cache::op::{Action, Bytes, Condition, Outcome, Value, tags_of};
use dsync_tests::cache::hand::{key, set_if, text};
use dsync_tests::cache::nodes::Nodes;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

/// The lease of these nodes.
const LEASE: Duration = Duration::from_secs(2);

async fn a_value_goes_from_node_to_node(on_redis: bool) {
    let nodes = Nodes::start(on_redis, false, "").await;
    let [a, b, c] = [nodes.at(0), nodes.at(1), nodes.at(2)];
    assert_eq!(a.get("k").await.unwrap(), None);
    let first = b.set("k", "one").await.unwrap();
    assert_eq!(a.get("k").await.unwrap().as_deref(), Some("one"), "not the absence it had");
    let got = a.got("k", None).await.unwrap();
    assert_eq!((got.version, got.ttl_ms), (first, None));
    assert_ne!(got.from, Source::Memory, "it has a line");
    for hand in [&b, &c] {
        assert_eq!(hand.get("k").await.unwrap().as_deref(), Some("one"));
        assert_eq!(hand.got("k", None).await.unwrap().from, Source::Shared);
    }
    let second = c.set("k", "two").await.unwrap();
    assert!(second > first);
    for hand in [&a, &b, &c] {
        assert_eq!(hand.get("k").await.unwrap().as_deref(), Some("two"));
    }
    let seen = a.inspect("k").await.unwrap();
    assert_eq!(seen.memory, Some((second, 3)));
    assert_eq!(seen.lines.len(), 3);
    assert!(
        seen.lines.iter().all(|(_, line)| line.as_ref().unwrap().version == Some(second)),
        "{seen:?}"
    );
    assert!(seen.directory.contains("shared"), "{seen:?}");
    assert_eq!(seen.holders.len(), 3);
    conditions(&nodes).await;
    many(&nodes).await;
}

async fn conditions(nodes: &Nodes) {
    let [a, b] = [nodes.at(0), nodes.at(1)];
    let two = a.got("k", None).await.unwrap().version;
    let unmet = a.act("k", set_if("x", Condition::Absent)).await.unwrap();
    assert_eq!(unmet.outcome, Outcome::Unmet(Some(two)));
    let met = b.act("k", set_if("three", Condition::Version(two))).await.unwrap();
    assert_eq!(met.outcome, Outcome::Set);
    let unmet = a.act("k", set_if("x", Condition::Version(two))).await.unwrap();
    assert_eq!(unmet.outcome, Outcome::Unmet(Some(met.version)));
    let add = |by| Action::Increment { by };
    assert_eq!(a.act("n", add(5)).await.unwrap().outcome, Outcome::Number(5));
    assert_eq!(b.act("n", add(-7)).await.unwrap().outcome, Outcome::Number(-2));
    assert_eq!(b.act("k", add(1)).await.unwrap().outcome, Outcome::NotANumber);
    let delete = || Action::Delete { condition: Condition::Always };
    assert_eq!(b.act("k", delete()).await.unwrap().outcome, Outcome::Deleted(true));
    assert_eq!(a.act("k", delete()).await.unwrap().outcome, Outcome::Deleted(false));
    assert_eq!(a.get("k").await.unwrap(), None);
    let value = Value { bytes: Bytes::from(&b"short"[..]), tags: tags_of(Vec::new()) };
    let brief = Action::Set { value, condition: Condition::Always, ttl_ms: Some(700) };
    a.act("t", brief).await.unwrap();
    let got = b.got("t", None).await.unwrap();
    assert!(got.value.is_some() && got.ttl_ms.is_some_and(|left| left <= 700), "{got:?}");
    sleep(Duration::from_millis(800)).await;
    for hand in [&a, &b] {
        assert_eq!(hand.get("t").await.unwrap(), None, "its time is over");
    }
}

async fn many(nodes: &Nodes) {
    let [a, b] = [nodes.at(0), nodes.at(1)];
    let tagged = |text: &str| {
        let value = Value {
            bytes: Bytes::from(text.as_bytes()),
            tags: tags_of(vec![key("red"), key("new")]),
        };
        Action::Set { value, condition: Condition::Always, ttl_ms: None }
    };
    let mut changes: Vec<_> =
        (0..40).map(|n| (key(&format!("p/{n:02}")), tagged(&n.to_string()))).collect();
    changes.push((key("q/1"), tagged("q")));
    let CacheReply::Done(done) = a.ask(CacheRequest::Do { changes }).await.unwrap() else {
        panic!("another answer")
    };
    assert_eq!(done.len(), 41);
    assert!(done.iter().all(|one| one.as_ref().unwrap().outcome == Outcome::Set));
    let keys = (0..40).map(|n| key(&format!("p/{n:02}"))).collect();
    let request = CacheRequest::Get { keys, max_stale_ms: None };
    let CacheReply::Read(got) = b.ask(request).await.unwrap() else { panic!("another answer") };
    let texts: Vec<String> = got.iter().map(|got| text(got.value.as_ref().unwrap())).collect();
    assert_eq!(texts, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(b.invalidate(Selector::Prefix("p/".to_owned())).await.unwrap(), 40);
    assert_eq!(b.get("p/07").await.unwrap(), None);
    assert_eq!(a.get("q/1").await.unwrap().as_deref(), Some("q"));
    assert_eq!(b.invalidate(Selector::Tag(key("red"))).await.unwrap(), 1);
    assert_eq!(a.get("q/1").await.unwrap(), None);
}

#[tokio::test]
async fn a_value_goes_from_node_to_node_on_raft() {
    a_value_goes_from_node_to_node(false).await;
}

#[tokio::test]
async fn a_value_goes_from_node_to_node_on_redis() {
    a_value_goes_from_node_to_node(true).await;
}

/// C7: who shares a key and is killed, or stands still, holds a writer up no longer than its lease.
async fn a_silent_sharer_holds_a_writer_up_for_its_lease(on_redis: bool) {
    let mut nodes = Nodes::start(on_redis, false, "").await;
    let home = nodes.home_of("k").await;
    let (writer, sharer) = ((home + 1) % 3, (home + 2) % 3);
    nodes.at(writer).set("k", "one").await.unwrap();
    for at in [home, writer, sharer] {
        assert_eq!(nodes.at(at).get("k").await.unwrap().as_deref(), Some("one"));
    }
    nodes.cluster.nodes[sharer].signal(Signal::STOP);
    let begun = Instant::now();
    nodes.at(writer).set("k", "two").await.unwrap();
    let took = begun.elapsed();
    println!("a writer was held up for {took:?} by a node that stands still");
    assert!(took <= LEASE.mul_f64(1.1) + Duration::from_millis(300), "{took:?}");
    nodes.cluster.nodes[sharer].signal(Signal::CONT);
    let read = nodes.at(sharer).get("k").await.unwrap();
    assert_eq!(read.as_deref(), Some("two"), "what it had is over");
    nodes.all_serve(3).await;
    assert_eq!(nodes.at(sharer).get("k").await.unwrap().as_deref(), Some("two"));
    nodes.cluster.node(sharer).kill();
    nodes.at(writer).set("k", "three").await.unwrap();
    nodes.all_serve(2).await;
    nodes.cluster.spawn_all().await;
    nodes.all_serve(3).await;
    assert_eq!(nodes.at(sharer).get("k").await.unwrap().as_deref(), Some("three"));
}

#[tokio::test]
async fn a_silent_sharer_holds_a_writer_up_for_its_lease_on_raft() {
    a_silent_sharer_holds_a_writer_up_for_its_lease(false).await;
}

#[tokio::test]
async fn a_silent_sharer_holds_a_writer_up_for_its_lease_on_redis() {
    a_silent_sharer_holds_a_writer_up_for_its_lease(true).await;
}

/// A home that is killed is replaced, and one that stops is replaced without a wait.
async fn a_home_ends(on_redis: bool) {
    let mut nodes = Nodes::start(on_redis, false, "").await;
    let home = nodes.home_of("k").await;
    let other = (home + 1) % 3;
    nodes.at(home).set("k", "one").await.unwrap();
    nodes.cluster.node(home).kill();
    let begun = Instant::now();
    let read = nodes.at(other).within(Duration::from_secs(9)).get("k").await.unwrap();
    println!("a read after the home was killed: {:?}", begun.elapsed());
    assert_eq!(read.as_deref(), Some("one"));
    nodes.at(other).within(Duration::from_secs(9)).set("k", "two").await.unwrap();
    println!("a write after the home was killed: {:?}", begun.elapsed());
    nodes.all_serve(2).await;
    nodes.cluster.spawn_all().await;
    nodes.all_serve(3).await;
    let home = nodes.home_of("k").await;
    let other = (home + 1) % 3;
    assert_eq!(nodes.at(other).get("k").await.unwrap().as_deref(), Some("two"));
    nodes.cluster.nodes[home].signal(Signal::TERM);
    let code = nodes.cluster.node(home).exit_code(Duration::from_secs(8)).await;
    assert_eq!(code, 0);
    let begun = Instant::now();
    nodes.at(other).set("k", "three").await.unwrap();
    let took = begun.elapsed();
    println!("a write after the home stopped: {took:?}");
    assert!(took < LEASE, "nobody waits for who has left: {took:?}");
}

#[tokio::test]
async fn a_home_ends_on_raft() {
    a_home_ends(false).await;
}

#[tokio::test]
async fn a_home_ends_on_redis() {
    a_home_ends(true).await;
}

/// Without a memory a node tells errors, or an old copy to who allows it, and never an old value.
#[tokio::test]
async fn redis_is_gone_and_comes_back() {
    let mut nodes = Nodes::start(true, false, "").await;
    let [a, b] = [nodes.at(0), nodes.at(1)];
    a.set("k", "one").await.unwrap();
    assert_eq!(b.get("k").await.unwrap().as_deref(), Some("one"));
    nodes.redis.as_mut().unwrap().kill9();
    sleep(LEASE + Duration::from_millis(500)).await;
    let short = |hand: &dsync_tests::cache::Hand| hand.clone().within(Duration::from_secs(2));
    let fault = short(&b).get("k").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault:?}");
    let stale = short(&b).got("k", Some(60_000)).await.unwrap();
    assert!(matches!(stale.from, Source::Stale(age) if age < 10_000), "{stale:?}");
    assert_eq!(text(stale.value.as_ref().unwrap()), "one");
    let fault = short(&b).got("k", Some(1)).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "older than that: {fault:?}");
    let fault = short(&a).set("k", "two").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault:?}");
    let before = a.view().await.unwrap().epoch;
    nodes.redis.as_mut().unwrap().restart().await;
    nodes.all_serve(3).await;
    assert!(a.view().await.unwrap().epoch > before, "another run of Redis is another epoch");
    assert_eq!(b.get("k").await.unwrap().as_deref(), Some("one"));
    a.set("k", "two").await.unwrap();
    assert_eq!(b.get("k").await.unwrap().as_deref(), Some("two"));
}

/// C4: whatever is read and written, the copies of a node take no more than they may.
async fn copies_stay_within_their_limit(policy: &str) {
    let lines = format!("CACHE_BYTES=1MiB\nCACHE_POLICY={policy}\n");
    let nodes = Nodes::start(false, false, &lines).await;
    let [a, b] = [nodes.at(0), nodes.at(1)];
    let sizes = [10, 900, 20_000, 60_000, 500_000];
    for number in 0..120_usize {
        let size = sizes[number % sizes.len()];
        let text = number.to_string().repeat(size / 3);
        let name = format!("k/{number}");
        b.set(&name, &text).await.unwrap();
        for hand in [&a, &b] {
            assert_eq!(hand.get(&name).await.unwrap().map(|held| held.len()), Some(text.len()));
        }
        let old = format!("k/{}", number / 2);
        assert!(a.get(&old).await.unwrap().is_some());
        if number % 10 == 9 {
            for hand in [&a, &b] {
                let CacheReply::Stats(stats) = hand.ask(CacheRequest::Stats).await.unwrap() else {
                    panic!("another answer")
                };
                assert_eq!(stats.bytes_max, 1024 * 1024);
                assert!(stats.bytes <= stats.bytes_max * 105 / 100, "{stats:?}");
            }
        }
    }
    let CacheReply::Stats(stats) = a.ask(CacheRequest::Stats).await.unwrap() else {
        panic!("another answer")
    };
    assert!(stats.entries > 0 && stats.evictions + stats.rejections > 0, "{stats:?}");
    assert_eq!(stats.policy, policy);
}

#[tokio::test]
async fn copies_stay_within_their_limit_with_tinylfu() {
    copies_stay_within_their_limit("tinylfu").await;
}

#[tokio::test]
async fn copies_stay_within_their_limit_with_lru() {
    copies_stay_within_their_limit("lru").await;
}
