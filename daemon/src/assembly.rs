//! Puts a node together, runs it and takes it down: the same for the daemon, `dsd dev` and the
//! simulation.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dsync::api::Setting;
use dsync::net::Net;
use dsync_core::config::{NodeConfig, Store};
use dsync_core::name::Name;
use dsync_core::node::Role;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::directory::{Hailer, Nodes};
use crate::exit::{self, Exit};
use crate::forward::Forwarder;
use crate::greeting::Greeter;
use crate::node::{Me, NodeService, Parts, RunningRole};
use crate::raft::fs::Fs;
use crate::raft::identity::Identity;
use crate::raft::log::{LogOptions, LogStore};
use crate::raft::snapshot::SnapshotStore;
use crate::raft::{
    COMMAND_MAX, Engine, EngineOptions, Group, GroupOf, Leadership, Machine, NoGroup, Problems,
    Transport, follow, keep_short,
};
use crate::roles::leader::ToLeader;
use crate::roles::lock::{self, LockRole, LockState};
use crate::roles::queue::{self, QueueRole, QueueState, RaftQueues, RedisQueues};
use crate::server::{Counters, Handlers, Identity as ServerIdentity, Limits, Server};
use crate::store::redis::RedisLink;
use crate::telemetry::Telemetry;

mod cache;

/// Time between greetings while the cluster is being formed.
const GREET_FORMING: Duration = Duration::from_millis(250);
/// Time between greetings afterwards.
const GREET_STEADY: Duration = Duration::from_secs(2);
/// Longest time for handing leadership over at a stop.
const HAND_OVER: Duration = Duration::from_secs(1);

/// What a node runs on.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its network and clock.
    pub net: Net,
    /// Its disk.
    pub fs: Arc<dyn Fs>,
    /// How its log writes.
    pub log: LogOptions,
    /// What its server allows.
    pub limits: Limits,
    /// How its engine keeps that log short.
    pub engine: EngineOptions,
    /// Random bits for names that must not meet again.
    pub seed: u64,
    /// When this process started, in milliseconds since 1970: so that what a node says of itself
    /// now outdoes what it said before its data was lost. No safety rests on it.
    pub started_ms: u64,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CannotStart {
    /// What is wrong and what to do.
    pub what: String,
    /// The process's exit code.
    pub exit: Exit,
}

impl CannotStart {
    fn unavailable(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), exit: exit::UNAVAILABLE }
    }

    fn config(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), exit: exit::CONFIG }
    }

    /// The data directory cannot be used, by a failure of that kind.
    fn data(what: impl fmt::Display, kind: io::ErrorKind) -> Self {
        Self { what: what.to_string(), exit: exit::of_data(kind) }
    }
}

/// A node that runs.
#[derive(Debug)]
pub struct RunningNode {
    service: NodeService,
    leadership: watch::Receiver<Leadership>,
    telemetry: Telemetry,
    stop: CancellationToken,
    server: TaskTracker,
    background: CancellationToken,
    span: tracing::Span,
}

impl RunningNode {
    /// Starts a node. It answers at once, and serves when the cluster has a leader.
    ///
    /// # Errors
    /// The port is taken, or the data directory cannot be used; the text names it and the fix.
    pub async fn start(
        config: NodeConfig,
        settings: Vec<Setting>,
        telemetry: Telemetry,
        host: Host,
    ) -> Result<Self, CannotStart> {
        let span = tracing::info_span!("node", id = %config.node_id);
        Self::start_here(config, settings, telemetry, host).instrument(span).await
    }

    async fn start_here(
        config: NodeConfig,
        settings: Vec<Setting>,
        telemetry: Telemetry,
        host: Host,
    ) -> Result<Self, CannotStart> {
        let listen = config.listen();
        let listener = host.net.listen(&listen).await.map_err(|error| {
            CannotStart::unavailable(format!(
                "cannot listen on {listen}: {error}; set NODE_HOST and NODE_PORT to an address of \
                 this host that is free"
            ))
        })?;
        let stop = CancellationToken::new();
        let (service, leadership) = build(config, settings, &telemetry, &host, &stop).await?;
        let counters = Arc::clone(&service.parts().counters);
        let identity = server_identity(&service);
        let server = Server { listener, identity, limits: host.limits, counters };
        let handlers = Handlers { node: service.clone(), peer: service.clone() };
        let tracker = TaskTracker::new();
        tracker.spawn(server.run(handlers, stop.clone()).in_current_span());
        tracker.close();
        let background = CancellationToken::new();
        tokio::spawn(greet_for_ever(service.clone(), background.clone()).in_current_span());
        let gauges = crate::gauges::watch(service.clone(), leadership.clone(), background.clone());
        tokio::spawn(gauges.in_current_span());
        tracing::info!(%listen, advertise = %service.parts().me.config.advertise, "listening");
        let span = tracing::Span::current();
        Ok(Self { service, leadership, telemetry, stop, server: tracker, background, span })
    }

    /// What it answers with.
    pub fn service(&self) -> &NodeService {
        &self.service
    }

    /// Who leads, as it knows.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Returns why the node can run no longer, once that is so.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn failed(&self) -> String {
        let mut leadership = self.leadership.clone();
        let stopped = leadership.wait_for(|now| now.stopped.is_some()).await;
        stopped.ok().and_then(|now| now.stopped.clone()).unwrap_or_else(|| "raft ended".to_owned())
    }

    /// Hands leadership over, answers what is in flight, and leaves.
    pub async fn stop(self) {
        let span = self.span.clone();
        self.stop_here().instrument(span).await;
    }

    async fn stop_here(self) {
        self.telemetry.readiness.set_not_ready("the node is stopping");
        // What it does not reach in time, the others find out by themselves.
        match &self.service.parts().role {
            RunningRole::Lock(_) => {}
            RunningRole::Queue(role) => {
                drop(tokio::time::timeout(HAND_OVER, role.leave()).await);
            }
            RunningRole::Cache(role) => {
                drop(tokio::time::timeout(HAND_OVER, role.leave()).await);
            }
        }
        self.service.parts().raft.hand_over(HAND_OVER).await;
        self.stop.cancel();
        self.server.wait().await;
        self.background.cancel();
        self.service.parts().raft.shutdown().await;
        tracing::info!("stopped");
    }
}

/// What every role with a Raft log stands on.
struct Ground {
    config: NodeConfig,
    nodes: Arc<Nodes>,
    hailer: Hailer,
    forwarder: Arc<Forwarder>,
    identity: Arc<Mutex<Identity>>,
    transport: Arc<Transport>,
    log: LogStore,
    snapshots: SnapshotStore,
}

impl Ground {
    fn open(config: NodeConfig, telemetry: &Telemetry, host: &Host) -> Result<Self, CannotStart> {
        let dir = Path::new(&config.data_dir);
        let (fs, node) = (Arc::clone(&host.fs), &config.node_id);
        let data = |error: &dyn fmt::Display, kind| CannotStart::data(error, kind);
        let identity = Identity::open(fs, dir, node, config.role, host.seed, host.started_ms)
            .map_err(|error| data(&error, error.kind()))?;
        // Before the log is opened, which would begin a new one.
        identity.check_log().map_err(|error| data(&error, error.kind()))?;
        let log = LogStore::open(Arc::clone(&host.fs), &dir.join("log"), host.log)
            .map_err(|error| data(&error, error.kind()))?;
        let metrics = Arc::clone(&telemetry.metrics);
        log.watch().observe(move |took| metrics.fsync(took));
        let snapshots = SnapshotStore::open(Arc::clone(&host.fs), &dir.join("snapshots"))
            .map_err(|error| data(&error, error.kind()))?;
        let nodes = Nodes::new();
        let hailer = Hailer::new(&config.node_id);
        let transport = Transport::new(
            Arc::clone(&host.net),
            hailer.clone(),
            identity.raft_id(),
            config.timers,
            Arc::clone(&nodes),
            Arc::clone(&telemetry.metrics),
        );
        if let Some(cluster) = identity.cluster() {
            transport.set_cluster(cluster);
        }
        let (net, known) = (Arc::clone(&host.net), Arc::clone(&nodes));
        let forwarder = Arc::new(Forwarder::new(net, hailer.clone(), &config, known));
        let identity = Arc::new(Mutex::new(identity));
        Ok(Self { config, nodes, hailer, forwarder, identity, transport, log, snapshots })
    }
}

/// What a replicated machine brings along.
struct Replicated<M: Machine> {
    machine: M,
    /// Largest command.
    command_max: usize,
    /// The entry that does nothing.
    noop: M::Command,
}

/// A role that runs, and the Raft group below.
struct Started {
    role: RunningRole,
    raft: Arc<dyn Group>,
    leadership: watch::Receiver<Leadership>,
}

impl Ground {
    /// Starts a Raft group of that machine, and the role on it.
    async fn start<M: Machine>(
        self,
        replicated: Replicated<M>,
        host: &Host,
        stop: &CancellationToken,
        role: impl FnOnce(ToLeader<M>, &NodeConfig) -> RunningRole,
    ) -> Result<(Common, Started), CannotStart> {
        let Self { config, nodes, hailer, forwarder, identity, transport, log, snapshots } = self;
        let Replicated { machine, command_max, noop } = replicated;
        let options = EngineOptions { command_max, ..host.engine };
        let raft_id = transport.raft_id();
        let engine = Engine::open(machine, log, snapshots, transport, (config.timers, options))
            .await
            .map_err(|error| CannotStart::data(&error, error.kind()))?;
        let leadership = follow(engine.clone());
        if command_max > COMMAND_MAX {
            // Others cannot fill that many bytes before the entries are too many.
            let watch = keep_short(engine.clone(), host.engine.log_bytes, stop.child_token());
            tokio::spawn(watch.in_current_span());
        }
        let group = (leadership.clone(), config.role);
        let raft = GroupOf::new(engine.clone(), &identity, group, host.seed, noop);
        let to_leader = ToLeader::new(
            engine,
            leadership.clone(),
            Arc::clone(&forwarder),
            config.role,
            stop.clone(),
        );
        let role = role(to_leader, &config);
        let incarnation = identity.lock().incarnation();
        let common = Common { config, nodes, hailer, forwarder, incarnation, raft_id };
        Ok((common, Started { role, raft: Arc::new(raft), leadership }))
    }
}

/// What every node has, whatever its role and store.
struct Common {
    config: NodeConfig,
    nodes: Arc<Nodes>,
    hailer: Hailer,
    forwarder: Arc<Forwarder>,
    incarnation: u64,
    raft_id: u64,
}

async fn build(
    config: NodeConfig,
    settings: Vec<Setting>,
    telemetry: &Telemetry,
    host: &Host,
    stop: &CancellationToken,
) -> Result<(NodeService, watch::Receiver<Leadership>), CannotStart> {
    let name = Name::parse("NODE_ID", &config.node_id).map_err(CannotStart::config)?;
    let (common, started) = start_role(config, telemetry, host, stop).await?;
    let Common { config, nodes, hailer, forwarder, incarnation, raft_id } = common;
    let parts = Parts {
        net: Arc::clone(&host.net),
        greeter: Greeter::new(Arc::clone(&host.net), hailer, &config, Arc::clone(&nodes)),
        raft: started.raft,
        me: Me { name, settings, incarnation, raft_id, started: Instant::now(), config },
        nodes,
        forwarder,
        role: started.role,
        telemetry: telemetry.clone(),
        counters: Arc::new(Counters::default()),
    };
    Ok((NodeService::new(parts), started.leadership))
}

async fn start_role(
    config: NodeConfig,
    telemetry: &Telemetry,
    host: &Host,
    stop: &CancellationToken,
) -> Result<(Common, Started), CannotStart> {
    match (config.role, config.store) {
        (Role::Lock, _) => {
            let ground = Ground::open(config, telemetry, host)?;
            let replicated = Replicated {
                machine: LockState::new(Arc::clone(&telemetry.metrics)),
                command_max: COMMAND_MAX,
                noop: lock::noop(&ground.config),
            };
            let role = |to_leader, config: &NodeConfig| {
                RunningRole::Lock(LockRole::start(to_leader, config))
            };
            ground.start(replicated, host, stop, role).await
        }
        (Role::Queue, Store::Raft) => {
            let replicated = Replicated {
                machine: QueueState::new(),
                command_max: queue::COMMAND_MAX,
                noop: queue::noop(),
            };
            let metrics = Arc::clone(&telemetry.metrics);
            let role = |to_leader, _: &NodeConfig| {
                RunningRole::Queue(QueueRole::Raft(RaftQueues::start(to_leader, metrics)))
            };
            Ground::open(config, telemetry, host)?.start(replicated, host, stop, role).await
        }
        (Role::Queue, Store::Redis) => queues_on_redis(config, telemetry, host, stop).await,
        (Role::Cache, Store::Raft) => cache::on_raft(config, telemetry, host, stop).await,
        (Role::Cache, Store::Redis) => cache::on_redis(config, host, stop).await,
    }
}

/// What a node has that keeps its state in Redis, and nothing itself.
struct OnRedis {
    common: Common,
    link: RedisLink,
    /// The store in words.
    store: String,
}

async fn on_redis(
    config: NodeConfig,
    host: &Host,
    stop: &CancellationToken,
) -> Result<OnRedis, CannotStart> {
    let Some(redis) = config.redis.clone() else {
        return Err(CannotStart::config("STORE=redis, but REDIS_HOST is not set"));
    };
    let store = redis.in_words();
    let nodes = Nodes::new();
    let hailer = Hailer::new(&config.node_id);
    let (net, known) = (Arc::clone(&host.net), Arc::clone(&nodes));
    let forwarder = Arc::new(Forwarder::new(net, hailer.clone(), &config, known));
    let link =
        RedisLink::open(redis, host.seed, stop.child_token()).await.map_err(CannotStart::config)?;
    let incarnation = host.started_ms;
    let common = Common { config, nodes, hailer, forwarder, incarnation, raft_id: 0 };
    Ok(OnRedis { common, link, store })
}

/// A queue node whose jobs are in Redis.
async fn queues_on_redis(
    config: NodeConfig,
    telemetry: &Telemetry,
    host: &Host,
    stop: &CancellationToken,
) -> Result<(Common, Started), CannotStart> {
    let OnRedis { common, link, store } = on_redis(config, host, stop).await?;
    let config = &common.config;
    let me = queue::Myself {
        node: Name::parse("NODE_ID", &config.node_id).map_err(CannotStart::config)?,
        incarnation: host.started_ms,
        address: config.advertise.clone(),
    };
    let queues = RedisQueues::start(
        link,
        me,
        Arc::clone(&common.forwarder),
        (stop.clone(), Arc::clone(&telemetry.metrics)),
    )
    .await
    .map_err(CannotStart::config)?;
    let watched = queues.clone();
    let problems: Problems = Box::new(move || watched.problems());
    let raft = NoGroup::new(queues.cluster(), problems, store);
    let leadership = raft.leadership();
    let role = RunningRole::Queue(QueueRole::Redis(queues));
    Ok((common, Started { role, raft: Arc::new(raft), leadership }))
}

fn server_identity(service: &NodeService) -> ServerIdentity {
    let me = &service.parts().me;
    ServerIdentity {
        node: me.config.node_id.clone(),
        role: me.config.role,
        address: me.config.advertise.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: service.parts().raft.cluster(),
    }
}

async fn greet_for_ever(service: NodeService, stop: CancellationToken) {
    while !stop.is_cancelled() {
        service.greet_round().await;
        let formed = service.parts().raft.initialized().await;
        let pause = if formed { GREET_STEADY } else { GREET_FORMING };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}
