//! Where it is measured: three queue nodes, and a Redis if the jobs are to be in one.

use std::time::Duration;

use dsync::Client;
use dsync_core::node::Role;
use dsync_tests::jobs::wait_for_ring;
use dsync_tests::process::cluster::client_of;
use dsync_tests::process::node::Node;
use dsync_tests::process::stats::Usage;
use dsync_tests::process::{Cluster, Plan, Redis, RedisPlan};

/// For so long after a change of the ring, nodes tell each other of every push.
const SETTLED: Duration = Duration::from_millis(5_500);

/// Where the jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Redis,
    Raft,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Raft => "raft",
        }
    }
}

/// A cluster at work.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    pub(crate) redis: Option<Redis>,
}

impl Place {
    /// Starts three nodes. Redis writes its append-only file to disk every second.
    pub(crate) async fn start(store: Store) -> Self {
        let mut lines = "LOG_LEVEL=warn\n".to_owned();
        let redis = match store {
            Store::Raft => None,
            Store::Redis => {
                let args = ["--appendonly", "yes", "--appendfsync", "everysec"];
                let args = args.map(str::to_owned).to_vec();
                let redis = Redis::start(RedisPlan { args, ..RedisPlan::default() }).await;
                lines.push_str("REDIS_HOST=127.0.0.1\nREDIS_PORT=");
                lines.push_str(&redis.port().to_string());
                lines.push('\n');
                Some(redis)
            }
        };
        let plan = Plan { role: Some(Role::Queue), lines, ..Plan::default() };
        let mut cluster = Cluster::prepare(plan);
        cluster.spawn_all().await;
        let place = Self { cluster, redis };
        match store {
            Store::Raft => {
                place.cluster.wait_for_leader().await;
            }
            Store::Redis => {
                wait_for_ring(&place.cluster, place.cluster.nodes.len()).await;
                tokio::time::sleep(SETTLED).await;
            }
        }
        place
    }

    /// A client with connections of its own that begins at the node of that place, and knows all.
    pub(crate) fn client_from(&self, at: usize) -> Client {
        let mut all: Vec<String> = self.cluster.nodes.iter().map(|n| n.listen.clone()).collect();
        let by = at % all.len();
        all.rotate_left(by);
        client_of(all, "bench")
    }

    /// What each node has used so far.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        self.cluster.nodes.iter().filter_map(Node::pid).map(Usage::of).collect()
    }

    /// What Redis has used so far.
    pub(crate) fn redis_usage(&self) -> Option<Usage> {
        self.redis.as_ref().and_then(Redis::pid).map(Usage::of)
    }

    /// A number that Redis says of itself.
    pub(crate) fn redis_info(&self, field: &str) -> u64 {
        let redis = self.redis.as_ref().expect("the store is Redis");
        let info: String =
            redis::cmd("INFO").arg("everything").query(&mut redis.connection()).expect("INFO");
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.and_then(|text| text.trim().parse().ok()).expect("a number in INFO")
    }
}

/// The part of a core that a process used between two looks, in percent.
pub(crate) fn cpu_percent(before: Usage, after: Usage, seconds: f64) -> f64 {
    let ticks = u32::try_from(after.cpu_ticks - before.cpu_ticks).unwrap_or(u32::MAX);
    // Ticks of 10 ms over the seconds are percent of a core.
    f64::from(ticks) / seconds
}
