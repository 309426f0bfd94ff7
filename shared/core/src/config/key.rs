//! The keys there are.

/// A key of the configuration, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Who this node is.
    NodeId,
    /// What it does.
    NodeType,
    /// Where it listens: host.
    NodeHost,
    /// Where it listens: port.
    NodePort,
    /// Where others reach it.
    NodeAdvertise,
    /// The other nodes of its role.
    PeerAddresses,
    /// Nodes of other roles.
    ClusterAddresses,
    /// Where it keeps its files.
    DataDir,
    /// Where the role keeps its state.
    Store,
    /// Redis: host.
    RedisHost,
    /// Redis: port.
    RedisPort,
    /// Redis: user.
    RedisUsername,
    /// Redis: password.
    RedisPassword,
    /// Redis: number of the database.
    RedisDb,
    /// Redis: encrypted connection.
    RedisTls,
    /// Redis: who knows the master.
    RedisSentinels,
    /// Redis: what they call it.
    RedisSentinelMaster,
    /// Redis: nodes of a cluster.
    RedisCluster,
    /// Redis: settings that may lose data are not refused.
    RedisAllowUnsafe,
    /// Raft: time between heartbeats.
    RaftHeartbeatMs,
    /// Raft: shortest election timeout.
    RaftElectionMinMs,
    /// Raft: longest election timeout.
    RaftElectionMaxMs,
    /// Delay after a lock was lost by expiry or force.
    LockDelayMs,
    /// Time a wounded holder has to release.
    LockWoundGraceMs,
    /// Cache: bytes of a node's copies.
    CacheBytes,
    /// Cache: number of a node's copies.
    CacheEntries,
    /// Cache: which copy gives way.
    CachePolicy,
    /// Cache: bytes of all values, where the nodes keep them.
    CacheMemoryBytes,
    /// Cache: lease of a node.
    CacheLeaseMs,
    /// Cache: when changes reach the memory.
    WritePolicy,
    /// Cache: longest time until they do.
    CacheMaxDirtyMs,
    /// How log lines look.
    LogFormat,
    /// What is logged.
    LogLevel,
    /// Where metrics and health are served.
    MetricsAddr,
}

impl Key {
    /// Every key.
    pub const ALL: [Self; 34] = [
        Self::NodeId,
        Self::NodeType,
        Self::NodeHost,
        Self::NodePort,
        Self::NodeAdvertise,
        Self::PeerAddresses,
        Self::ClusterAddresses,
        Self::DataDir,
        Self::Store,
        Self::RedisHost,
        Self::RedisPort,
        Self::RedisUsername,
        Self::RedisPassword,
        Self::RedisDb,
        Self::RedisTls,
        Self::RedisSentinels,
        Self::RedisSentinelMaster,
        Self::RedisCluster,
        Self::RedisAllowUnsafe,
        Self::RaftHeartbeatMs,
        Self::RaftElectionMinMs,
        Self::RaftElectionMaxMs,
        Self::LockDelayMs,
        Self::LockWoundGraceMs,
        Self::CacheBytes,
        Self::CacheEntries,
        Self::CachePolicy,
        Self::CacheMemoryBytes,
        Self::CacheLeaseMs,
        Self::WritePolicy,
        Self::CacheMaxDirtyMs,
        Self::LogFormat,
        Self::LogLevel,
        Self::MetricsAddr,
    ];

    /// Its name in the environment and in `.env` files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NodeId => "NODE_ID",
            Self::NodeType => "NODE_TYPE",
            Self::NodeHost => "NODE_HOST",
            Self::NodePort => "NODE_PORT",
            Self::NodeAdvertise => "NODE_ADVERTISE",
            Self::PeerAddresses => "PEER_ADDRESSES",
            Self::ClusterAddresses => "CLUSTER_ADDRESSES",
            Self::DataDir => "DATA_DIR",
            Self::Store => "STORE",
            Self::RedisHost => "REDIS_HOST",
            Self::RedisPort => "REDIS_PORT",
            Self::RedisUsername => "REDIS_USERNAME",
            Self::RedisPassword => "REDIS_PASSWORD",
            Self::RedisDb => "REDIS_DB",
            Self::RedisTls => "REDIS_TLS",
            Self::RedisSentinels => "REDIS_SENTINELS",
            Self::RedisSentinelMaster => "REDIS_SENTINEL_MASTER",
            Self::RedisCluster => "REDIS_CLUSTER",
            Self::RedisAllowUnsafe => "REDIS_ALLOW_UNSAFE",
            Self::RaftHeartbeatMs => "RAFT_HEARTBEAT_MS",
            Self::RaftElectionMinMs => "RAFT_ELECTION_MIN_MS",
            Self::RaftElectionMaxMs => "RAFT_ELECTION_MAX_MS",
            Self::LockDelayMs => "LOCK_DELAY_MS",
            Self::LockWoundGraceMs => "LOCK_WOUND_GRACE_MS",
            Self::CacheBytes => "CACHE_BYTES",
            Self::CacheEntries => "CACHE_ENTRIES",
            Self::CachePolicy => "CACHE_POLICY",
            Self::CacheMemoryBytes => "CACHE_MEMORY_BYTES",
            Self::CacheLeaseMs => "CACHE_LEASE_MS",
            Self::WritePolicy => "WRITE_POLICY",
            Self::CacheMaxDirtyMs => "CACHE_MAX_DIRTY_MS",
            Self::LogFormat => "LOG_FORMAT",
            Self::LogLevel => "LOG_LEVEL",
            Self::MetricsAddr => "METRICS_ADDR",
        }
    }

    /// True for a value that is never shown.
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::RedisPassword)
    }

    /// The key of that name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.name() == name)
    }

    /// The key that a misspelt `name` most likely means: at most two letters away, case aside.
    pub fn nearest(name: &str) -> Option<Self> {
        if name.len() > 64 {
            return None;
        }
        let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
        Self::ALL
            .into_iter()
            .map(|key| (distance(&name, key.name()), key))
            .filter(|(distance, _)| *distance <= 2)
            .min()
            .map(|(_, key)| key)
    }
}

/// Letters to insert, delete, replace or swap with their neighbour to turn `a` into `b` (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_letter = None;
    for (row, letter) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(last.len());
        next.push(row + 1);
        let at = |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX);
        let mut above_letter = None;
        for (column, other) in b.iter().copied().enumerate() {
            let replace = at(&last, column).saturating_add(usize::from(letter != other));
            let insert = at(&next, column).saturating_add(1);
            let delete = at(&last, column + 1).saturating_add(1);
            let mut best = replace.min(insert).min(delete);
            if left_letter == Some(other) && above_letter == Some(letter) && column > 0 {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            next.push(best);
            above_letter = Some(other);
        }
        left_letter = Some(letter);
        before_last = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}
