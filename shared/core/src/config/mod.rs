//! Configuration of a node.

use crate::node::Role;

/// Which store a role keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Our own Raft log: no other server.
    Raft,
    /// Redis.
    Redis,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Timers of Raft, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Time between heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest election timeout.
    pub election_min_ms: u64,
    /// Longest election timeout.
    pub election_max_ms: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_min_ms: 300, election_max_ms: 600 }
    }
}

/// A valid configuration: what every other part of the daemon is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// NODE_ID.
    pub node_id: String,
    /// What this process does.
    pub role: Role,
    /// NODE_HOST: the address to listen on.
    pub host: String,
    /// NODE_PORT.
    pub port: u16,
    /// NODE_ADVERTISE: where others reach this node, `host:port`.
    pub advertise: String,
    /// PEER_ADDRESSES: the other nodes of this role, `host:port` each.
    pub peers: Vec<String>,
    /// CLUSTER_ADDRESSES: any nodes of other roles.
    pub cluster: Vec<String>,
    /// DATA_DIR.
    pub data_dir: String,
    /// Where the role keeps its state.
    pub store: Store,
    /// Raft's timers.
    pub timers: Timers,
    /// LOCK_DELAY_MS.
    pub lock_delay_ms: u64,
    /// LOG_FORMAT.
    pub log_format: LogFormat,
    /// LOG_LEVEL: a filter as tracing-subscriber's `EnvFilter` reads it.
    pub log_level: String,
    /// METRICS_ADDR: where `/metrics`, `/livez` and `/readyz` are served, if anywhere.
    pub metrics_addr: Option<String>,
}
