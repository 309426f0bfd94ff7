//! Runs what was configured until it is asked to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dsync::net::TcpNetwork;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::assembly::{Host, RunningNode};
use crate::config::Loaded;
use crate::raft::EngineOptions;
use crate::raft::fs::RealFs;
use crate::raft::log::LogOptions;
use crate::server::Limits;
use crate::telemetry::{HttpServer, Telemetry};
use crate::{descriptors, exit, report};

/// Longest time of a stop before the process ends all the same.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Runs one node and gives the process's exit code.
///
/// # Cancel safety
/// Not cancel safe: run it to its end.
pub async fn run(loaded: Loaded, telemetry: Telemetry) -> ExitCode {
    let http = match &loaded.config.metrics_addr {
        None => None,
        Some(address) => match HttpServer::start(address, telemetry.clone()).await {
            Ok(server) => Some(server),
            Err(error) => {
                report::failure(error);
                return exit::UNAVAILABLE.into();
            }
        },
    };
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            report::failure(format_args!("cannot listen for signals: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let started = RunningNode::start(loaded.config, loaded.settings, telemetry, real_host(1)).await;
    let code = match started {
        Ok(node) => until_stopped(node, &mut signals).await,
        Err(error) => {
            report::failure(&error);
            error.exit.into()
        }
    };
    if let Some(http) = http {
        http.stop().await;
    }
    code
}

/// The machine that this process runs on, for one of that many nodes in it.
pub fn real_host(nodes: usize) -> Host {
    let descriptors = descriptors::raise() / nodes.max(1);
    let limits = Limits::within(descriptors);
    let full = Limits::default();
    if limits != full {
        tracing::warn!(
            descriptors,
            clients = limits.clients,
            "room for fewer clients than {}: raise the limit of open files (ulimit -Hn)",
            full.clients
        );
    }
    Host {
        net: Arc::new(TcpNetwork),
        fs: Arc::new(RealFs),
        log: LogOptions::default(),
        limits,
        engine: EngineOptions::default(),
        seed: rand::random(),
        started_ms: std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(0)),
    }
}

/// Runs a node until a signal or a failure, then takes it down.
async fn until_stopped(node: RunningNode, signals: &mut Signals) -> ExitCode {
    let failed = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping; once more stops at once");
            None
        }
        why = node.failed() => Some(why),
    };
    if let Some(why) = failed {
        report::failure(format_args!("this node cannot go on: {why}"));
        return exit::INTERNAL.into();
    }
    stop(node, signals).await
}

async fn stop(node: RunningNode, signals: &mut Signals) -> ExitCode {
    tokio::select! {
        () = node.stop() => ExitCode::SUCCESS,
        signal = signals.next() => {
            tracing::warn!(signal, "stopped at once");
            ExitCode::from(130)
        }
        () = tokio::time::sleep(STOP_LIMIT) => {
            tracing::warn!("stopped: not everything ended within {} s", STOP_LIMIT.as_secs());
            ExitCode::SUCCESS
        }
    }
}

/// SIGINT and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on: neither ends the process by itself any more.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one and gives its name.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
