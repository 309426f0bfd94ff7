//! Floods of connections: a node keeps what it needs for itself and for its cluster.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use dsync::NodeConnection;
use dsync::api::{AdminReply, AdminRequest, Head, LockReply, LockRequest};
use dsync::preamble::Plane;
use dsync_core::lock::{Command, Outcome, Request, RequestKey};
use dsync_tests::load::holdings::name;
use dsync_tests::process::node::Node;
use dsync_tests::process::stats::Usage;
use dsync_tests::process::{Cluster, Plan};
use dsync_tests::wire::{Raw, crowd, hail, many_descriptors, net};
use tokio::time::sleep;

/// What a node may grow by under a flood.
const GROWTH_KIB: u64 = 50 * 1024;
const LONG: Duration = Duration::from_secs(60);

async fn connect(address: &str) -> NodeConnection {
    NodeConnection::open(&net(), address, &hail(Plane::Client), LONG).await.unwrap()
}

/// Whether that node leads, asked on a connection that it has.
async fn leads(held: &NodeConnection) -> Option<bool> {
    let limit = Duration::from_secs(5);
    let answer = held.admin(Head::default(), AdminRequest::RaftStatus, limit).await.ok()?;
    let AdminReply::Raft(status) = answer.result.ok()? else { return None };
    let fresh = status.quorum_ack_age_ms.is_some_and(|age| age <= status.election_timeout_ms.1);
    Some(status.state == "leader" && fresh)
}

/// A write through that connection, which the node hands on if it does not lead.
async fn opens_a_session(held: &NodeConnection) -> Option<()> {
    let command = Command::OpenSession {
        ttl_ms: 60_000,
        owner: name("good"),
        meta: String::new(),
        ephemeral: false,
    };
    let key = RequestKey::Detached(rand::random());
    let request = LockRequest::Do(Request { key, first_outstanding: 0, command });
    let answer = held.lock(Head::default(), request, Duration::from_secs(5)).await.ok()?;
    let opened = answer.result.ok()?;
    matches!(opened, LockReply::Outcome(Outcome::SessionOpened { .. })).then_some(())
}

/// The limit of open files that a process of that id has now.
fn soft_limit(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Answers on the port for metrics and health.
async fn livez(address: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(Duration::from_secs(60), stream.read_to_string(&mut answer));
    read.await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_low_soft_limit_of_open_files_is_raised() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    cluster.node(0).ulimit = Some("-Sn 100".to_owned());
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let pid = cluster.nodes[0].pid().unwrap();
    assert!(soft_limit(pid) > 100, "{}", soft_limit(pid));
}

/// A log that cannot open its next file ends the node.
#[tokio::test]
async fn connections_leave_descriptors_for_the_log() {
    let mut cluster = Cluster::prepare(Plan { size: 1, ..Plan::default() });
    cluster.node(0).ulimit = Some("-n 300".to_owned());
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let (address, pid) = (cluster.endpoints(), cluster.nodes[0].pid().unwrap());
    assert_eq!(soft_limit(pid), 300);
    let mut held = crowd(&address, 300).await;
    let open = Usage::of(pid).descriptors;
    assert!(held.len() > 50 && held.len() < 200, "{} found a seat", held.len());
    assert!(open < 250, "{open} of 300 descriptors are used, by {} clients", held.len());
    assert!(livez(&cluster.nodes[0].metrics.clone()).await.starts_with("HTTP/1.1 200"));
    // The one that leaves makes place for one that has something to say.
    held.truncate(held.len() - 5);
    cluster.dsctl(&["lock", "acquire", "a", "--timeout", "30s", "-o", "json"]).await.ok();
    let file = cluster.folder().join("copy").display().to_string();
    cluster.dsctl(&["raft", "snapshot", "save", &file]).await.expect(0);
    let log = cluster.nodes[0].logged();
    assert!(log.contains("room for fewer clients"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
    drop(held);
}

/// Every seat for clients is taken on every node, then the leader dies.
#[tokio::test]
async fn idle_clients_do_not_keep_nodes_apart() {
    let mut cluster = Cluster::prepare(Plan::default());
    for node in &mut cluster.nodes {
        node.ulimit = Some("-n 300".to_owned());
    }
    cluster.spawn_all().await;
    let leader = cluster.wait_for_leader().await;
    let mut held = Vec::new();
    let mut idle = Vec::new();
    for node in &cluster.nodes {
        held.push(connect(&node.listen).await);
        idle.extend(crowd(&node.listen, 300).await);
    }
    cluster.node(leader.at).kill();
    held.remove(leader.at);
    cluster
        .wait_until("a leader among the crowded", async || {
            let leads = [leads(&held[0]).await?, leads(&held[1]).await?];
            leads.contains(&true).then_some(())
        })
        .await;
    // Through both: the one that follows has to reach the leader.
    for connection in &held {
        let write = async || opens_a_session(connection).await;
        cluster.wait_until("a write through a crowded node", write).await;
    }
    drop(idle);
}

/// Waits until every running node is back at about what it used before.
async fn wait_for_calm(cluster: &Cluster, before: &[(u32, Usage)]) {
    cluster
        .wait_until("memory and descriptors to be given back", async || {
            let calm = before.iter().all(|(pid, before)| {
                let now = Usage::of(*pid);
                now.descriptors < before.descriptors + 32
                    && now.resident_kib < before.resident_kib + GROWTH_KIB
            });
            calm.then_some(())
        })
        .await;
}

fn usage(cluster: &Cluster) -> Vec<(u32, Usage)> {
    let pids = cluster.nodes.iter().filter_map(Node::pid);
    pids.map(|pid| (pid, Usage::of(pid))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_clients_cost_little_and_no_leader() {
    many_descriptors();
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    cluster.dsctl(&["lock", "acquire", "before", "-o", "json"]).await.ok();
    let mut before = usage(&cluster);
    let crowds = cluster.nodes.iter().map(|node| crowd(&node.listen, 10_000 / 3 + 1));
    let idle: Vec<Raw> = futures::future::join_all(crowds).await.into_iter().flatten().collect();
    assert!(idle.len() >= 10_000, "{} found a seat", idle.len());
    for (pid, before) in &before {
        let grown = Usage::of(*pid).resident_kib.saturating_sub(before.resident_kib);
        println!("{} clients: grew by {grown} KiB", 10_000 / 3 + 1);
        assert!(grown < GROWTH_KIB, "grew by {grown} KiB");
    }
    let dead = cluster.nodes[leader.at].pid();
    cluster.node(leader.at).kill();
    cluster.wait_for_leader().await;
    let acquire = ["lock", "acquire", "after", "--timeout", "30s", "-o", "json"];
    cluster.dsctl(&acquire).await.ok();
    drop(idle);
    before.retain(|(pid, _)| Some(*pid) != dead);
    wait_for_calm(&cluster, &before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_connects_leave_nothing_behind() {
    many_descriptors();
    let cluster = Cluster::start(1).await;
    let address = cluster.endpoints();
    cluster.dsctl(&["lock", "acquire", "before", "-o", "json"]).await.ok();
    let before = usage(&cluster);
    let flood: Vec<_> = (0..8)
        .map(|_| {
            let address = address.clone();
            tokio::spawn(async move {
                for _ in 0..1_250 {
                    let mut raw = Raw::silent(&address).await.unwrap();
                    // One that has to make place for others is closed before it has said this.
                    drop(raw.send(b"DSYNC/1 plane=client id=brief ver=0.1.0\r\n").await);
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(100)).await;
    let acquire = ["lock", "acquire", "meanwhile", "--timeout", "60s", "-o", "json"];
    cluster.dsctl(&acquire).await.ok();
    for task in flood {
        task.await.unwrap();
    }
    wait_for_calm(&cluster, &before).await;
    cluster.dsctl(&["lock", "acquire", "after", "-o", "json"]).await.ok();
}
