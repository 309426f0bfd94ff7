//! What other nodes, or those that pretend to be one, may say to a node of a real cluster.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use dsync::api::{AdminReply, AdminRequest, HOPS_MAX, Head, LockRequest};
use dsync::peer::{
    Destination, Entry, LogId, Member, Membership, Payload, RaftCall, RaftReply, Vote,
};
use dsync::preamble::{Hail, Plane};
use dsync::{CallOptions, NodeConnection, PeerConnection};
use dsync_core::name::Name;
use dsync_core::node::{ClusterId, DIRECTORY_MAX, DirectoryEntry, Hello, RaftId, Role};
use dsync_core::{Code, Fault};
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::node::Node;
use dsync_tests::process::{Cluster, clock, dsctl, net};

const WITHIN: Duration = Duration::from_secs(10);

/// A connection as a node called `stranger` opens it.
async fn dial(address: &str) -> PeerConnection {
    let (id, version) = ("stranger".to_owned(), "0.1.0".to_owned());
    let hail = Hail { plane: Plane::Peer, id, version, auth: None };
    PeerConnection::open(&net(), address, &hail, WITHIN).await.unwrap()
}

/// Cluster and raft id of a node.
async fn identity(cluster: &Cluster, at: usize) -> (ClusterId, RaftId) {
    let views = cluster.raft().await;
    let view = views.get(at).and_then(Option::as_ref);
    let view = view.unwrap_or_else(|| panic!("node {at} does not answer"));
    (view.cluster.unwrap(), view.id)
}

/// One call over a connection of its own: what a node does not take may end the connection.
async fn call(
    cluster: &Cluster,
    at: usize,
    to: Destination,
    call: RaftCall,
) -> Result<RaftReply, Fault> {
    let address = cluster.nodes.get(at).map(|node| node.listen.clone()).unwrap();
    dial(&address).await.raft(to, call, WITHIN).await.unwrap()
}

fn vote(term: u64, committed: bool) -> Vote {
    Vote { term, node: Some(7), committed }
}

fn elect(term: u64, last: LogId) -> RaftCall {
    RaftCall::Vote { vote: vote(term, false), last: Some(last), pre: false, transfer: true }
}

fn snapshot(term: u64, last: LogId, at: LogId) -> RaftCall {
    let member = Member { node: "stranger".to_owned(), address: "127.0.0.1:1".to_owned() };
    RaftCall::Snapshot {
        vote: vote(term, true),
        id: 1,
        last: Some(last),
        membership_at: Some(at),
        membership: Membership { configs: vec![[7].into()], nodes: [(7, member)].into() },
        offset: 0,
        data: Bytes::from_static(b"no state"),
        done: true,
    }
}

fn append(
    term: u64,
    prev: Option<LogId>,
    commit: Option<LogId>,
    entries: Vec<(LogId, u64)>,
    t_ms: u64,
) -> RaftCall {
    let entry = |(id, t_ms)| Entry {
        id,
        payload: Payload::Normal { t_ms, nonce: 1, data: Bytes::from_static(b"x") },
    };
    let entries = entries.into_iter().map(entry).collect();
    RaftCall::Append { vote: vote(term, true), prev, commit, entries, t_ms }
}

/// Calls with a number that would end a node which takes it.
fn hostile(term: u64) -> Vec<RaftCall> {
    let id = |term, index| LogId { term, index };
    let mut calls = Vec::new();
    for huge in [u64::MAX / 2 + 1, u64::MAX - 1, u64::MAX] {
        calls.extend([
            elect(huge, id(1, 1 << 40)),
            elect(term, id(huge, 1)),
            elect(term, id(1, huge)),
            append(huge, None, None, Vec::new(), 0),
            append(term, Some(id(1, huge)), None, Vec::new(), 0),
            append(term, Some(id(huge, 1)), None, Vec::new(), 0),
            append(term, None, Some(id(1, huge)), Vec::new(), 0),
            append(term, None, None, vec![(id(1, huge), 0)], 0),
            append(term, None, None, vec![(id(huge, 0), 0)], 0),
            append(term, None, None, vec![(id(1, 0), huge)], 0),
            append(term, None, None, Vec::new(), huge),
            snapshot(huge, id(1, 1 << 40), id(1, 0)),
            snapshot(term, id(1, huge), id(1, 0)),
            snapshot(term, id(huge, 1 << 40), id(1, 0)),
            snapshot(term, id(1, 1 << 40), id(1, huge)),
            RaftCall::Transfer { from: vote(huge, true), to: 7, last: None },
            RaftCall::Transfer { from: vote(term, true), to: 7, last: Some(id(1, huge)) },
        ]);
    }
    calls.extend([
        // A hole in the log, an entry of a term that its leader has not reached, a snapshot of one,
        // and a snapshot that contradicts what is committed.
        append(term, None, None, vec![(id(1, 1 << 40), 0)], 0),
        append(term, None, None, vec![(id(term + 1, 0), 0)], 0),
        snapshot(term, id(term + 1, 1 << 40), id(1, 0)),
        snapshot(term, id(term, 0), id(1, 0)),
    ]);
    calls
}

#[tokio::test]
async fn numbers_at_the_end_of_their_range_end_no_node() {
    let mut cluster = Cluster::start(3).await;
    let acquire = ["lock", "acquire", "kept", "--ttl", "1h", "-o", "json"];
    let held = cluster.dsctl(&acquire).await.ok();
    cluster.wait_for_convergence().await;
    let leader = cluster.wait_for_leader().await;
    for at in 0..3 {
        let (id, to) = identity(&cluster, at).await;
        let to = Destination { cluster: id, to, from: 7 };
        for hostile in hostile(leader.term + 1) {
            let what = format!("{hostile:?}");
            let refused = call(&cluster, at, to, hostile).await;
            let refused = refused.expect_err(&what);
            assert_eq!(refused.code, Code::InvalidArgument, "{what}: {refused}");
        }
    }
    let unmoved = cluster.wait_for_leader().await;
    assert_eq!(unmoved, leader, "what is refused changes nothing");
    // Far off, and legal: the terms go on from there.
    let follower = (leader.at + 1) % 3;
    let (id, to) = identity(&cluster, follower).await;
    for term in [u64::MAX / 4, u64::MAX / 2] {
        let to = Destination { cluster: id, to, from: 7 };
        let far = elect(term, LogId { term, index: 1 << 40 });
        let granted = call(&cluster, follower, to, far).await.unwrap();
        assert!(matches!(granted, RaftReply::Voted { granted: true, .. }), "{granted:?}");
        let leader = cluster.wait_for_leader().await;
        assert!(leader.term > term, "{leader:?}");
    }
    cluster.dsctl(&["lock", "validate", "kept", "--token", "1"]).await.expect(0);
    for node in &cluster.nodes {
        assert!(!node.logged().contains("panicked at"), "{} panicked", node.name);
    }
    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let show = cluster.dsctl(&["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show.pointer("/holders/0/token"), held.get("token"), "{show:#}");
}

/// What a node of that name says that belongs to nothing.
fn hello(node: &str) -> Hello {
    Hello {
        node: Name::parse("node", node).unwrap(),
        role: Role::Lock,
        address: "127.0.0.1:1".to_owned(),
        incarnation: 1,
        version: "0.1.0".to_owned(),
        raft_id: 7,
        fingerprint: 7,
        members: Vec::new(),
        initialized: false,
        cluster: None,
        voters: Vec::new(),
        directory: Vec::new(),
    }
}

fn entry(node: &str) -> DirectoryEntry {
    let Hello { node, role, address, incarnation, version, .. } = hello(node);
    DirectoryEntry { node, role, address, incarnation, version, heard_ms_ago: 0 }
}

/// Whom a node knows.
async fn directory(cluster: &Cluster, at: usize) -> Vec<DirectoryEntry> {
    let address = cluster.nodes.get(at).map(|node| node.listen.clone()).unwrap();
    let client = client_of(vec![address], "directory");
    let answer = client.admin(AdminRequest::Directory, CallOptions::default()).await.unwrap();
    let AdminReply::Directory(known) = answer.result.unwrap() else { panic!("no directory") };
    known
}

#[tokio::test]
async fn a_greeting_that_is_too_large_is_refused_and_not_handed_on() {
    let cluster = Cluster::start(3).await;
    let first = cluster.nodes.first().map(|node| node.listen.clone()).unwrap();
    let peer = dial(&first).await;
    let large = "x".repeat(3 << 20);
    let entries = (0..=DIRECTORY_MAX).map(|number| entry(&format!("s-{number}"))).collect();
    for greeting in [
        Hello { version: large.clone(), ..hello("large") },
        Hello { address: large.clone(), ..hello("large") },
        Hello { members: vec![large.clone()], ..hello("large") },
        Hello { members: vec!["127.0.0.1:1".to_owned(); 10_000], ..hello("large") },
        Hello { voters: vec![(large.clone(), 1)], ..hello("large") },
        Hello { directory: entries, ..hello("large") },
    ] {
        let refused = peer.hello(greeting, WITHIN).await.unwrap().unwrap_err();
        assert_eq!(refused.code, Code::InvalidArgument, "{refused}");
    }
    // What others are said to be is left out, and the good rest is taken in and spreads.
    let large = DirectoryEntry { version: large, ..entry("large") };
    let greeting = Hello { directory: vec![large, entry("small")], ..hello("guest") };
    peer.hello(greeting, WITHIN).await.unwrap().unwrap();
    for at in 0..3 {
        let known = cluster
            .wait_until("the guest to be known everywhere", async || {
                let known = directory(&cluster, at).await;
                known.iter().any(|entry| entry.node.as_str() == "guest").then_some(known)
            })
            .await;
        let mut names: Vec<&str> = known.iter().map(|entry| entry.node.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["guest", "node-lock-1", "node-lock-2", "node-lock-3", "small"]);
    }
}

/// The directory takes the news of a node's last start for what counts, so a start must look newer
/// than the one before even where the clock says that it was earlier.
#[tokio::test]
async fn a_node_that_moves_while_its_clock_is_set_back_is_found() {
    let mut cluster = Cluster::start(3).await;
    let port = cluster.spare_port();
    let moved = (cluster.wait_for_leader().await.at + 1) % 3;
    cluster.node(moved).kill();
    let file = cluster.folder().join("clock");
    std::fs::write(&file, "-3600\n").unwrap();
    let address = format!("127.0.0.1:{port}");
    let node = cluster.node(moved);
    let before = std::mem::replace(&mut node.listen, address.clone());
    node.advertise.clone_from(&address);
    node.environment = clock::environment(&file);
    let lines = std::fs::read_to_string(&node.env_file).unwrap();
    let (_, old) = before.split_once(':').unwrap();
    let lines = lines.replace(&format!("NODE_PORT={old}"), &format!("NODE_PORT={port}"));
    let lines =
        lines.replace(&format!("NODE_ADVERTISE={before}"), &format!("NODE_ADVERTISE={address}"));
    std::fs::write(&node.env_file, lines).unwrap();
    node.spawn();
    let name = node.name.clone();
    for at in (0..3).filter(|at| *at != moved) {
        cluster
            .wait_until("the others to know where the node is now", async || {
                let known = directory(&cluster, at).await;
                let found = known.into_iter().find(|entry| entry.node.as_str() == name)?;
                (found.address == address).then_some(())
            })
            .await;
    }
    // Its vote counts: with one of the others down it is what keeps the cluster going.
    let other = (moved + 1) % 3;
    cluster.node(other).kill();
    cluster.wait_for_leader().await;
    let acquire = ["lock", "acquire", "a", "--ttl", "1h", "--timeout", "20s", "-o", "json"];
    cluster.dsctl(&acquire).await.ok();
}

#[tokio::test]
async fn a_node_of_another_cluster_does_not_take_a_members_place() {
    let mut cluster = Cluster::start(3).await;
    let away = (cluster.wait_for_leader().await.at + 1) % 3;
    cluster.node(away).kill();
    let (name, port, metrics) = {
        let node = cluster.node(away);
        let port = |address: &str| address.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        (node.name.clone(), port(&node.listen), port(&node.metrics))
    };
    // It has the name of the member, a cluster of its own, and then the member's place.
    let folder = tempfile::TempDir::new().unwrap();
    let first = cluster.spare_port();
    let mut other = Node::prepare(folder.path(), &name, first, metrics, "PEER_ADDRESSES=\n");
    other.spawn();
    let alone = client_of(vec![other.listen.clone()], "alone");
    cluster
        .wait_until("the other node to lead itself", async || {
            let options = CallOptions { timeout: Duration::from_secs(1), ..CallOptions::default() };
            let answer = alone.admin(AdminRequest::RaftStatus, options).await.ok()?;
            let AdminReply::Raft(status) = answer.result.ok()? else { return None };
            (status.state == "leader").then_some(())
        })
        .await;
    other.kill();
    let mut other = Node::prepare(folder.path(), &name, port, metrics, "PEER_ADDRESSES=\n");
    other.spawn();
    let members = cluster.nodes.iter().filter(|node| node.pid().is_some());
    let members: Vec<&str> = members.map(|node| node.listen.as_str()).collect();
    let members = members.join(",");
    cluster
        .wait_until("the replacement to be refused", async || {
            let run = dsctl::run(&members, &["raft", "replace", &name, "-o", "json"]).await;
            assert_ne!(run.code, 0, "{run}");
            run.stdout.contains("has data of its own").then_some(())
        })
        .await;
    let leader = cluster.wait_for_leader().await;
    let views = cluster.raft().await;
    let view = views.get(leader.at).and_then(Option::as_ref).unwrap();
    assert!(view.learners.is_empty() && view.voters.len() == 3 && !view.joint, "{view:?}");
    // The member itself comes back as if nothing had been.
    other.kill();
    cluster.node(away).spawn();
    cluster.wait_for_convergence().await;
}

/// A heartbeat of no leader's: whom it is meant for is looked at before anything else.
async fn heartbeat(cluster: &Cluster, at: usize, to: Destination) -> Result<RaftReply, Fault> {
    call(cluster, at, to, append(0, None, None, Vec::new(), 0)).await
}

#[tokio::test]
async fn a_call_that_is_meant_for_someone_else_is_refused() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let (at, other) = ((leader.at + 1) % 3, (leader.at + 2) % 3);
    let (id, me) = identity(&cluster, at).await;
    let (_, neighbour) = identity(&cluster, other).await;
    let to = Destination { cluster: id, to: me, from: 7 };
    let reply = heartbeat(&cluster, at, to).await.unwrap();
    assert!(matches!(reply, RaftReply::HigherVote(_)), "{reply:?}");
    let stranger = ClusterId(id.0 ^ 2);
    for (wrong, says) in [
        (Destination { cluster: stranger, ..to }, "this node belongs to"),
        (Destination { to: neighbour, ..to }, "this node is"),
        (Destination { to: me + 1, ..to }, "this node is"),
    ] {
        let refused = heartbeat(&cluster, at, wrong).await.unwrap_err();
        assert_eq!(refused.code, Code::WrongCluster, "{refused}");
        assert!(refused.message.contains(says), "{refused}");
    }
    // Wiped, it has another raft id: what is meant for its former self is not for it.
    cluster.node(at).kill();
    cluster.node(at).wipe();
    cluster.node(at).spawn();
    cluster
        .wait_until("the wiped node to vote again", async || {
            let leader = cluster.leader().await?;
            let views = cluster.raft().await;
            let view = views.get(leader.at)?.as_ref()?;
            let voters: Vec<RaftId> = view.voters.iter().map(|(_, _, id)| *id).collect();
            (voters.len() == 3 && !voters.contains(&me)).then_some(())
        })
        .await;
    let refused = heartbeat(&cluster, at, to).await.unwrap_err();
    assert_eq!(refused.code, Code::WrongCluster, "{refused}");
    assert!(refused.message.contains(&format!("raft call for {me:016x}")), "{refused}");
    let (id, new) = identity(&cluster, at).await;
    heartbeat(&cluster, at, Destination { cluster: id, to: new, from: 7 }).await.unwrap();
}

/// A guest greets one node of the cluster; the others hear of it from that one.
#[tokio::test]
async fn a_node_that_is_known_through_another_one_is_a_target() {
    let mut cluster = Cluster::start(3).await;
    let [first, second, third] =
        [0, 1, 2].map(|at| cluster.nodes.get(at).map(|node| node.listen.clone()).unwrap());
    let (port, metrics) = (cluster.spare_port(), cluster.spare_port());
    let lines = format!("PEER_ADDRESSES={first}\n");
    let mut guest = Node::prepare(cluster.folder(), "guest", port, metrics, &lines);
    guest.spawn();
    for through in [second, third] {
        cluster
            .wait_until("the guest to be a target everywhere", async || {
                let arguments = ["node", "info", "guest", "-o", "json"];
                let run = dsctl::run(&through, &arguments).await;
                (run.code == 0 && run.stdout.contains(&guest.listen)).then_some(())
            })
            .await;
    }
    let run = dsctl::run(&first, &["node", "info", "nobody", "-o", "json"]).await;
    assert!(run.code != 0 && run.stdout.contains("knows no node"), "{run}");
}

#[tokio::test]
async fn a_request_is_not_handed_on_for_ever() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let follower = cluster.nodes.get((leader.at + 1) % 3).map(|node| node.listen.clone()).unwrap();
    let target = cluster.nodes.get(leader.at).map(|node| node.name.clone());
    let (id, version) = ("stranger".to_owned(), "0.1.0".to_owned());
    let hail = Hail { plane: Plane::Forward, id, version, auth: None };
    let node = NodeConnection::open(&net(), &follower, &hail, WITHIN).await.unwrap();
    let sessions = || LockRequest::Sessions { after: dsync_core::lock::SessionId(0), limit: 10 };
    for hops in [0, HOPS_MAX - 1] {
        let head = Head { request_id: 1, hops, target: target.clone() };
        let ping = node.admin(head.clone(), AdminRequest::Ping, WITHIN).await.unwrap();
        assert_eq!(ping.result, Ok(AdminReply::Pong), "{hops} hops");
        assert_eq!(Some(ping.served_by), target, "{hops} hops");
        let head = Head { target: None, ..head };
        let listed = node.lock(head, sessions(), WITHIN).await.unwrap();
        assert!(listed.result.is_ok(), "{hops} hops: {listed:?}");
    }
    for hops in [HOPS_MAX, u8::MAX] {
        let head = Head { request_id: 1, hops, target: target.clone() };
        let ping = node.admin(head, AdminRequest::Ping, WITHIN).await.unwrap();
        let refused = ping.result.unwrap_err();
        assert_eq!(refused.code, Code::Unavailable, "{hops} hops: {refused}");
        assert!(refused.message.contains("handed on 3 times already"), "{refused}");
    }
    // A lock request waits for this node to become the leader itself, up to its own limit of 10 s.
    let head = Head { request_id: 1, hops: HOPS_MAX, target: None };
    let listed = node.lock(head, sessions(), 3 * WITHIN).await.unwrap();
    let refused = listed.result.unwrap_err();
    assert!(refused.message.contains("handed on 3 times already"), "{refused}");
}
