//! A log entry that a node cannot read: it says so and stops; the others go on.

use std::time::Duration;

use bytes::Bytes;
use dsync::PeerConnection;
use dsync::peer::{Destination, Entry, LogId, Payload, RaftCall, RaftReply, Vote};
use dsync::preamble::{Hail, Plane};
use dsync_tests::process::{Cluster, net};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_later_version_stops_a_node_with_70_and_the_others_go_on() {
    let mut cluster = Cluster::start(3).await;
    cluster.dsctl(&["lock", "acquire", "kept", "--ttl", "1h", "-o", "json"]).await.ok();
    cluster.wait_for_convergence().await;
    let leader = cluster.wait_for_leader().await;
    let old = (leader.at + 1) % 3;
    let id = cluster.raft_id(old).await;
    let name = cluster.node(old).name.clone();
    let views = cluster.raft().await;
    let view = views.into_iter().nth(leader.at).flatten();
    let view = view.unwrap_or_else(|| panic!("the leader does not answer"));
    let cluster_id = view.cluster.unwrap_or_else(|| panic!("no cluster id: {view:?}"));

    // What a leader of a later version would send: a kind of entry that this one does not know.
    let prev = LogId { term: view.term, index: view.last_log_index };
    let next = LogId { index: prev.index + 1, ..prev };
    let payload = Payload::Normal { t_ms: 0, nonce: 0, data: Bytes::from_static(&[99, 1, 2]) };
    let call = RaftCall::Append {
        vote: Vote { term: view.term, node: Some(view.id), committed: true },
        prev: Some(prev),
        commit: Some(next),
        entries: vec![Entry { id: next, payload }],
        t_ms: 0,
    };
    let hail = Hail { plane: Plane::Peer, id: view.node, version: "9".to_owned(), auth: None };
    let address = cluster.node(old).listen.clone();
    let within = Duration::from_secs(5);
    let open = PeerConnection::open(&net(), &address, &hail, within).await;
    let open = open.unwrap_or_else(|error| panic!("{address}: {error}"));
    let to = Destination { cluster: cluster_id, to: id, from: view.id };
    // It may stop before it has answered.
    if let Ok(Ok(reply)) = open.raft(to, call, within).await {
        assert_eq!(reply, RaftReply::Appended);
    }
    let node = cluster.node(old);
    assert_eq!(node.exit_code(Duration::from_secs(30)).await, 70, "{}", node.tail(20));
    let said = node.logged();
    let what = format!("log entry {} cannot be read by this version of dsd", next.index);
    assert!(said.contains(&format!("this node cannot go on: {what}")), "{said}");
    assert!(said.contains("Start that version") && !said.contains("panicked at"), "{said}");
    cluster.dsctl(&["lock", "acquire", "on", "--timeout", "20s", "-o", "json"]).await.ok();

    // It does not come back with that entry in its log; without it, it does.
    let before = said.len();
    let node = cluster.node(old);
    node.spawn();
    assert_eq!(node.exit_code(Duration::from_secs(30)).await, 70, "{}", node.tail(20));
    let said = node.logged();
    assert!(said.get(before..).is_some_and(|new| new.contains(&what)), "{said}");
    node.wipe();
    node.spawn();
    cluster.wait_for_rejoin(&name, id).await;
    cluster.wait_for_convergence().await;
}
