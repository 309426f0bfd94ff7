//! Eight clients, fifty keys, a minute: nodes are killed, stand still, and are cut off from each other;
//! whatever a client is told must be linearizable for each key.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what a run checked belongs to its output")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dsync_tests::cache::Hand;
use dsync_tests::cache::load::{Mix, Work, work};
use dsync_tests::cache::nodes::Nodes;
use dsync_tests::process::cluster::client_of;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

const CLIENTS: u32 = 8;
const LASTS: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_millis(2_500);

/// A hand at each node alone, and one at any.
fn hands(nodes: &Nodes, name: &str) -> Vec<Hand> {
    let mut hands: Vec<Hand> = nodes
        .cluster
        .nodes
        .iter()
        .map(|node| Hand::new(client_of(vec![node.listen.clone()], name).fail_fast()))
        .collect();
    hands.push(Hand::new(nodes.cluster.client(name)));
    hands.into_iter().map(|hand| hand.within(PATIENCE)).collect()
}

async fn disturb(nodes: &mut Nodes, seed: u64, until: Instant) -> [u32; 3] {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = [0; 3];
    while Instant::now() < until {
        let node = rng.random_range(0..3);
        let kind = rng.random_range(0..3_usize);
        let lasts = Duration::from_millis(rng.random_range(200..3_500));
        match kind {
            0 => {
                nodes.cluster.node(node).kill();
                sleep(lasts / 3).await;
                nodes.cluster.spawn_all().await;
            }
            1 => {
                nodes.cluster.nodes[node].signal(Signal::STOP);
                sleep(lasts).await;
                nodes.cluster.nodes[node].signal(Signal::CONT);
            }
            _ => {
                let names: Vec<String> =
                    nodes.cluster.nodes.iter().map(|node| node.name.clone()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                nodes.cluster.faults.isolate(names[node], &names);
                sleep(lasts).await;
                nodes.cluster.faults.heal();
            }
        }
        done[kind] += 1;
        let pause = rng.random_range(500..2_500);
        sleep(Duration::from_millis(pause)).await;
    }
    done
}

async fn what_clients_see_is_linearizable(on_redis: bool, lines: &str, seed: u64) {
    let mut nodes = Nodes::start(on_redis, true, lines).await;
    let shared = Arc::new(Work::default());
    let mix = Mix { keys: 49, counters: 1, pause_ms: 4, reads: 70, deletes: false };
    let workers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let hands = hands(&nodes, &format!("client-{number}"));
            tokio::spawn(work(number, seed, mix, hands, Arc::clone(&shared)))
        })
        .collect();
    let done = disturb(&mut nodes, seed, Instant::now() + LASTS).await;
    nodes.all_serve(3).await;
    sleep(Duration::from_secs(1)).await;
    shared.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("a worker ends");
    }
    let summary = shared.journal.summary();
    let local = shared.local.load(Ordering::Relaxed);
    println!("seed {seed}, {done:?} kills, stops and cuts: {summary:?}, {local} local reads");
    let violations = shared.journal.violations();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    assert!(summary.reads > 5_000 && summary.writes > 1_000, "the cluster served: {summary:?}");
    assert!(done.iter().all(|count| *count > 0), "each kind of fault came: {done:?}");
    for node in &nodes.cluster.nodes {
        node.assert_no_panic();
    }
}

#[tokio::test]
async fn what_clients_see_is_linearizable_on_raft() {
    what_clients_see_is_linearizable(false, "", 11).await;
}

#[tokio::test]
async fn what_clients_see_is_linearizable_on_redis() {
    what_clients_see_is_linearizable(true, "", 12).await;
}
