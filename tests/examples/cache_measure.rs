//! Figures of the cache service: `cache_measure held|remote|idle …`.
//!
//! Run by `tests/bench`, in a release build. Each run has three nodes and a Redis of its own, which
//! keeps the values, and prints one line per figure.
#![expect(clippy::print_stdout, reason = "a bench prints")]
#![expect(clippy::panic, clippy::expect_used, reason = "a bench fails by panicking")]

use std::time::Duration;

use dsync_core::cache::op::{Action, Bytes, Condition, Value};
use dsync_tests::cache::Hand;
use dsync_tests::cache::nodes::Nodes;
use dsync_tests::process::node::http_get;
use tokio::time::{Instant, sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |default: usize| {
        arguments.get(1).map_or(default, |text| text.parse().expect("a whole number"))
    };
    match arguments.first().map(String::as_str) {
        Some("held") => held(number(5_000)).await,
        Some("remote") => remote(number(2_000)).await,
        Some("idle") => idle(number(30)).await,
        _ => panic!("usage: cache_measure held [ROUNDS] | remote [ROUNDS] | idle [SECONDS]"),
    }
}

/// Times of many rounds.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn median(&mut self) -> f64 {
        self.0.sort_unstable();
        let middle = self.0.get(self.0.len() / 2).expect("there were rounds");
        middle.as_secs_f64() * 1_000.0
    }
}

fn set(text: &str) -> Action {
    let value = Value { bytes: Bytes::from(text.as_bytes()), ..Value::default() };
    Action::Set { value, condition: Condition::Always, ttl_ms: None }
}

/// Changes of a key that the node has alone, against SET in the same Redis and one hop to the node.
async fn held(rounds: usize) {
    let nodes = Nodes::start(true, false, "LOG_LEVEL=warn\n").await;
    let node = nodes.at(0);
    let value = "x".repeat(100);
    node.act("held", set(&value)).await.expect("it is set");
    node.get("held").await.expect("the node has it alone since");
    let mut raw = nodes.redis.as_ref().expect("there is a Redis").connection();
    let (mut writes, mut hops, mut sets) = (Times::default(), Times::default(), Times::default());
    for round in 0..rounds + rounds / 10 {
        let begun = Instant::now();
        node.act("held", set(&value)).await.expect("it is set");
        let written = begun.elapsed();
        let begun = Instant::now();
        node.got("held", None).await.expect("it is read");
        let read = begun.elapsed();
        let begun = Instant::now();
        redis::cmd("SET").arg("raw").arg(&value).exec(&mut raw).expect("it is set");
        if round >= rounds / 10 {
            writes.0.push(written);
            hops.0.push(read);
            sets.0.push(begun.elapsed());
        }
    }
    let (write, hop, set) = (writes.median(), hops.median(), sets.median());
    println!(
        "held     write p50={write:.3}ms, Redis SET p50={set:.3}ms, one hop (a local hit) \
         p50={hop:.3}ms: {:.2}x of SET and a hop (aim: 1.5x of SET and a hop: {:.3}ms)",
        write / (set + hop),
        set.mul_add(1.5, hop)
    );
}

/// Reads of keys that another node has alone: time, and calls between nodes and to the memory.
async fn remote(rounds: usize) {
    let nodes = Nodes::start(true, false, "LOG_LEVEL=warn\n").await;
    let (owner, reader) = (nodes.at(0), nodes.at(1));
    let mut times = Times::default();
    let keys: Vec<String> = (0..rounds).map(|number| format!("remote/{number}")).collect();
    for key in &keys {
        owner.act(key, set("x")).await.expect("it is set");
        owner.get(key).await.expect("the node has it alone since");
    }
    let before = calls(&nodes).await;
    let begun = Instant::now();
    for key in &keys {
        let begun = Instant::now();
        reader.get(key).await.expect("it is read");
        times.0.push(begun.elapsed());
    }
    let (after, took) = (calls(&nodes).await, begun.elapsed().as_secs_f64());
    let count = u32::try_from(rounds).map_or(f64::INFINITY, f64::from);
    let all = (after - before) / count;
    println!(
        "remote   read of a key that another node has alone p50={:.3}ms, {all:.2} calls each (signs \
         of life of {took:.1} s included; aim: 3 round trips)",
        times.median()
    );
}

/// Calls of three nodes that have lines of each other and are asked nothing.
async fn idle(seconds: usize) {
    let nodes = Nodes::start(true, false, "LOG_LEVEL=warn\n").await;
    for number in 0..100 {
        let key = format!("idle/{number}");
        for node in 0..3 {
            let hand: Hand = nodes.at(node);
            hand.set(&key, "x").await.expect("it is set");
            hand.get(&key).await.expect("it is read");
        }
    }
    sleep(Duration::from_secs(3)).await;
    let before = calls(&nodes).await;
    let begun = Instant::now();
    sleep(Duration::from_secs(u64::try_from(seconds).expect("few"))).await;
    let after = calls(&nodes).await;
    let rate = (after - before) / begun.elapsed().as_secs_f64();
    println!(
        "idle     three cache nodes with lines of each other: {rate:.1} calls/s (aim: under 20)"
    );
}

/// Calls of all nodes so far, to each other and to the memory. Metrics are a second old at most.
async fn calls(nodes: &Nodes) -> f64 {
    sleep(Duration::from_millis(1_200)).await;
    let mut sum = 0.0;
    for node in &nodes.cluster.nodes {
        let page = http_get(&node.metrics, "/metrics").await;
        let lines = page.lines().filter(|line| line.starts_with("dsync_cache_calls_total"));
        sum += lines.filter_map(|line| line.split(' ').nth(1)?.parse::<f64>().ok()).sum::<f64>();
    }
    sum
}
