//! Floods of connections: a node keeps what it needs for itself and for its cluster.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use dsync_tests::process::stats::Usage;
use dsync_tests::process::{Cluster, Plan};
use dsync_tests::wire::{crowd, many_descriptors};

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
    assert!(log.contains("room for fewer connections"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
    drop(held);
}
