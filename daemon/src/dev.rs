//! `dsd dev`: a whole cluster in one process, for a first look and for tests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dsync_core::config::{CacheConfig, LogFormat, NodeConfig, Store, Timers};
use dsync_core::lock::DEFAULT_LOCK_DELAY_MS;
use dsync_core::node::Role;

use crate::args::DevArgs;
use crate::assembly::{CannotStart, RunningNode};
use crate::run::{Signals, real_host};
use crate::telemetry::{Recent, Telemetry};
use crate::{exit, report};

/// Ports of the shipped lock nodes, where `dsctl` looks by itself.
const LOCK_PORTS: [u16; 3] = [8001, 8002, 8003];
/// Those of the queue nodes.
const QUEUE_PORTS: [u16; 3] = [9001, 9002, 9003];
/// Those of the cache nodes.
const CACHE_PORTS: [u16; 3] = [7001, 7002, 7003];

/// In the order in which they are started and shown.
const ROLES: [Role; 3] = [Role::Lock, Role::Queue, Role::Cache];

/// Ports of the nodes in one process, by what the nodes do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Of the lock nodes.
    pub lock: Vec<u16>,
    /// Of the queue nodes.
    pub queue: Vec<u16>,
    /// Of the cache nodes.
    pub cache: Vec<u16>,
}

impl Ports {
    fn of(&self, role: Role) -> &[u16] {
        match role {
            Role::Lock => &self.lock,
            Role::Queue => &self.queue,
            Role::Cache => &self.cache,
        }
    }

    fn all(&self) -> impl Iterator<Item = u16> {
        self.lock.iter().chain(&self.queue).chain(&self.cache).copied()
    }
}

/// Configuration of the `number`-th of the nodes of a role on these ports of this host.
pub fn node(role: Role, number: usize, ports: &Ports, data_dir: &Path) -> NodeConfig {
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let own = ports.of(role);
    let port = own.get(number).copied().unwrap_or_default();
    let elsewhere = ROLES.into_iter().filter(|other| *other != role);
    let node_id = format!("node-{role}-{}", number + 1);
    NodeConfig {
        data_dir: data_dir.join(&node_id).display().to_string(),
        node_id,
        role,
        host: "127.0.0.1".to_owned(),
        port,
        advertise: address(&port),
        peers: own.iter().filter(|p| **p != port).map(address).collect(),
        cluster: elsewhere.flat_map(|other| ports.of(other)).map(address).collect(),
        store: Store::Raft,
        redis: None,
        timers: Timers::default(),
        lock_delay_ms: DEFAULT_LOCK_DELAY_MS,
        lock_wound_grace_ms: 2_000,
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        metrics_addr: None,
        cache: CacheConfig::default(),
    }
}

/// Configuration of the `number`-th of the lock nodes on these ports of this host, without others.
pub fn lock_node(number: usize, ports: &[u16], data_dir: &Path) -> NodeConfig {
    let ports = Ports { lock: ports.to_vec(), ..Ports::default() };
    node(Role::Lock, number, &ports, data_dir)
}

/// Starts one node of a cluster in this process.
///
/// # Errors
/// As of [`RunningNode::start`].
pub async fn start_node(config: NodeConfig, recent: &Recent) -> Result<RunningNode, CannotStart> {
    let telemetry = Telemetry::new(recent.clone());
    // All of its cluster are in this process.
    let host = real_host(config.peers.len() + config.cluster.len() + 1);
    RunningNode::start(config, Vec::new(), telemetry, host).await
}

/// A folder that is removed at the end, unless it was named by the user.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    temporary: bool,
}

impl DataDir {
    /// The user's folder, or one of this process.
    pub fn new(named: Option<&Path>) -> Self {
        let process = format!("dsd-{}-{:08x}", std::process::id(), rand::random::<u32>());
        match named {
            Some(path) => Self { path: path.to_owned(), temporary: false },
            None => Self { path: std::env::temp_dir().join(process), temporary: true },
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.temporary {
            // Left behind at worst in the system's own folder for such files.
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// Runs the cluster until it is asked to stop.
pub async fn run(args: &DevArgs, recent: Recent) -> ExitCode {
    let ports = Ports {
        lock: args.ports.clone(),
        queue: args.queue_ports.clone(),
        cache: args.cache_ports.clone(),
    };
    if let Some(port) = named_twice(&ports) {
        report::failure(format_args!("port {port} is named twice: each node needs its own"));
        return exit::USAGE.into();
    }
    let data = DataDir::new(args.data_dir.as_deref());
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            report::failure(format_args!("cannot listen for signals: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let mut nodes = Vec::new();
    for role in ROLES {
        for number in 0..ports.of(role).len() {
            match start_node(node(role, number, &ports, data.path()), &recent).await {
                Ok(node) => nodes.push(node),
                Err(error) => return cannot_start(&error),
            }
        }
    }
    greet(&ports, &data);
    let failed = futures::future::select_all(nodes.iter().map(|node| Box::pin(node.failed())));
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping; once more stops at once"),
        (why, number, _) = failed => {
            let name = nodes.get(number).map(|node| node.service().parts().me.name.to_string());
            let name = name.unwrap_or_default();
            report::failure(format_args!("{name} cannot go on: {why}"));
            return exit::INTERNAL.into();
        }
    }
    let stopping = futures::future::join_all(nodes.into_iter().map(RunningNode::stop));
    tokio::select! {
        _ = stopping => ExitCode::SUCCESS,
        _ = signals.next() => ExitCode::from(130),
    }
}

/// The first port that was there before.
fn named_twice(ports: &Ports) -> Option<u16> {
    let mut seen = std::collections::BTreeSet::new();
    ports.all().find(|port| !seen.insert(*port))
}

fn cannot_start(error: &CannotStart) -> ExitCode {
    if error.exit == exit::UNAVAILABLE {
        // What to do about it is another thing here than for one configured node.
        let what = error.what.split("; ").next().unwrap_or_default();
        report::failure(format_args!(
            "{what}; another dsync perhaps: stop it, or choose ports that are free with `dsd dev \
             --ports PORT,PORT,PORT --queue-ports PORT,PORT,PORT --cache-ports PORT,PORT,PORT`"
        ));
    } else {
        report::failure(error);
    }
    error.exit.into()
}

/// The banner.
fn greet(ports: &Ports, data: &DataDir) {
    let list = |ports: &[u16]| ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let kept = if data.temporary { "removed at the end" } else { "kept" };
    report::line(format_args!(
        "{} lock nodes (ports {}), {} queue nodes (ports {}) and {} cache nodes (ports {}) run on \
         127.0.0.1; files in {}, {kept}.",
        ports.lock.len(),
        list(&ports.lock),
        ports.queue.len(),
        list(&ports.queue),
        ports.cache.len(),
        list(&ports.cache),
        data.path().display()
    ));
    let shipped =
        ports.lock == LOCK_PORTS && ports.queue == QUEUE_PORTS && ports.cache == CACHE_PORTS;
    let endpoints = if shipped {
        String::new()
    } else {
        format!("-e 127.0.0.1:{} ", ports.all().next().unwrap_or_default())
    };
    report::line("Try in another terminal:");
    report::line(format_args!("  dsctl {endpoints}lock acquire my-lock --ttl 60s"));
    report::line(format_args!("  dsctl {endpoints}queue push my-queue hello"));
    report::line(format_args!("  dsctl {endpoints}cache set my-key hello"));
    report::line("Ctrl-C stops them.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_named_twice_is_found() {
        let ports = |lock: &[u16], queue: &[u16]| Ports {
            lock: lock.into(),
            queue: queue.into(),
            cache: vec![8],
        };
        assert_eq!(named_twice(&ports(&[1, 2, 3], &[4, 2])), Some(2));
        assert_eq!(named_twice(&ports(&[1, 2, 3], &[4])), None);
    }
}
