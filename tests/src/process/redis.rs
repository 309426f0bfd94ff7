//! One `redis-server` process: a real one, on a port and in a folder of its own.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::node::send;
use super::ports::Ports;

/// A start with a large append-only file takes its time.
const START: Duration = Duration::from_secs(20);

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct RedisPlan {
    /// Writes every command to disk before it is answered, so that `kill -9` loses none.
    pub append_only: bool,
    /// `requirepass`.
    pub password: Option<String>,
    /// More arguments, as on the command line: `--maxmemory 10mb`.
    pub args: Vec<String>,
}

/// A server. Dropping it kills the process and deletes its files.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    plan: RedisPlan,
    folder: TempDir,
    child: Option<Child>,
    _ports: Ports,
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub async fn start(plan: RedisPlan) -> Self {
        let mut ports = Ports::claim();
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let mut server = Self { port: ports.take(), plan, folder, child: None, _ports: ports };
        server.restart().await;
        server
    }

    /// Starts it again on the same port and with the same files, and waits until it answers. A
    /// server that runs is killed first.
    pub async fn restart(&mut self) {
        self.kill9();
        self.spawn();
        let deadline = Instant::now() + START;
        while !self.answers() {
            let exited = self
                .child
                .as_mut()
                .is_none_or(|child| child.try_wait().expect("a child can be waited for").is_some());
            let late = exited || Instant::now() >= deadline;
            assert!(!late, "redis-server does not answer:\n{}", self.tail(30));
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn spawn(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.log());
        let log = log.expect("the log file can be opened");
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .arg("--dir")
            .arg(self.folder.path());
        if self.plan.append_only {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        if let Some(password) = &self.plan.password {
            command.args(["--requirepass", password]);
        }
        let child = command
            .args(&self.plan.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn();
        self.child = match child {
            Ok(child) => Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!("redis-server is missing: `apt-get install redis-server`")
            }
            Err(error) => panic!("redis-server cannot be started: {error}"),
        };
    }

    fn answers(&self) -> bool {
        let client = redis::Client::open(self.url()).expect("the address is well formed");
        let connection = client.get_connection_with_timeout(Duration::from_secs(1));
        connection.is_ok_and(|mut connection| {
            // While it loads its files it is connected to, but answers LOADING.
            redis::cmd("PING").query::<String>(&mut connection).is_ok()
        })
    }

    /// The port it listens on, of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as the redis crate reads it, with the password.
    pub fn url(&self) -> String {
        let password = self.plan.password.as_ref();
        let user = password.map(|text| format!(":{text}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}/", self.port)
    }

    /// A connection of its own. It blocks.
    pub fn connection(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("the address is well formed");
        client.get_connection().expect("redis-server runs")
    }

    /// Process id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Holds it up: connections stay, nothing is answered.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().unwrap_or_else(|| panic!("redis-server does not run"));
        send(pid, signal);
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let all = std::fs::read_to_string(self.log()).unwrap_or_default();
        let skip = all.lines().count().saturating_sub(lines);
        all.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing can be done about a failure here; a stopped process dies of it as well.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
