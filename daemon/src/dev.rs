//! `dsd dev`: a whole cluster in one process, for a first look and for tests.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dsync_core::config::{LogFormat, NodeConfig, Store, Timers};
use dsync_core::lock::DEFAULT_LOCK_DELAY_MS;
use dsync_core::node::Role;

use crate::args::DevArgs;
use crate::assembly::{CannotStart, RunningNode};
use crate::run::{Signals, real_host};
use crate::telemetry::{Recent, Telemetry};
use crate::{exit, report};

/// Ports of the shipped lock nodes, where `dsctl` looks by itself.
const DEFAULT_PORTS: [u16; 3] = [8001, 8002, 8003];

/// Configuration of the `number`-th of the lock nodes on these ports of this host.
pub fn lock_node(number: usize, ports: &[u16], data_dir: &Path) -> NodeConfig {
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let port = ports.get(number).copied().unwrap_or_default();
    let node_id = format!("node-lock-{}", number + 1);
    NodeConfig {
        data_dir: data_dir.join(&node_id).display().to_string(),
        node_id,
        role: Role::Lock,
        host: "127.0.0.1".to_owned(),
        port,
        advertise: address(&port),
        peers: ports.iter().filter(|p| **p != port).map(address).collect(),
        cluster: Vec::new(),
        store: Store::Raft,
        redis: None,
        timers: Timers::default(),
        lock_delay_ms: DEFAULT_LOCK_DELAY_MS,
        lock_wound_grace_ms: 2_000,
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        metrics_addr: None,
    }
}

/// Starts one node of a cluster in this process.
///
/// # Errors
/// As of [`RunningNode::start`].
pub async fn start_node(config: NodeConfig, recent: &Recent) -> Result<RunningNode, CannotStart> {
    let telemetry = Telemetry::new(recent.clone());
    RunningNode::start(config, Vec::new(), telemetry, real_host()).await
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
    if let Some(port) = named_twice(&args.ports) {
        report::failure(format_args!("--ports names {port} twice: each node needs its own"));
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
    for number in 0..args.ports.len() {
        let config = lock_node(number, &args.ports, data.path());
        match start_node(config, &recent).await {
            Ok(node) => nodes.push(node),
            Err(error) => return cannot_start(&error),
        }
    }
    greet(args, &data);
    let failed = futures::future::select_all(nodes.iter().map(|node| Box::pin(node.failed())));
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping; once more stops at once"),
        (why, number, _) = failed => {
            report::failure(format_args!("node-lock-{} cannot go on: {why}", number + 1));
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
fn named_twice(ports: &[u16]) -> Option<u16> {
    let mut seen = std::collections::BTreeSet::new();
    ports.iter().copied().find(|port| !seen.insert(*port))
}

fn cannot_start(error: &CannotStart) -> ExitCode {
    if error.exit == exit::UNAVAILABLE {
        // What to do about it is another thing here than for one configured node.
        let what = error.what.split("; ").next().unwrap_or_default();
        report::failure(format_args!(
            "{what}; another dsync perhaps: stop it, or choose ports that are free with `dsd dev \
             --ports PORT,PORT,PORT`"
        ));
    } else {
        report::failure(error);
    }
    error.exit.into()
}

/// The banner.
fn greet(args: &DevArgs, data: &DataDir) {
    let ports: Vec<String> = args.ports.iter().map(ToString::to_string).collect();
    let kept = if data.temporary { "removed at the end" } else { "kept" };
    let (count, ports, path) = (args.ports.len(), ports.join(", "), data.path().display());
    report::line(format_args!(
        "{count} lock nodes run on 127.0.0.1, ports {ports}; files in {path}, {kept}."
    ));
    let endpoints = if args.ports == DEFAULT_PORTS {
        String::new()
    } else {
        format!("-e 127.0.0.1:{} ", args.ports.first().copied().unwrap_or_default())
    };
    report::line(format_args!(
        "Try in another terminal: dsctl {endpoints}lock acquire my-lock --ttl 60s"
    ));
    report::line("Ctrl-C stops them.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_named_twice_is_found() {
        assert_eq!(named_twice(&[1, 2, 3, 2]), Some(2));
        assert_eq!(named_twice(&[1, 2, 3]), None);
    }
}
