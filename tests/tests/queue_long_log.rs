//! Large jobs make a long log of few entries: it is cut by its bytes, and no job with it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dsd::assembly::{Host, RunningNode};
use dsd::dev::{self, Ports as DevPorts};
use dsd::raft::EngineOptions;
use dsd::run::real_host;
use dsd::telemetry::{Recent, Telemetry};
use dsync::api::{AdminReply, AdminRequest, RaftStatus};
use dsync::queue::{Consumer, ConsumerOptions, Job, Producer};
use dsync::{CallOptions, Client};
use dsync_core::name::Name;
use dsync_core::node::Role;
use dsync_tests::jobs::stats;
use dsync_tests::process::cluster::{ELECTION_PATIENCE, client_of};
use dsync_tests::process::ports::Ports;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const JOBS: u8 = 12;
const SIZE: usize = 400 * 1024;

async fn start(port: u16, folder: &TempDir) -> RunningNode {
    let ports = DevPorts { queue: vec![port], ..DevPorts::default() };
    let config = dev::node(Role::Queue, 0, &ports, folder.path());
    let engine = EngineOptions { log_bytes: 1 << 20, ..EngineOptions::default() };
    let host = Host { engine, ..real_host(1) };
    let telemetry = Telemetry::new(Recent::default());
    RunningNode::start(config, Vec::new(), telemetry, host).await.unwrap()
}

async fn status(client: &Client) -> Option<RaftStatus> {
    let answer = client.admin(AdminRequest::RaftStatus, CallOptions::default()).await.ok()?;
    let AdminReply::Raft(status) = answer.result.ok()? else { return None };
    Some(*status)
}

#[tokio::test]
async fn a_log_is_cut_by_its_bytes() {
    let (folder, mut ports) = (TempDir::new().unwrap(), Ports::claim());
    let port = ports.take();
    let client = client_of(vec![format!("127.0.0.1:{port}")], "test");
    let node = start(port, &folder).await;
    let producer = Producer::new(&client, "films").unwrap();
    for number in 0..JOBS {
        producer.push(Job::new(vec![number; SIZE])).await.unwrap();
    }
    let deadline = Instant::now() + ELECTION_PATIENCE;
    while status(&client).await.is_none_or(|status| status.purged < u64::from(JOBS) / 2) {
        assert!(Instant::now() < deadline, "nothing was removed: {:?}", status(&client).await);
        sleep(Duration::from_millis(100)).await;
    }
    node.stop().await;

    let node = start(port, &folder).await;
    let consumer = Consumer::new(&client, "films", ConsumerOptions::new("test")).unwrap();
    for number in 0..JOBS {
        let job = consumer.next(ELECTION_PATIENCE).await.unwrap().unwrap();
        assert_eq!((job.payload().len(), job.payload().first()), (SIZE, Some(&number)));
        job.ack().await.unwrap();
    }
    let films = Name::parse("queue", "films").unwrap();
    let left = stats(&client, &films).await.unwrap();
    assert_eq!((left.ready, left.leased, left.totals.acked), (0, 0, u64::from(JOBS)));
    node.stop().await;
}
