//! Members that lost their data come back, also from another address.
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

use dsync_tests::process::{Cluster, Leader};

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
