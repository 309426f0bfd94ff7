//! `dsctl` as a user or a script runs it.

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::binaries;
use super::node::shell_code;
use super::panics;

/// What one run of `dsctl` gave.
#[derive(Debug)]
pub struct Run {
    /// The arguments, for messages.
    pub arguments: String,
    /// Exit code as a shell shows it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    fn new(arguments: &[String], output: &Output) -> Self {
        Self {
            arguments: arguments.join(" "),
            code: shell_code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("`dsctl {}` printed no JSON: {e}\n{self}", self.arguments))
    }

    /// The document, after the exit code was found to be 0.
    pub fn ok(&self) -> Value {
        self.expect(0).json()
    }

    /// Itself, after the exit code was found to be `code`.
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "`dsctl {}`: exit code\n{self}", self.arguments);
        panics::assert_none(&format!("`dsctl {}`", self.arguments), &self.stderr);
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n-- stdout\n{}\n-- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A `dsctl` command with those endpoints and nothing of the tester's own environment.
pub fn command(endpoints: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binaries::dsctl());
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_BACKTRACE", "1")
        .env("HOME", "/nonexistent")
        .env("DSCTL_OWNER", "tester@bench")
        .stdin(Stdio::null());
    if !endpoints.is_empty() {
        command.env("DSCTL_ENDPOINTS", endpoints);
    }
    command
}

/// Runs `dsctl`, at most two minutes.
pub async fn run(endpoints: &str, arguments: &[&str]) -> Run {
    run_command(command(endpoints, arguments)).await
}

/// Runs a prepared command.
pub async fn run_command(mut command: Command) -> Run {
    let arguments: Vec<String> =
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
    let shown = arguments.join(" ");
    let output = spawn_blocking(move || command.output());
    let output = tokio::time::timeout(Duration::from_secs(120), output)
        .await
        .unwrap_or_else(|_| panic!("`dsctl {shown}` still runs after two minutes"))
        .expect("the blocking task ends")
        .expect("dsctl can be started");
    Run::new(&arguments, &output)
}

/// A `dsctl` in the background, killed if the test ends early.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    /// Starts it; what it prints is lost.
    pub fn start(endpoints: &str, arguments: &[&str]) -> Self {
        let mut command = command(endpoints, arguments);
        let started = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(started.expect("dsctl can be started"))
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end, at most a minute, and gives the exit code as a shell shows it.
    pub async fn code(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                return shell_code(status);
            }
            assert!(Instant::now() < deadline, "dsctl still runs after a minute");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // One that has ended already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
