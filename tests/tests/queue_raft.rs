//! Queues on the nodes' own log, with real processes: what is acknowledged is there, whatever dies.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what a run checked belongs to its output")]

use std::time::Duration;

use dsync_core::name::Name;
use dsync_core::node::Role;
use dsync_tests::jobs::{Load, Mix};
use dsync_tests::process::{Cluster, Plan};
use rustix::process::Signal;
use tokio::time::sleep;

fn queue() -> Name {
    Name::parse("queue", "orders").unwrap()
}

async fn start() -> Cluster {
    Cluster::start_plan(Plan { role: Some(Role::Queue), ..Plan::default() }).await
}

async fn judge(cluster: &Cluster, load: Load, faults: bool) {
    println!("{:?}", load.judge(&cluster.client("judge"), &queue(), faults).await);
}

/// Q8 above all: without faults nothing comes twice.
#[tokio::test]
async fn without_faults_every_job_comes_once() {
    let cluster = start().await;
    let mix = Mix { producers: 4, consumers: 6, jobs: 4_000, rough: false, pause: Duration::ZERO };
    let load = Load::start(|name| cluster.client(name), &queue(), 1, mix);
    judge(&cluster, load, false).await;
}

#[tokio::test]
async fn leaders_die_and_freeze_under_load() {
    let mut cluster = start().await;
    let mix = Mix {
        producers: 4,
        consumers: 6,
        jobs: 6_000,
        rough: true,
        pause: Duration::from_millis(8),
    };
    let load = Load::start(|name| cluster.client(name), &queue(), 2, mix);
    let mut round = 0;
    while !load.all_pushed() || round < 4 {
        sleep(Duration::from_secs(1)).await;
        let at = cluster.wait_for_leader().await.at;
        if round % 2 == 0 {
            cluster.node(at).kill();
            sleep(Duration::from_millis(1_500)).await;
            cluster.spawn_all().await;
        } else {
            cluster.node(at).signal(Signal::STOP);
            sleep(Duration::from_millis(2_500)).await;
            cluster.node(at).signal(Signal::CONT);
        }
        round += 1;
    }
    println!("{round} faults");
    judge(&cluster, load, true).await;
}

#[tokio::test]
async fn all_nodes_at_once() {
    let mut cluster = start().await;
    let mix = Mix {
        producers: 2,
        consumers: 3,
        jobs: 1_500,
        rough: true,
        pause: Duration::from_millis(5),
    };
    let load = Load::start(|name| cluster.client(name), &queue(), 3, mix);
    for _ in 0..2 {
        sleep(Duration::from_secs(1)).await;
        cluster.kill_all();
        cluster.spawn_all().await;
        cluster.wait_for_leader().await;
    }
    judge(&cluster, load, true).await;
}
