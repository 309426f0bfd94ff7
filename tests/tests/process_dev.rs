//! `dsd dev`: a cluster in one process, from its banner to its end.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use dsync_tests::process::ports::Ports;
use dsync_tests::process::{binaries, dsctl};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Kills what a failed test leaves behind.
struct Running(Option<Child>);

impl Running {
    fn end(mut self, signal: Signal) -> Output {
        let child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // One that has ended already is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn dev(ports: &str, temporary: &Path, more: &[&str]) -> Command {
    let ports: Vec<&str> = ports.split(' ').collect();
    let [locks, queues, caches] = ports[..] else { panic!("three sets of ports: {ports:?}") };
    let mut command = Command::new(binaries::dsd());
    command
        .args(["dev", "--ports", locks, "--queue-ports", queues, "--cache-ports", caches])
        .args(more)
        .env_clear()
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(temporary.join("log")).unwrap());
    command
}

/// Starts it and reads its banner of six lines.
fn start(ports: &str, temporary: &Path, more: &[&str]) -> (Running, Vec<String>) {
    let mut child = dev(ports, temporary, more).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(Some(child));
    let banner: Vec<String> = lines.take(6).map(Result::unwrap).collect();
    assert_eq!(banner.len(), 6, "{}", fs::read_to_string(temporary.join("log")).unwrap());
    (running, banner)
}

fn ports() -> (Ports, String, String) {
    let mut claimed = Ports::claim();
    let mut three =
        || [claimed.take(), claimed.take(), claimed.take()].map(|port| port.to_string());
    let (locks, queues, caches) = (three(), three(), three());
    let first = format!("127.0.0.1:{}", locks[0]);
    (claimed, format!("{} {} {}", locks.join(","), queues.join(","), caches.join(",")), first)
}

/// Names in the folder beside the log.
fn left(temporary: &Path) -> Vec<String> {
    let names = fs::read_dir(temporary).unwrap().map(|e| e.unwrap().file_name());
    names.map(|n| n.into_string().unwrap()).filter(|n| n != "log").collect()
}

#[tokio::test]
async fn the_banner_is_true_and_nothing_is_left_after_ctrl_c() {
    let temporary = TempDir::new().unwrap();
    let (_claimed, ports, first) = ports();
    let (running, banner) = start(&ports, temporary.path(), &[]);
    assert!(banner[0].starts_with("3 lock nodes (ports "), "{banner:?}");
    assert!(banner[0].contains(", 3 queue nodes (ports "), "{banner:?}");
    assert!(banner[0].contains(" and 3 cache nodes (ports "), "{banner:?}");
    assert!(banner[0].ends_with("removed at the end."), "{banner:?}");
    let mut said = Vec::new();
    for advice in &banner[2..5] {
        let advice = advice.split("dsctl ").nth(1).unwrap();
        let mut words: Vec<&str> = advice.split(' ').collect();
        words.extend(["--timeout", "30s", "-o", "name"]);
        said.push(dsctl::run("", &words).await.expect(0).stdout.trim().to_owned());
    }
    assert_eq!((said[0].as_str(), said[2].as_str()), ("my-lock", "my-key"));
    let get = ["cache", "get", "my-key", "-o", "plain"];
    assert!(dsctl::run(&first, &get).await.expect(0).stdout.contains("hello"));
    let pop = ["queue", "pop", "my-queue", "--ack", "-o", "plain"];
    let popped = dsctl::run(&first, &pop).await;
    assert!(popped.expect(0).stdout.contains(&said[1]), "{} in {}", said[1], popped.stdout);
    let peers = dsctl::run(&first, &["raft", "peers", "-o", "name"]).await;
    assert_eq!(peers.expect(0).stdout.lines().count(), 9, "of all Rafts");
    assert_eq!(left(temporary.path()).len(), 1);

    let output = running.end(Signal::INT);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_data_directory_keeps_the_locks() {
    let temporary = TempDir::new().unwrap();
    let (_claimed, ports, first) = ports();
    let data = temporary.path().join("kept");
    let more = ["--data-dir", data.to_str().unwrap()];
    let (running, banner) = start(&ports, temporary.path(), &more);
    assert!(banner[0].ends_with("kept."), "{banner:?}");
    let acquire = ["lock", "acquire", "kept", "--ttl", "10m", "--timeout", "30s", "-o", "plain"];
    let held = dsctl::run(&first, &acquire).await;
    held.expect(0);
    assert_eq!(running.end(Signal::TERM).status.code(), Some(0));

    let (running, _) = start(&ports, temporary.path(), &more);
    let list = dsctl::run(&first, &["lock", "list", "--timeout", "30s", "-o", "name"]).await;
    assert_eq!(list.expect(0).stdout.trim(), "kept");
    assert_eq!(running.end(Signal::INT).status.code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let temporary = TempDir::new().unwrap();
    let (_claimed, ports, first) = ports();
    let _taken = std::net::TcpListener::bind(&first).unwrap();
    let status = dev(&ports, temporary.path(), &[]).status().unwrap();
    assert_eq!(status.code(), Some(69));
    let log = fs::read_to_string(temporary.path().join("log")).unwrap();
    assert!(log.contains(&first) && log.contains("dsd dev --ports"), "{log}");
    assert_eq!(left(temporary.path()), Vec::<String>::new());
}
