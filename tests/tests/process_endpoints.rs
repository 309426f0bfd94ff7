//! `dsctl` pointed at something that is no dsd: it says what it found, and ends in time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use dsync_tests::process::ports::Ports;
use dsync_tests::process::{Cluster, Plan, dsctl, shape};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server that answers whatever comes with the same bytes, then closes.
async fn server(ports: &mut Ports, answer: &'static [u8]) -> (String, JoinHandle<()>) {
    let address = format!("127.0.0.1:{}", ports.take());
    let listener = TcpListener::bind(&address).await.unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 512];
                if stream.read(&mut asked).await.is_ok() {
                    drop(stream.write_all(answer).await);
                }
                if answer.is_empty() {
                    std::future::pending::<()>().await;
                }
            });
        }
    });
    (address, task)
}

async fn fails_with(endpoint: &str, codes: &[i32], words: &[&str]) {
    let arguments = ["raft", "leader", "--timeout", "3s", "-o", "json"];
    let run = dsctl::run(endpoint, &arguments).await;
    assert!(codes.contains(&run.code), "{endpoint}: {run}");
    shape::error(&run.json(), run.code);
    let said = run.stdout.to_lowercase();
    assert!(words.iter().any(|word| said.contains(word)), "one of {words:?} in {run}");
    assert!(said.contains(endpoint), "the address in {run}");
}

#[tokio::test]
async fn a_refused_port_ends_with_69() {
    let mut ports = Ports::claim();
    fails_with(&format!("127.0.0.1:{}", ports.take()), &[69], &["refused"]).await;
}

#[tokio::test]
async fn redis_http_ssh_and_noise_end_with_76_and_are_named() {
    let mut ports = Ports::claim();
    let redis = b"-ERR unknown command 'DSYNC/1', with args beginning with: \r\n";
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    for (answer, words) in [
        (&redis[..], &["redis"][..]),
        (&http[..], &["http"][..]),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", &["not a dsd", "no dsd", "foreign", "ssh"][..]),
        (b"\x00\xff\xfe garbage \r\n", &["not a dsd", "no dsd", "foreign"][..]),
    ] {
        let (address, server) = server(&mut ports, answer).await;
        fails_with(&address, &[76], words).await;
        server.abort();
    }
}

#[tokio::test]
async fn another_protocol_version_ends_with_76() {
    let mut ports = Ports::claim();
    let answer = b"DSYNC/1 OK id=node-lock-1 role=lock cluster=- proto=7..9 ver=99.0.0\r\n";
    let (address, server) = server(&mut ports, answer).await;
    fails_with(&address, &[76], &["version", "protocol", "proto"]).await;
    server.abort();
}

#[tokio::test]
async fn a_server_that_says_nothing_ends_in_time() {
    let mut ports = Ports::claim();
    let (address, server) = server(&mut ports, b"").await;
    let begin = tokio::time::Instant::now();
    fails_with(&address, &[69, 75, 76], &["answer", "silent", "time", "greet"]).await;
    // Generous: the machine may be busy. What must not happen is an end that never comes.
    assert!(begin.elapsed() < std::time::Duration::from_secs(60));
    server.abort();
}

#[tokio::test]
async fn one_good_endpoint_among_bad_ones_is_enough() {
    let mut cluster = Cluster::start(1).await;
    let good = cluster.endpoints();
    let endpoints = format!(
        "127.0.0.1:{}, http://127.0.0.1:{}, {good}",
        cluster.spare_port(),
        cluster.spare_port()
    );
    dsctl::run(&endpoints, &["raft", "leader", "-o", "json"]).await.ok();
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_by_the_nodes_of_this_one() {
    let mut here = Cluster::start(3).await;
    let there = Cluster::start(1).await;
    // A node of this cluster comes back with an address list that leads to the other one.
    here.node(2).kill();
    let stranger = here.node(2);
    let lines = std::fs::read_to_string(&stranger.env_file).unwrap();
    let peers = there.endpoints();
    let moved: Vec<String> = lines
        .lines()
        .map(|l| {
            if l.starts_with("PEER_ADDRESSES=") {
                format!("PEER_ADDRESSES={peers}")
            } else {
                l.to_owned()
            }
        })
        .collect();
    std::fs::write(&stranger.env_file, moved.join("\n") + "\n").unwrap();
    here.node(2).spawn();
    // The membership on disk wins: it finds its own cluster again and the other one stays alone.
    here.wait_until("three voters that apply alike", async || {
        let leader = here.leader().await?;
        let views = here.raft().await;
        let goal = views.get(leader.at)?.as_ref()?.committed;
        let view = views.get(2)?.as_ref()?;
        (view.applied >= goal && view.cluster == views.get(leader.at)?.as_ref()?.cluster)
            .then_some(())
    })
    .await;
    let alone = there.raft().await;
    let voters = alone.first().and_then(|v| v.as_ref()).map(|v| v.voters.len());
    assert_eq!(voters, Some(1));
}

#[tokio::test]
async fn a_plan_without_a_node_of_its_own_waits_and_says_for_whom() {
    let mut cluster = Cluster::prepare(Plan::default());
    cluster.node(0).spawn();
    let (second, third) = (cluster.nodes[1].listen.clone(), cluster.nodes[2].listen.clone());
    cluster
        .wait_until("the log to name the missing nodes", async || {
            let logged = cluster.nodes[0].logged();
            (logged.contains(&second) && logged.contains(&third)).then_some(())
        })
        .await;
    let run = cluster.dsctl(&["raft", "leader", "--timeout", "2s", "-o", "json"]).await;
    shape::error(&run.expect(69).json(), 69);
    // The two others come: now there is a cluster.
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
}
