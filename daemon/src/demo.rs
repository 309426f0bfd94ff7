//! `dsd demo`: a guided tour of the real thing.
//!
//! Three lock nodes, three queue nodes and three cache nodes are started in this process, each with a
//! thread, a port and files of its own. All else goes through the client library that any program would use. Nothing is
//! staged: what is printed was measured or answered just then, and a step that does not hold ends
//! the tour with its name and exit code 1.

mod cluster;
mod coherence;
mod contend;
mod crash;
mod deadlock;
mod fencing;
mod jobs;
mod peers;
mod readers;
mod retries;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dsync::cache::CacheError;
use dsync::lock::{LockError, Session, SessionOptions};
use dsync::net::TcpNetwork;
use dsync::queue::QueueError;
use dsync::{Client, ClientConfig, Fault};
use tokio::time::Instant;

use self::cluster::Cluster;
use self::story::Story;
use crate::dev::DataDir;
use crate::run::Signals;
use crate::telemetry::Recent;
use crate::{exit, report};

/// Longest time of one step; far more than any needs.
const STEP_LIMIT: Duration = Duration::from_secs(30);

/// Why a step did not hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Broken(String);

impl Broken {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl From<LockError> for Broken {
    fn from(error: LockError) -> Self {
        Self(error.to_string())
    }
}

impl From<QueueError> for Broken {
    fn from(error: QueueError) -> Self {
        Self(error.to_string())
    }
}

impl From<CacheError> for Broken {
    fn from(error: CacheError) -> Self {
        Self(error.to_string())
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

/// What the steps play on.
#[derive(Debug)]
struct Stage {
    cluster: Cluster,
    queues: Cluster,
    caches: Cluster,
    client: Client,
}

impl Stage {
    /// A program that takes part: a session of its own on the shared client.
    async fn session(&self, owner: &str, ttl: Duration) -> Result<Session, Broken> {
        Ok(Session::open(&self.client, SessionOptions::new(owner).ttl(ttl)).await?)
    }
}

/// Goes through the tour; exit code 0 when every step held.
pub async fn run(recent: Recent) -> ExitCode {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            report::failure(format_args!("cannot listen for signals: {error}"));
            return exit::INTERNAL.into();
        }
    };
    let data = DataDir::new(None);
    let mut story = Story::new();
    let told = tokio::select! {
        told = Box::pin(tour(&mut story, &data, &recent)) => told,
        signal = signals.next() => {
            report::failure(format_args!("stopped by {signal}"));
            return ExitCode::from(130);
        }
    };
    match told {
        Ok(()) => {
            story.end();
            ExitCode::SUCCESS
        }
        Err(broken) => {
            report::failure(format_args!("{} did not hold: {broken}", story.place()));
            for line in recent.list().iter().rev().take(5).rev() {
                report::failure(format_args!("logged before: {line}"));
            }
            exit::UNHEALTHY.into()
        }
    }
}

async fn tour(story: &mut Story, data: &DataDir, recent: &Recent) -> Result<(), Broken> {
    let mut stage = within(Box::pin(open(story, data, recent))).await?;
    within(Box::pin(contend::show(&stage, story))).await?;
    within(Box::pin(readers::show(&stage, story))).await?;
    within(Box::pin(deadlock::show(&stage, story))).await?;
    let killed = within(Box::pin(crash::kill(&mut stage, story))).await?;
    within(Box::pin(fencing::show(&stage, story))).await?;
    within(Box::pin(crash::restart(&mut stage, story, killed))).await?;
    within(Box::pin(jobs::show(&mut stage, story))).await?;
    within(Box::pin(retries::show(&stage, story))).await?;
    within(Box::pin(coherence::show(&stage, story))).await?;
    within(Box::pin(coherence::lose_home(&mut stage, story))).await?;
    within(Box::pin(peers::show(&stage, story))).await?;
    within(Box::pin(stage.caches.stop())).await?;
    within(Box::pin(stage.queues.stop())).await?;
    within(Box::pin(stage.cluster.stop())).await
}

/// No step hangs.
async fn within<T>(step: impl Future<Output = Result<T, Broken>>) -> Result<T, Broken> {
    tokio::time::timeout(STEP_LIMIT, step).await.unwrap_or_else(|_| {
        Err(Broken::new(format!("it did not end within {} s", STEP_LIMIT.as_secs())))
    })
}

async fn open(story: &mut Story, data: &DataDir, recent: &Recent) -> Result<Stage, Broken> {
    story.step("A cluster of three lock nodes, three queue nodes and three cache nodes");
    let begun = Instant::now();
    let [cluster, queues, caches] = cluster::start(data.path(), recent).await?;
    let all = [&cluster, &queues, &caches];
    for (name, address) in all.into_iter().flat_map(Cluster::nodes) {
        story.fact(format_args!("{name} listens"), address);
    }
    story.fact("their files, removed at the end", data.path().display());
    for leader in [cluster.leader().await?, queues.leader().await?, caches.leader().await?] {
        story.fact(
            format_args!("{} is elected in term {}", leader.node, leader.term),
            story::since(begun),
        );
    }
    let config = ClientConfig {
        endpoints: cluster.nodes().into_iter().map(|(_, address)| address).collect(),
        connect_timeout: Duration::from_secs(1),
        name: "demo".to_owned(),
    };
    Ok(Stage { cluster, queues, caches, client: Client::new(config, Arc::new(TcpNetwork)) })
}
