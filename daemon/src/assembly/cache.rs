//! Cache nodes, on either store.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use dsync_core::cache::told::WritePolicy;
use dsync_core::cache::view::Member;
use dsync_core::config::NodeConfig;
use dsync_core::name::Name;
use tokio_util::sync::CancellationToken;

use super::{CannotStart, Common, Ground, Host, OnRedis, Replicated, Started};
use crate::directory::Hailer;
use crate::node::RunningRole;
use crate::raft::{Group as _, NoGroup, Problems};
use crate::roles::cache::{
    CacheRole, Memory, MemoryState, Parts, Peers, RaftMemory, RedisMemory, noop,
};
use crate::roles::leader::ToLeader;
use crate::roles::proposer::COMMAND_MAX;
use crate::telemetry::Telemetry;

/// This run of a cache node, as others know it.
fn member(config: &NodeConfig, incarnation: u64) -> Result<Member, CannotStart> {
    Ok(Member {
        node: Name::parse("NODE_ID", &config.node_id).map_err(CannotStart::config)?,
        incarnation,
        address: config.advertise.clone(),
        lease_ms: config.cache.lease_ms,
        writes_back: config.cache.write == WritePolicy::Back,
    })
}

/// A cache node whose values are in the nodes' own log.
pub(super) async fn on_raft(
    config: NodeConfig,
    telemetry: &Telemetry,
    host: &Host,
    stop: &CancellationToken,
) -> Result<(Common, Started), CannotStart> {
    let ground = Ground::open(config, telemetry, host)?;
    let config = &ground.config;
    let me = member(config, ground.identity.lock().incarnation())?;
    let replicated = Replicated {
        machine: MemoryState::new(),
        command_max: COMMAND_MAX,
        noop: noop(config.cache.memory_bytes),
    };
    let (net, metrics) = (Arc::clone(&host.net), Arc::clone(&telemetry.metrics));
    let (seed, stop_role) = (host.seed, stop.child_token());
    let role = move |to_leader: ToLeader<MemoryState>, config: &NodeConfig| {
        let cluster = to_leader.engine().transport().watch_cluster();
        let run = (me.node.clone(), me.incarnation);
        let peers = Peers::new(net, Hailer::new(&config.node_id), run, cluster);
        let forwarder = Arc::clone(to_leader.forwarder());
        let limit = config.cache.memory_bytes;
        let memory = RaftMemory::start(to_leader, peers.clone(), limit, metrics);
        let memory = Memory::Raft(memory);
        let parts =
            Parts { me, memory, peers, forwarder, seed, stop: stop_role, apart: Arc::default() };
        RunningRole::Cache(CacheRole::start(parts, config.cache))
    };
    ground.start(replicated, host, stop, role).await
}

/// A cache node whose values are in Redis.
pub(super) async fn on_redis(
    config: NodeConfig,
    host: &Host,
    stop: &CancellationToken,
) -> Result<(Common, Started), CannotStart> {
    let OnRedis { common, link, store } = super::on_redis(config, host, stop).await?;
    let config = &common.config;
    // No two runs have the same number; which came first does not matter.
    let me = member(config, host.seed | 1)?;
    let cluster = link.cluster();
    let memory = Memory::Redis(RedisMemory::new(link).map_err(CannotStart::config)?);
    let run = (me.node.clone(), me.incarnation);
    let hailer = Hailer::new(&config.node_id);
    let peers = Peers::new(Arc::clone(&host.net), hailer, run, cluster.clone());
    let forwarder = Arc::clone(&common.forwarder);
    let stop = stop.child_token();
    let apart = Arc::<AtomicBool>::default();
    let told = Arc::clone(&apart);
    let parts = Parts { me, memory, peers, forwarder, seed: host.seed, stop, apart };
    let role = CacheRole::start(parts, config.cache);
    let watched = role.clone();
    let problems: Problems = Box::new(move || watched.problems());
    let raft = NoGroup::new(cluster, problems, store).telling(told);
    let leadership = raft.leadership();
    Ok((common, Started { role: RunningRole::Cache(role), raft: Arc::new(raft), leadership }))
}
