//! What a Redis server says of itself, and whether data is safe in it.

use std::collections::BTreeMap;

/// What a server is, as far as it told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// Version: major, minor, patch.
    pub version: (u32, u32, u32),
    /// It is the master.
    pub master: bool,
    /// What it does when its memory is full.
    pub eviction: String,
    /// It writes an append-only file.
    pub aof: bool,
    /// Each write is on its disk before it answers.
    pub always: bool,
    /// Replicas that follow it.
    pub replicas: u32,
    /// Names this run of it: it has another one after a restart. Empty for several servers.
    pub run: String,
}

/// Oldest version that has what the scripts need.
const OLDEST: (u32, u32, u32) = (6, 2, 0);
/// First version that says when a write is on disk.
const WAITAOF: (u32, u32, u32) = (7, 2, 0);

impl Server {
    /// Reads `INFO` and, where it may be read, `CONFIG GET appendfsync`.
    pub(super) fn read(info: &str, appendfsync: Option<&str>) -> Self {
        let fields: BTreeMap<&str, &str> =
            info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let get = |name: &str| fields.get(name).copied().unwrap_or_default();
        let aof = get("aof_enabled") == "1";
        Self {
            version: version(get("redis_version")),
            master: get("role") != "slave",
            eviction: get("maxmemory_policy").to_owned(),
            aof,
            always: aof && appendfsync == Some("always"),
            replicas: get("connected_slaves").parse().unwrap_or(0),
            run: get("run_id").to_owned(),
        }
    }

    /// What is wrong with it for what must not be lost; each with its remedy.
    pub fn unsafe_settings(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.version < OLDEST {
            let (major, minor, patch) = self.version;
            found.push(format!(
                "its version is {major}.{minor}.{patch}: 6.2 or later has the commands that are needed"
            ));
        }
        if !matches!(self.eviction.as_str(), "noeviction" | "") {
            found.push(format!(
                "maxmemory-policy is {}: it would throw data away when its memory is full; CONFIG SET \
                 maxmemory-policy noeviction",
                self.eviction
            ));
        }
        found
    }

    /// All that is wrong with it, what is not refused too.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = self.unsafe_settings();
        if !self.aof {
            found.push(
                "it has no append-only file: what came since its last snapshot is lost when it is \
                 killed; CONFIG SET appendonly yes"
                    .to_owned(),
            );
        }
        found
    }

    /// It can say when a write is on its disk.
    pub fn has_waitaof(&self) -> bool {
        self.aof && self.version >= WAITAOF
    }
}

fn version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_read_from_what_it_says() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:0f3a\r\nrole:master\r\nconnected_slaves:2\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        let server = Server::read(info, Some("always"));
        assert_eq!(server.version, (7, 0, 15));
        assert!(server.master && server.aof && server.always && !server.has_waitaof());
        assert_eq!((server.replicas, server.run.as_str()), (2, "0f3a"));
        assert!(server.unsafe_settings().is_empty());
        assert!(!Server::read(info, None).always, "not known is not safe");
    }

    #[test]
    fn what_may_lose_data_is_named() {
        let info = "redis_version:5.0.3\nrole:slave\nmaxmemory_policy:allkeys-lru\naof_enabled:0\n";
        let server = Server::read(info, Some("always"));
        assert!(!server.master && !server.always);
        let found = server.unsafe_settings().join("; ");
        assert!(found.contains("5.0.3") && found.contains("allkeys-lru"), "{found}");
        assert!(!found.contains("append-only"), "a warning, no reason to refuse");
        let server = Server::read(info, None);
        assert!(server.warnings().join("; ").contains("append-only"));
    }
}
