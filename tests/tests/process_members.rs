//! Members that lost their data come back: by hand, half-way, and from another address.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use dsync_tests::process::node::Node;
use dsync_tests::process::proxy::Rule;
use dsync_tests::process::{Cluster, Leader, Plan, dsctl, shape};
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

fn follower(leader: &Leader) -> usize {
    (leader.at + 1) % 3
}

async fn held(cluster: &Cluster) -> serde_json::Value {
    let acquire = ["lock", "acquire", "kept", "--ttl", "1h", "-o", "json"];
    cluster.dsctl(&acquire).await.ok()
}

/// The lock is held by the same token, and another one can be taken.
async fn serves(cluster: &Cluster, held: &serde_json::Value) {
    let show = cluster.dsctl(&["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"], "{show:#}");
    let next = format!("next-{}", rand::random::<u64>());
    cluster.dsctl(&["lock", "acquire", &next, "--timeout", "20s", "-o", "json"]).await.ok();
}

async fn replace(cluster: &Cluster, node: &str, code: i32) -> String {
    let run = cluster.dsctl(&["raft", "replace", node, "--timeout", "20s", "-o", "json"]).await;
    let document = run.expect(code).json();
    if code != 0 {
        shape::error(&document, code);
    }
    document.to_string()
}

#[tokio::test]
async fn replace_takes_a_wiped_node_in_at_once_and_refuses_every_other_one() {
    let mut cluster = Cluster::start(3).await;
    let held = held(&cluster).await;
    let leader = cluster.wait_for_leader().await;
    let wiped = follower(&leader);
    let (name, leads) = (cluster.node(wiped).name.clone(), cluster.node(leader.at).name.clone());
    let said = replace(&cluster, "node-lock-9", 66).await;
    assert!(said.contains("node-lock-1, node-lock-2, node-lock-3"), "{said}");
    for node in [&name, &leads] {
        let said = replace(&cluster, node, 73).await;
        assert!(said.contains("still has its data"), "{said}");
    }
    let old = cluster.raft_id(wiped).await;
    cluster.node(wiped).kill();
    // What it said a moment ago does not count: it is asked now.
    let said = replace(&cluster, &name, 69).await;
    assert!(said.contains("does not answer"), "{said}");

    cluster.node(wiped).wipe();
    cluster.node(wiped).spawn();
    cluster
        .wait_until("the wiped node to answer", async || {
            cluster.raft().await.get(wiped)?.as_ref().map(drop)
        })
        .await;
    // On a machine so slow that the leader has begun by itself, both come to the same.
    replace(&cluster, &name, 0).await;
    cluster.wait_for_rejoin(&name, old).await;
    cluster.wait_for_convergence().await;
    let said = replace(&cluster, &name, 73).await;
    assert!(said.contains("still has its data"), "{said}");
    serves(&cluster, &held).await;
}

#[tokio::test]
async fn a_node_with_the_data_of_another_cluster_replaces_nobody() {
    let mut cluster = Cluster::start(3).await;
    let held = held(&cluster).await;
    let leader = cluster.wait_for_leader().await;
    let at = usize::from(leader.at == 0);
    let name = cluster.node(at).name.clone();
    // A node of that name forms a cluster of its own.
    let mut other = Cluster::prepare(Plan { size: 2, ..Plan::default() });
    let beside = other.node(1 - at).listen.clone();
    let stranger = other.node(at);
    stranger.edit(&format!("PEER_ADDRESSES={beside}"), "PEER_ADDRESSES=");
    stranger.spawn();
    other.wait_for_leader().await;
    other.kill_all();
    let foreign = other.node(at).data_dir.clone();
    cluster.node(at).kill();
    let (kept, data) = (cluster.folder().join("kept"), cluster.node(at).data_dir.clone());
    assert!(std::fs::rename(&data, &kept).is_ok() && std::fs::rename(foreign, &data).is_ok());
    cluster.node(at).spawn();
    cluster
        .wait_until("the stranger to answer", async || {
            cluster.raft().await.get(at)?.as_ref().map(drop)
        })
        .await;
    // Not the stranger itself is asked: it leads its own cluster.
    let leads = cluster.node(leader.at).listen.clone();
    let ask = ["raft", "replace", &name, "--timeout", "20s", "-o", "json"];
    let said = dsctl::run(&leads, &ask).await.expect(73).json();
    assert!(said.to_string().contains("has data of its own"), "{said:#}");
    let show = dsctl::run(&leads, &["lock", "show", "kept", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], held["token"], "{show:#}");
    // With its own data it is welcome again.
    cluster.node(at).kill();
    cluster.node(at).wipe();
    assert!(std::fs::rename(kept, data).is_ok());
    cluster.node(at).spawn();
    cluster.wait_for_convergence().await;
    let view = cluster.raft().await.into_iter().nth(leader.at).flatten();
    let view = view.unwrap_or_else(|| panic!("the leader does not answer"));
    assert!(view.learners.is_empty() && view.voters.len() == 3, "{view:?}");
}

/// Five nodes, of which two can fail at once, behind proxies.
async fn five() -> Cluster {
    Cluster::start_plan(Plan { size: 5, proxied: true, seed: 1, ..Plan::default() }).await
}

/// Waits, with hardly a pause, until the log of a node says so once more than `before`.
async fn says(node: &Node, what: &str, before: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while node.logged().matches(what).count() <= before {
        assert!(Instant::now() < deadline, "{} never says {what:?}", node.name);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_finishes_what_a_leader_began_that_was_killed() {
    let mut cluster = five().await;
    let held = held(&cluster).await;
    let leader = cluster.wait_for_leader().await;
    let wiped = (leader.at + 1) % 5;
    let (name, leads) = (cluster.node(wiped).name.clone(), cluster.node(leader.at).name.clone());
    let old = cluster.raft_id(wiped).await;
    cluster.node(wiped).kill();
    cluster.node(wiped).wipe();
    // Slow enough that it cannot catch up before nothing arrives any more.
    let slow = Rule { delay: Duration::from_millis(200), ..Rule::default() };
    cluster.faults.set_both(&leads, &name, slow);
    cluster.node(wiped).spawn();
    says(cluster.node(leader.at), "a member lost its data", 0).await;
    cluster.faults.set_both(&leads, &name, Rule { hold: true, ..Rule::default() });
    let half = async || {
        let views = cluster.raft().await;
        let others = views.into_iter().flatten().filter(|v| v.node != name && v.node != leads);
        others.map(|view| view.learners).find(|learners| !learners.is_empty())
    };
    let learners = cluster.wait_until("the new self to be a learner", half).await;
    assert!(learners.iter().all(|(node, ..)| *node == name), "{learners:?}");
    cluster.node(leader.at).kill();
    assert!(cluster.faults.fired().delayed.load(Ordering::Relaxed) > 0, "nothing was delayed");
    cluster.faults.heal();
    cluster.wait_for_rejoin(&name, old).await;
    serves(&cluster, &held).await;
    cluster.node(leader.at).spawn();
    cluster.wait_for_convergence().await;
    cluster.wait_for_rejoin(&name, old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_members_in_which_both_sets_vote_is_finished_by_the_next_leader() {
    let mut cluster = five().await;
    let held = held(&cluster).await;
    for round in 0..6 {
        let leader = cluster.wait_for_leader().await;
        let (wiped, watched) = ((leader.at + 1) % 5, (leader.at + 2) % 5);
        let name = cluster.node(wiped).name.clone();
        let leads = cluster.node(leader.at).name.clone();
        let old = cluster.raft_id(wiped).await;
        // The others have the change a while before the leader knows that they do.
        let slow = Rule { delay: Duration::from_millis(60), ..Rule::default() };
        for other in cluster.nodes.iter().filter(|n| n.name != leads && n.name != name) {
            cluster.faults.set(&other.name, &leads, slow);
        }
        cluster.node(wiped).kill();
        cluster.node(wiped).wipe();
        cluster.node(wiped).spawn();
        let deadline = Instant::now() + Duration::from_secs(30);
        let endpoints = vec![cluster.node(watched).listen.clone()];
        let client = dsync_tests::process::cluster::client_of(endpoints, "watcher");
        let joint = loop {
            let options = dsync::CallOptions {
                timeout: Duration::from_secs(1),
                target: Some(cluster.node(watched).name.clone()),
                ..dsync::CallOptions::default()
            };
            let answer = client.admin(dsync::api::AdminRequest::RaftStatus, options).await;
            if let Ok(Ok(dsync::api::AdminReply::Raft(view))) = answer.map(|a| a.result) {
                let votes = |new: bool| {
                    view.voters.iter().any(|(n, _, id)| *n == name && (*id != old) == new)
                };
                if votes(true) {
                    // Killed at once: it cannot have gone on to the second half.
                    cluster.node(leader.at).signal(Signal::KILL);
                    break view.joint && votes(false);
                }
            }
            assert!(Instant::now() < deadline, "{name} does not come back");
        };
        cluster.node(leader.at).kill();
        cluster.faults.heal();
        cluster.wait_for_rejoin(&name, old).await;
        serves(&cluster, &held).await;
        cluster.node(leader.at).spawn();
        cluster.wait_for_convergence().await;
        let finished = "finished the change of members";
        if joint && cluster.nodes.iter().any(|node| node.logged().contains(finished)) {
            return;
        }
        println!("round {round}: the leader was killed too late");
    }
    panic!("no leader was killed half-way");
}

#[tokio::test]
async fn a_node_that_was_wiped_and_moved_comes_back_though_no_list_names_its_place() {
    let mut cluster = Cluster::start(3).await;
    let held = held(&cluster).await;
    let leader = cluster.wait_for_leader().await;
    let wiped = follower(&leader);
    let name = cluster.node(wiped).name.clone();
    let old = cluster.raft_id(wiped).await;
    let port = cluster.spare_port();
    let node = cluster.node(wiped);
    node.kill();
    node.wipe();
    node.move_to(port);
    node.spawn();
    cluster.wait_for_rejoin(&name, old).await;
    cluster.wait_for_convergence().await;
    serves(&cluster, &held).await;
    // The log has its place now, whatever the lists say.
    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_convergence().await;
    // Its vote counts.
    cluster.node((wiped + 1) % 3).kill();
    cluster.wait_for_leader().await;
    serves(&cluster, &held).await;
}

#[tokio::test]
async fn a_node_that_was_wiped_and_moved_comes_back_while_the_lists_are_being_edited() {
    let mut cluster = Cluster::start(3).await;
    let held = held(&cluster).await;
    let leader = cluster.wait_for_leader().await;
    let wiped = follower(&leader);
    let name = cluster.node(wiped).name.clone();
    let old = cluster.raft_id(wiped).await;
    let port = cluster.spare_port();
    let node = cluster.node(wiped);
    node.kill();
    node.wipe();
    let before = node.listen.clone();
    node.move_to(port);
    let now = node.listen.clone();
    for other in cluster.nodes.iter().filter(|n| n.name != name) {
        other.edit(&before, &now);
    }
    // One of the two that are left has read its new list, the other one has not.
    cluster.node(leader.at).kill();
    cluster.node(leader.at).spawn();
    cluster.node(wiped).spawn();
    cluster.wait_for_rejoin(&name, old).await;
    cluster.wait_for_convergence().await;
    serves(&cluster, &held).await;
}
