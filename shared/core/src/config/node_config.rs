//! What every other part of the daemon is given.

use std::fmt;

use super::CacheConfig;
use crate::node::Role;

/// Which store a role keeps its state in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Our own Raft log: no other server.
    Raft,
    /// Redis.
    Redis,
}

impl Store {
    /// The name in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raft => "raft",
            Self::Redis => "redis",
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl LogFormat {
    /// The name in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Timers of Raft, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the unit is part of the name")]
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

/// A value that no log, report or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from view.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

/// How to reach Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redis {
    /// `REDIS_HOST`: a host name or an IP address, IPv6 without brackets.
    pub host: String,
    /// `REDIS_PORT`.
    pub port: u16,
    /// `REDIS_USERNAME`.
    pub username: Option<String>,
    /// `REDIS_PASSWORD`.
    pub password: Option<Secret>,
    /// `REDIS_DB`.
    pub db: u16,
    /// `REDIS_TLS`.
    pub tls: bool,
    /// `REDIS_SENTINELS`: they are asked who the master is; `host` and `port` do not count then.
    pub sentinels: Vec<String>,
    /// `REDIS_SENTINEL_MASTER`: what the sentinels call it.
    pub sentinel_master: String,
    /// `REDIS_CLUSTER`: some nodes of a Redis Cluster; `host` and `port` do not count then.
    pub cluster: Vec<String>,
    /// `REDIS_ALLOW_UNSAFE`: settings of Redis that may lose data are warned of, not refused.
    pub allow_unsafe: bool,
}

impl Redis {
    /// Where it is, for people to read.
    pub fn in_words(&self) -> String {
        if !self.cluster.is_empty() {
            return format!("Redis Cluster {}", self.cluster.join(","));
        }
        if !self.sentinels.is_empty() {
            return format!("Redis {} of {}", self.sentinel_master, self.sentinels.join(","));
        }
        format!("Redis at {}:{}", self.host, self.port)
    }
}

/// A valid configuration: what every other part of the daemon is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// NODE_ID: 1 to 64 letters, digits, `.`, `_` and `-`; safe as a directory name and in a line
    /// of text.
    pub node_id: String,
    /// What this process does.
    pub role: Role,
    /// NODE_HOST: the address to listen on, IPv6 without brackets.
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
    /// Redis, where `REDIS_HOST`, `REDIS_SENTINELS` or `REDIS_CLUSTER` is set. The lock role does not use it.
    pub redis: Option<Redis>,
    /// Raft's timers.
    pub timers: Timers,
    /// LOCK_DELAY_MS.
    pub lock_delay_ms: u64,
    /// `LOCK_WOUND_GRACE_MS`: time a wounded holder has to release by itself.
    pub lock_wound_grace_ms: u64,
    /// LOG_FORMAT.
    pub log_format: LogFormat,
    /// LOG_LEVEL: a filter as tracing-subscriber's `EnvFilter` reads it.
    pub log_level: String,
    /// The cache role.
    pub cache: CacheConfig,
    /// METRICS_ADDR: where `/metrics`, `/livez` and `/readyz` are served, if anywhere.
    pub metrics_addr: Option<String>,
}

impl NodeConfig {
    /// The address to listen on, `host:port`, IPv6 in brackets. `localhost` is `127.0.0.1`: where
    /// it is `::1` first, a node would listen there alone and the default endpoints not reach it.
    pub fn listen(&self) -> String {
        let host = if self.host == "localhost" { "127.0.0.1" } else { &self.host };
        host_port(host, self.port)
    }

    /// Where this machine itself reaches the node, `host:port`.
    pub fn dial_self(&self) -> String {
        match self.host.as_str() {
            "0.0.0.0" => host_port("127.0.0.1", self.port),
            "::" => host_port("::1", self.port),
            _ => self.listen(),
        }
    }

    /// This node and its peers as one sorted list in which `localhost` is written `127.0.0.1`, so
    /// that nodes which spell their configuration differently still compute the same list.
    pub fn members(&self) -> Vec<String> {
        let mut all: Vec<String> = std::iter::once(&self.advertise)
            .chain(&self.peers)
            .map(|address| match address.strip_prefix("localhost:") {
                Some(port) => format!("127.0.0.1:{port}"),
                None => address.clone(),
            })
            .collect();
        all.sort();
        all.dedup();
        all
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(super) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
