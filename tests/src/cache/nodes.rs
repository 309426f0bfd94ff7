//! Three cache nodes, their memory in themselves or in a Redis.

use dsync_core::node::Role;

use super::hand::Hand;
use crate::process::cluster::client_of;
use crate::process::{Cluster, Plan, Redis, RedisPlan};

/// Nodes and their Redis, if that is their store.
#[derive(Debug)]
pub struct Nodes {
    /// The nodes.
    pub cluster: Cluster,
    /// The Redis.
    pub redis: Option<Redis>,
}

impl Nodes {
    /// Starts three nodes and waits until all of them serve. `lines`: more of their settings.
    pub async fn start(on_redis: bool, proxied: bool, lines: &str) -> Self {
        let redis = if on_redis {
            let plan = RedisPlan { append_only: true, ..RedisPlan::default() };
            Some(Redis::start(plan).await)
        } else {
            None
        };
        let store = match &redis {
            Some(redis) => format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port()),
            None => "STORE=raft\n".to_owned(),
        };
        let lines = format!("{store}{lines}");
        let role = Some(Role::Cache);
        let plan = Plan { role, lines, proxied, ..Plan::default() };
        let mut cluster = Cluster::prepare(plan);
        cluster.spawn_all().await;
        let nodes = Self { cluster, redis };
        nodes.all_serve(3).await;
        nodes
    }

    /// Waits until so many nodes are in one view, and serve.
    pub async fn all_serve(&self, count: usize) {
        self.cluster
            .wait_until("the cache nodes to serve", async || {
                let mut epochs = Vec::new();
                for at in 0..self.cluster.nodes.len() {
                    let view = self.at(at).view().await;
                    if let Ok(view) = view
                        && view.serving
                        && view.members.len() == count
                    {
                        epochs.push(view.epoch);
                    }
                }
                epochs.dedup();
                let serving = epochs.len() == 1;
                let all = self.serving().await == count;
                (serving && all).then_some(())
            })
            .await;
    }

    async fn serving(&self) -> usize {
        let mut count = 0;
        for at in 0..self.cluster.nodes.len() {
            count += usize::from(self.at(at).view().await.is_ok_and(|view| view.serving));
        }
        count
    }

    /// A hand at one node.
    pub fn at(&self, node: usize) -> Hand {
        let listen = self.cluster.nodes.get(node).expect("a node of that place").listen.clone();
        Hand::new(client_of(vec![listen], "hand").fail_fast())
    }

    /// A hand at any node.
    pub fn any(&self) -> Hand {
        Hand::new(self.cluster.client("hand"))
    }

    /// The place of the home of a key.
    pub async fn home_of(&self, name: &str) -> usize {
        let home = self.any().inspect(name).await.expect("it is inspected").home;
        let home = home.expect("there is a view");
        let place = self.cluster.nodes.iter().position(|node| node.name == home);
        place.expect("a home is a node")
    }
}
