//! One `dsd` process.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use dsync_core::node::Role;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::{binaries, panics};

/// A node's files and, while it runs, its process. Dropping it kills the process.
#[derive(Debug)]
pub struct Node {
    /// NODE_ID.
    pub name: String,
    /// Where it listens, `host:port`.
    pub listen: String,
    /// What others dial, `host:port`.
    pub advertise: String,
    /// Metrics and health, `host:port`.
    pub metrics: String,
    /// Its `.env` file.
    pub env_file: PathBuf,
    /// DATA_DIR.
    pub data_dir: PathBuf,
    /// What it logs, over all starts.
    pub log: PathBuf,
    /// Environment variables of the process, beside what the test's own environment holds.
    pub environment: Vec<(String, String)>,
    /// What it does: `lock`, `queue` or `cache`.
    pub role: Role,
    /// Words for `ulimit` before it starts: `-n 1024`.
    pub ulimit: Option<String>,
    child: Option<Child>,
    starts: u32,
}

impl Node {
    /// Names a node and writes its `.env` file; starts nothing.
    pub fn prepare(folder: &Path, name: &str, port: u16, metrics: u16, lines: &str) -> Self {
        let listen = format!("127.0.0.1:{port}");
        let data_dir = folder.join(format!("{name}.data"));
        let env_file = folder.join(format!("{name}.env"));
        let own = format!(
            "NODE_ID={name}\nNODE_HOST=127.0.0.1\nNODE_PORT={port}\nMETRICS_ADDR=127.0.0.1:{metrics}\nDATA_DIR={}\n",
            data_dir.display()
        );
        fs::write(&env_file, own + lines).expect("the test's folder is writable");
        Self {
            name: name.to_owned(),
            advertise: listen.clone(),
            metrics: format!("127.0.0.1:{metrics}"),
            listen,
            env_file,
            data_dir,
            log: folder.join(format!("{name}.log")),
            environment: Vec::new(),
            role: Role::Lock,
            ulimit: None,
            child: None,
            starts: 0,
        }
    }

    /// Starts the process. It must not be running.
    pub fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    /// Starts the process with more arguments.
    pub fn spawn_with(&mut self, arguments: &[&str]) {
        assert!(!self.is_running(), "{} runs already", self.name);
        self.starts += 1;
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log = log.expect("the log file can be opened");
        let mut command = match &self.ulimit {
            None => Command::new(binaries::dsd()),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
                shell.arg(binaries::dsd());
                shell
            }
        };
        let child = command
            .arg("--env-file")
            .arg(&self.env_file)
            .args(["--node-type", self.role.as_str()])
            .args(arguments)
            // The tester's own configuration must not reach the node.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RUST_BACKTRACE", "1")
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be doubled"))
            .stderr(log)
            .spawn()
            .expect("dsd can be started");
        self.child = Some(child);
    }

    /// Process id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// True from spawn until the exit was seen.
    pub fn is_running(&mut self) -> bool {
        self.poll_exit().is_none() && self.child.is_some()
    }

    /// Times it was started.
    pub fn starts(&self) -> u32 {
        self.starts
    }

    /// Exit status, once there is one.
    pub fn poll_exit(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("a child can be waited for");
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.pid().unwrap_or_else(|| panic!("{} does not run", self.name));
        send(pid, signal);
    }

    /// Waits for the exit, at most so long, and gives the code as a shell would (128 + signal).
    pub async fn exit_code(&mut self, within: Duration) -> i32 {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.poll_exit() {
                return shell_code(status);
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "{} still runs after {within:?}:\n{}", self.name, self.tail(30));
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything logged so far.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends the test if the log tells of a panic.
    pub fn assert_no_panic(&self) {
        panics::assert_none(&self.name, &self.logged());
    }

    /// The last lines of the log.
    pub fn tail(&self, lines: usize) -> String {
        let all = self.logged();
        let skip = all.lines().count().saturating_sub(lines);
        all.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }

    /// Changes its `.env` file, which it reads at its next start.
    pub fn edit(&self, from: &str, to: &str) {
        let lines = fs::read_to_string(&self.env_file).expect("the test's folder is readable");
        assert!(lines.contains(from), "{} has no {from}: {lines}", self.env_file.display());
        fs::write(&self.env_file, lines.replace(from, to)).expect("the test's folder is writable");
    }

    /// Moves a node that does not run and is not proxied to another port.
    pub fn move_to(&mut self, port: u16) {
        assert!(!self.is_running(), "{} runs: stop it before moving it", self.name);
        let there = format!("127.0.0.1:{port}");
        self.edit(&format!("NODE_ADVERTISE={}", self.listen), &format!("NODE_ADVERTISE={there}"));
        let old = self.listen.rsplit(':').next().unwrap_or_default().to_owned();
        self.edit(&format!("NODE_PORT={old}\n"), &format!("NODE_PORT={port}\n"));
        self.listen.clone_from(&there);
        self.advertise = there;
    }

    /// Deletes the data directory of a node that does not run.
    pub fn wipe(&mut self) {
        assert!(!self.is_running(), "{} runs: stop it before wiping it", self.name);
        if self.data_dir.exists() {
            fs::remove_dir_all(&self.data_dir).expect("the data directory can be removed");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing can be done about a failure here; a stopped process dies of it as well.
            drop(child.kill());
            drop(child.wait());
        }
        // No test is passed by a node that panicked, whatever the test was about.
        if !std::thread::panicking() {
            self.assert_no_panic();
        }
    }
}

/// What a node answers over HTTP, with its head.
pub async fn http_get(address: &str, path: &str) -> String {
    let url = format!("GET {path} HTTP/1.1\r\nHost: dsync\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.expect("the node listens");
    stream.write_all(url.as_bytes()).await.expect("the request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

/// Sends a signal to a process that the test started.
pub fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a signal can be sent to a child");
}

/// An exit status as a shell shows it.
pub fn shell_code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|n| 128 + n)).expect("exited or signalled")
}
