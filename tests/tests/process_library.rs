//! The client library against real clusters: programs that give up waiting, under faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dsync_core::lock::LockView;
use dsync_tests::load::holdings::list;
use dsync_tests::load::library::{Ledger, use_library};
use dsync_tests::process::Cluster;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};

const CLIENTS: u32 = 8;
/// Longest time for a worker to end.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_futures_leave_nothing_held_and_nobody_waiting() {
    let mut cluster = Cluster::start(3).await;
    let (ledger, stop) = (Arc::new(Ledger::default()), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = cluster.client(&format!("library-{number}"));
            let (ledger, stop) = (Arc::clone(&ledger), Arc::clone(&stop));
            tokio::spawn(use_library(client, ledger, number, 7, stop))
        })
        .collect();
    sleep(Duration::from_secs(4)).await;
    for round in 0..2 {
        let leader = cluster.wait_for_leader().await.at;
        if round == 0 {
            cluster.node(leader).kill();
            cluster.wait_for_leader().await;
            cluster.node(leader).spawn();
        } else {
            cluster.node(leader).signal(Signal::STOP);
            sleep(Duration::from_secs(3)).await;
            cluster.node(leader).signal(Signal::CONT);
        }
        sleep(Duration::from_secs(4)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sessions = Vec::new();
    for worker in workers {
        let ended = timeout(PATIENCE, worker).await.unwrap_or_else(|_| panic!("a worker hangs"));
        sessions.push(ended.unwrap_or_else(|error| panic!("{error}")));
    }
    let counts = (ledger.entered.load(Ordering::Relaxed), ledger.dropped.load(Ordering::Relaxed));
    println!("{} holds, {} requests dropped", counts.0, counts.1);
    assert!(counts.0 > 50 && counts.1 > 50, "hardly any work was done: {counts:?}");

    // Every session lives on, so that nothing is given back but what the library gives back.
    let client = cluster.client("after");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let left = list(&client).await;
        let open = |lock: &&LockView| !lock.holders.is_empty() || !lock.waiters.is_empty();
        let left: Vec<_> = left.iter().filter(open).collect();
        if left.is_empty() {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "held or waited for by nobody: {left:?}");
        sleep(Duration::from_millis(100)).await;
    }
    let alive = sessions.iter().flatten().filter(|session| session.is_valid()).count();
    assert!(alive > 0, "no session lived on: nothing was tested");
}
