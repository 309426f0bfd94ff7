//! Several `redis-server` processes that belong together: a master with replicas under Sentinel, and
//! a cluster.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::ports::Ports;
use super::redis::{Redis, RedisPlan};

/// Time for servers to find each other on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// What the master is called.
pub const MASTER: &str = "jobs";

/// A master, two replicas, and three sentinels that agree on a failover among two.
#[derive(Debug)]
pub struct Watched {
    /// The servers, the first master first.
    pub servers: Vec<Redis>,
    sentinels: Vec<Sentinel>,
}

#[derive(Debug)]
struct Sentinel {
    port: u16,
    child: Child,
    _folder: TempDir,
    _ports: Ports,
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // Nothing can be done about a failure here.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let mut ports = Ports::claim();
        let (folder, port) =
            (TempDir::new().expect("the temporary folder is writable"), ports.take());
        let file = folder.path().join("sentinel.conf");
        let lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\n\
             sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 3000\n",
            folder.path().display(),
            folder.path().join("sentinel.log").display(),
        );
        fs::write(&file, lines).expect("the temporary folder is writable");
        let child = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server, which runs already, starts as a sentinel");
        Self { port, child, _folder: folder, _ports: ports }
    }

    /// What it knows: replicas and other sentinels of the master.
    fn knows(&self) -> Option<(usize, usize)> {
        let mut connection = connect(self.port)?;
        let mut count = |what: &str| {
            let mut ask = redis::cmd("SENTINEL");
            let known = ask.arg(what).arg(MASTER).query::<Vec<redis::Value>>(&mut connection);
            known.ok().map(|list| list.len())
        };
        Some((count("replicas")?, count("sentinels")?))
    }
}

fn connect(port: u16) -> Option<redis::Connection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).expect("well formed");
    client.get_connection_with_timeout(Duration::from_secs(1)).ok()
}

async fn until(what: &str, mut there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

impl Watched {
    /// Starts them all and waits until they know each other.
    pub async fn start() -> Self {
        let master = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
        let port = master.port();
        let mut servers = vec![master];
        for _ in 0..2 {
            servers.push(Redis::start(replica_of(port)).await);
        }
        let sentinels: Vec<Sentinel> = (0..3).map(|_| Sentinel::start(port)).collect();
        until("the sentinels to know all", || {
            sentinels.iter().all(|one| one.knows() == Some((2, 2)))
        })
        .await;
        until("the replicas to follow", || replicas(port) == 2).await;
        Self { servers, sentinels }
    }

    /// The lines of a node's `.env` file.
    pub fn lines(&self) -> String {
        let sentinels: Vec<String> =
            self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port)).collect();
        format!("REDIS_SENTINELS={}\nREDIS_SENTINEL_MASTER={MASTER}\n", sentinels.join(","))
    }

    /// Place of the server that takes writes, of those that run.
    pub fn master(&self) -> Option<usize> {
        let role = |one: &Redis| info(one.port(), "replication").contains("role:master");
        self.servers.iter().position(|one| one.pid().is_some() && role(one))
    }

    /// Kills the server of that place as `kill -9` does.
    pub fn kill9(&mut self, at: usize) {
        self.servers.get_mut(at).expect("a server of that place").kill9();
    }

    /// Starts the server of that place again.
    pub async fn restart(&mut self, at: usize) {
        self.servers.get_mut(at).expect("a server of that place").restart().await;
    }
}

/// A server that follows the one at that port.
pub fn replica_of(port: u16) -> RedisPlan {
    let args = vec!["--replicaof".to_owned(), "127.0.0.1".to_owned(), port.to_string()];
    RedisPlan { append_only: true, args, ..RedisPlan::default() }
}

fn info(port: u16, section: &str) -> String {
    let Some(mut connection) = connect(port) else { return String::new() };
    redis::cmd("INFO").arg(section).query(&mut connection).unwrap_or_default()
}

/// Replicas that are in step with the server at that port.
pub fn replicas(port: u16) -> usize {
    info(port, "replication").matches("state=online").count()
}

/// Three masters that share the slots.
#[derive(Debug)]
pub struct Shards {
    /// The servers.
    pub servers: Vec<Redis>,
    /// Of the buses between them.
    _buses: Ports,
}

impl Shards {
    /// Starts them and waits until the slots are served.
    pub async fn start() -> Self {
        let (mut servers, mut buses) = (Vec::new(), Ports::claim());
        for _ in 0..3 {
            let bus = buses.take();
            let words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            let mut args: Vec<String> = words.map(str::to_owned).to_vec();
            args.extend(["--cluster-port".to_owned(), bus.to_string()]);
            let plan = RedisPlan { append_only: true, args, ..RedisPlan::default() };
            servers.push(Redis::start(plan).await);
        }
        let addresses = servers.iter().map(|one| format!("127.0.0.1:{}", one.port()));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .arg("--cluster-yes")
            .output();
        let made = made.unwrap_or_else(|error| {
            panic!("redis-cli cannot be started: {error}; `apt-get install redis-tools`")
        });
        let said = String::from_utf8_lossy(&made.stdout).into_owned();
        assert!(made.status.success(), "the cluster was not made:\n{said}");
        let shards = Self { servers, _buses: buses };
        shards.wait().await;
        shards
    }

    /// Waits until all of them serve all slots.
    pub async fn wait(&self) {
        let serves = |one: &Redis| {
            let Some(mut connection) = connect(one.port()) else { return false };
            let said = redis::cmd("CLUSTER").arg("INFO").query::<String>(&mut connection);
            said.is_ok_and(|text| {
                text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
            })
        };
        until("the cluster to serve", || self.servers.iter().all(serves)).await;
    }

    /// The line of a node's `.env` file.
    pub fn lines(&self) -> String {
        let addresses: Vec<String> =
            self.servers.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        format!("REDIS_CLUSTER={}\n", addresses.join(","))
    }
}
