//! `dsctl` while it waits, watches and holds: signals, readers that go away, and rare exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dsync_tests::process::node::{send, shell_code};
use dsync_tests::process::shape::{self, Is};
use dsync_tests::process::{Cluster, Run, dsctl};
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// A `dsctl` in the background, killed if the test ends early.
struct Background(Child);

impl Background {
    fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        let mut command = dsctl::command(&cluster.endpoints(), arguments);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        send(self.0.id(), signal);
    }

    async fn code(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return shell_code(status);
            }
            assert!(Instant::now() < deadline, "`dsctl` still runs");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lines of stdout up to the first one that `last` accepts.
    async fn lines_until(&mut self, last: fn(&str) -> bool) -> Vec<String> {
        let stdout = self.0.stdout.take().unwrap();
        let reading = spawn_blocking(move || {
            let mut reader = BufReader::new(stdout);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                assert!(reader.read_line(&mut line).unwrap() > 0, "the end, after {lines:?}");
                let done = last(&line);
                lines.push(line);
                if done {
                    return lines;
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn acquire(cluster: &Cluster, lock: &str, owner: &str, more: &[&str]) -> String {
    let arguments = [&["lock", "acquire", lock, "--owner", owner, "-o", "json"], more].concat();
    let grant = cluster.dsctl(&arguments).await.ok();
    shape::field(&grant, "/token", Is::Id).as_str().unwrap().to_owned()
}

/// Holders and waiters of a lock.
async fn people(cluster: &Cluster, lock: &str) -> (usize, usize) {
    let run = cluster.dsctl(&["lock", "show", lock, "-o", "json"]).await;
    if run.code == 66 {
        return (0, 0);
    }
    let show = run.ok();
    let count = |what| shape::field(&show, what, Is::List).as_array().map_or(0, Vec::len);
    (count("/holders"), count("/waiters"))
}

async fn until_people(cluster: &Cluster, lock: &str, wanted: (usize, usize)) {
    let what = format!("{wanted:?} holders and waiters of {lock}");
    cluster.wait_until(&what, async || (people(cluster, lock).await == wanted).then_some(())).await;
}

#[tokio::test]
async fn a_signal_withdraws_a_waiting_request() {
    let cluster = Cluster::start(1).await;
    acquire(&cluster, "a", "holder", &["--ttl", "10m"]).await;
    for (signal, code) in
        [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)]
    {
        let mut waiting = Background::start(&cluster, &["lock", "acquire", "a", "--wait", "10m"]);
        until_people(&cluster, "a", (1, 1)).await;
        waiting.signal(signal);
        assert_eq!(waiting.code().await, code);
        until_people(&cluster, "a", (1, 0)).await;
    }
}

#[tokio::test]
async fn keepalive_releases_when_asked_to_end_and_says_when_the_lock_is_lost() {
    let cluster = Cluster::start(1).await;
    let arguments = ["lock", "acquire", "a", "--ttl", "10m", "--keepalive", "-o", "jsonl"];
    let mut holding = Background::start(&cluster, &arguments);
    holding.lines_until(|_| true).await;
    holding.signal(Signal::TERM);
    assert_eq!(holding.code().await, 0);
    assert_eq!(people(&cluster, "a").await, (0, 0));

    let mut holding = Background::start(&cluster, &arguments);
    let line = holding.lines_until(|_| true).await.concat();
    let grant: Value = serde_json::from_str(&line).unwrap();
    let token = grant["token"].as_str().unwrap();
    let force = ["lock", "force-release", "a", "--token", token, "--reason", "a test"];
    cluster.dsctl(&force).await.expect(0);
    assert_eq!(holding.code().await, 80);
}

#[tokio::test]
async fn a_watch_ends_when_nobody_reads_it_on_a_quiet_cluster() {
    let cluster = Cluster::start(1).await;
    acquire(&cluster, "a", "holder", &["--ttl", "10m"]).await;
    for arguments in [&["lock", "list"][..], &["lock", "show", "a"]] {
        let arguments = [arguments, &["--watch", "-o", "jsonl"]].concat();
        let mut watch = Background::start(&cluster, &arguments);
        watch.lines_until(|_| true).await;
        assert_eq!(watch.code().await, 0, "{arguments:?}");
    }
}

#[tokio::test]
async fn a_reader_that_is_gone_before_the_start_is_no_failure() {
    let cluster = Cluster::start(1).await;
    for arguments in [&["lock", "list"][..], &["help", "exit-codes"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = dsctl::command(&cluster.endpoints(), arguments);
        let mut child = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let status = spawn_blocking(move || (child.wait().unwrap(), child.stderr.take().unwrap()));
        let (status, stderr) = status.await.unwrap();
        let said = std::io::read_to_string(stderr).unwrap();
        assert_eq!((shell_code(status), said.as_str()), (0, ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_watch_tells_what_happens_to_its_lock_and_to_no_other() {
    let cluster = Cluster::start(1).await;
    let token = acquire(&cluster, "a", "holder", &["--ttl", "10m"]).await;
    let arguments = ["lock", "show", "a", "--watch", "-o", "jsonl"];
    let mut watch = Background::start(&cluster, &arguments);
    // The first document shows that it watches.
    let stdout = watch.0.stdout.take().unwrap();
    let mut reader = BufReader::new(stdout);
    let (reader, first) = spawn_blocking(move || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (reader, line)
    })
    .await
    .unwrap();
    assert!(first.contains("\"kind\":\"Lock\""), "{first}");
    acquire(&cluster, "b", "other", &["--ttl", "1s"]).await;
    cluster
        .wait_until("the other session to end", async || {
            (people(&cluster, "b").await.0 == 0).then_some(())
        })
        .await;
    cluster.dsctl(&["lock", "release", "a", "--token", &token]).await.expect(0);
    let lines = spawn_blocking(move || {
        let mut lines = reader.lines().map_while(Result::ok);
        let mut seen = Vec::new();
        while !seen.last().is_some_and(|line: &String| line.contains("\"released\"")) {
            seen.push(lines.next().unwrap());
        }
        seen
    });
    let lines = tokio::time::timeout(Duration::from_secs(60), lines).await.unwrap().unwrap();
    assert!(!lines.concat().contains("session-expired"), "{lines:#?}");
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn deadlocks_shows_who_waits_for_whom() {
    let cluster = Cluster::start(1).await;
    acquire(&cluster, "a", "one", &["--ttl", "10m"]).await;
    let waiting = ["lock", "acquire", "a", "--owner", "two", "--wait", "10m"];
    let mut waiting = Background::start(&cluster, &waiting);
    until_people(&cluster, "a", (1, 1)).await;
    let graph = cluster.dsctl(&["lock", "deadlocks", "-o", "json"]).await.ok();
    let row = &graph["items"][0];
    assert_eq!(row["waiter"], "two", "{graph:#}");
    assert_eq!((&row["lock"], &row["holder"]), (&"a".into(), &"one".into()), "{graph:#}");
    waiting.signal(Signal::INT);
    assert_eq!(waiting.code().await, 130);
}

#[tokio::test]
async fn a_grant_that_cannot_be_printed_is_given_back() {
    let cluster = Cluster::start(1).await;
    let full = async |arguments: &[&str]| -> Run {
        let arguments = arguments.to_vec();
        let mut command = dsctl::command(&cluster.endpoints(), &arguments);
        command.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let output = spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
        Run {
            arguments: arguments.join(" "),
            code: shell_code(output.status),
            stdout: String::new(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    };
    let run = full(&["lock", "acquire", "a", "-o", "json"]).await;
    assert!(run.expect(70).stderr.contains("the lock was given back"), "{run}");
    assert_eq!(people(&cluster, "a").await, (0, 0));
    // Under a name of the user's the grant may be known to an earlier run.
    let named = ["lock", "acquire", "a", "--request-id", "ff", "-o", "json"];
    let run = full(&named).await;
    let token = cluster.dsctl(&named).await.ok()["token"].as_str().unwrap().to_owned();
    assert!(run.expect(70).stderr.contains(&format!("token {token}")), "{run}");
}

#[tokio::test]
async fn rare_exit_codes_are_as_promised() {
    let cluster = Cluster::start(1).await;
    let folder = cluster.folder();
    acquire(&cluster, "a", "someone", &["--ttl", "10m"]).await;
    cluster.dsctl(&["lock", "show", "free"]).await.expect(66);
    cluster.dsctl(&["lock", "release", "a"]).await.expect(77);
    cluster.dsctl(&["--env-file", "/nonexistent/x.env", "lock", "list"]).await.expect(78);
    let looped = folder.join("loop");
    std::os::unix::fs::symlink(&looped, &looped).unwrap();
    let run = ["lock", "run", "b", "--", looped.to_str().unwrap()];
    cluster.dsctl(&run).await.expect(125);

    let backup = folder.join("backup");
    let backup = backup.to_str().unwrap();
    cluster.dsctl(&["raft", "snapshot", "save", backup, "-o", "json"]).await.ok();
    let whole = fs::read(backup).unwrap();
    let (noise, short) = (folder.join("noise"), folder.join("short"));
    fs::write(&noise, [7; 3_000]).unwrap();
    fs::write(&short, &whole[..whole.len() - 1]).unwrap();
    for bad in ["/etc/passwd", noise.to_str().unwrap(), short.to_str().unwrap()] {
        let run = cluster.dsctl(&["raft", "snapshot", "restore", bad, "--yes", "-o", "json"]).await;
        let error = &run.expect(65).json()["error"];
        assert_eq!((&error["exit"], &error["outcome"]), (&65.into(), &"none".into()), "{error:#}");
    }
    cluster.dsctl(&["raft", "snapshot", "restore", backup, "--yes"]).await.expect(0);
}

#[tokio::test]
async fn what_does_not_dial_works_wherever_the_cluster_is_said_to_be() {
    let home = tempfile::tempdir().unwrap();
    let run = async |endpoints: &str, arguments: &[&str]| {
        let mut command = dsctl::command(endpoints, arguments);
        command.env("XDG_CONFIG_HOME", home.path());
        dsctl::run_command(command).await
    };
    let env_file = home.path().join("node.env");
    fs::write(&env_file, "NODE_PORT=8001\n").unwrap();
    let add = ["context", "add", "moved", "--node-file", env_file.to_str().unwrap(), "--use"];
    run("", &add).await.expect(0);
    fs::remove_file(&env_file).unwrap();
    run("", &["lock", "list"]).await.expect(78);
    for arguments in [&["context", "list"][..], &["context", "use", "-"], &["version"]] {
        run("", arguments).await.expect(0);
    }
    run("", &["context", "remove", "moved"]).await.expect(0);
    run("garbage", &["version"]).await.expect(0);
    fs::write(home.path().join("dsctl/contexts.json"), "{").unwrap();
    run("", &["version"]).await.expect(0);
    run("", &["help", "exit-codes"]).await.expect(0);
    let refused = run("", &["context", "add", "new", "-e", "127.0.0.1:1"]).await;
    assert!(refused.expect(78).stderr.contains("once it is gone"), "{refused}");
}

#[tokio::test]
async fn an_interrupted_bench_does_not_wait_for_a_cluster_that_says_nothing() {
    let cluster = Cluster::start(1).await;
    let arguments = ["bench", "lock", "-c", "4", "--duration", "10m", "--timeout", "1h"];
    let mut bench = Background::start(&cluster, &arguments);
    cluster
        .wait_until("the measurement to begin", async || {
            let list = cluster.dsctl(&["lock", "list", "--prefix", "bench/", "-o", "name"]).await;
            (!list.stdout.is_empty()).then_some(())
        })
        .await;
    for node in &cluster.nodes {
        node.signal(Signal::STOP);
    }
    bench.signal(Signal::INT);
    bench.code().await;
}

/// A node that takes connections and answers nothing, and how many it took.
fn deaf_node() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    // Ends with the test's process.
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let greeting = b"DSYNC/1 OK id=deaf role=lock cluster=- proto=1..1 ver=0.1.0\r\n";
            stream.write_all(greeting).unwrap();
            kept.push(stream);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, taken)
}

/// Interrupts a `dsctl` that waits for an answer.
async fn interrupted(arguments: &[&str]) -> i32 {
    let (address, taken) = deaf_node();
    let mut command = dsctl::command(&address, arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut waiting = Background(child);
    let deadline = Instant::now() + Duration::from_secs(60);
    while taken.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "`dsctl` dials nobody");
        sleep(Duration::from_millis(20)).await;
    }
    waiting.signal(Signal::INT);
    waiting.code().await
}

#[tokio::test]
async fn an_interrupted_bench_does_not_wait_for_its_sessions_to_open() {
    let arguments = ["bench", "lock", "-c", "4", "--connections", "1", "--timeout", "1h"];
    assert_eq!(interrupted(&arguments).await, 130);
}

#[tokio::test]
async fn an_interrupted_snapshot_leaves_no_file() {
    let target = tempfile::tempdir().unwrap();
    let file = target.path().join("b.snap");
    let arguments = ["raft", "snapshot", "save", file.to_str().unwrap(), "--timeout", "1h"];
    assert_eq!(interrupted(&arguments).await, 130);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}
