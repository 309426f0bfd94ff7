//! Three nodes on one store.

use std::time::Duration;

use dsync_core::node::Role;
use dsync_tests::jobs::{Hand, ring};
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::{Cluster, Plan, Redis, RedisPlan};

/// Long enough that it does not end by itself.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// For a job that must come: it comes at once, or the test fails.
pub(crate) const SOON: Duration = Duration::from_secs(15);
/// What a loaded machine may take longer than was promised.
pub(crate) const SLACK: Duration = Duration::from_secs(3);
pub(crate) const NONE: Duration = Duration::ZERO;

/// The nodes, and the Redis below them if there is one.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    pub(crate) queue: &'static str,
    _redis: Option<Redis>,
}

impl Place {
    pub(crate) async fn on_redis(queue: &'static str) -> Self {
        let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
        let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port());
        let plan = Plan { role: Some(Role::Queue), lines, ..Plan::default() };
        let mut cluster = Cluster::prepare(plan);
        cluster.spawn_all().await;
        for node in &cluster.nodes {
            let client = client_of(vec![node.listen.clone()], "ring");
            cluster
                .wait_until("three nodes in the ring", async || {
                    let ring = ring(&client).await?;
                    (ring.members.iter().filter(|one| one.live).count() == 3).then_some(())
                })
                .await;
        }
        Self { cluster, queue, _redis: Some(redis) }
    }

    pub(crate) async fn on_raft(queue: &'static str) -> Self {
        let lines = "STORE=raft\n".to_owned();
        let plan = Plan { role: Some(Role::Queue), lines, ..Plan::default() };
        Self { cluster: Cluster::start_plan(plan).await, queue, _redis: None }
    }

    /// A user of the test's queue, at that node alone.
    pub(crate) fn at(&self, node: usize) -> Hand {
        let listen = self.cluster.nodes[node].listen.clone();
        Hand::new(client_of(vec![listen], &format!("hand-{node}")), self.queue)
    }

    /// Users at all three nodes.
    pub(crate) fn hands(&self) -> [Hand; 3] {
        [self.at(0), self.at(1), self.at(2)]
    }

    /// What must hold after every scenario.
    pub(crate) async fn check(&self) {
        Hand::new(self.cluster.client("audit"), self.queue).audit().await;
    }
}
