//! `dsctl lock run`: the child's exit code, the signals, and what happens when the lock is lost.

use std::path::Path;

use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Command, Lookup, Outcome, Policy, Request};
use dsync_tests::load::holdings;
use dsync_tests::process::node::send;
use dsync_tests::process::{Background, Cluster, Run, dsctl};
use rustix::process::Signal;

async fn lock_run(cluster: &Cluster, options: &[&str], child: &[&str]) -> Run {
    let arguments = [&["lock", "run", "a"], options, &["--"], child].concat();
    cluster.dsctl(&arguments).await
}

#[tokio::test]
async fn the_childs_exit_code_comes_back_and_the_lock_is_free_after() {
    let cluster = Cluster::start(1).await;
    for (child, code) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "exit 255"], 255),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["/nonexistent/program"], 127),
        (vec!["/etc/passwd"], 126),
    ] {
        let run = lock_run(&cluster, &[], &child).await;
        run.expect(code);
        let show = cluster.dsctl(&["lock", "list", "-o", "json"]).await.ok();
        let left = show["items"].as_array().map(Vec::len);
        assert_eq!(left, Some(0), "after {child:?}: {show:#}");
    }
}

#[tokio::test]
async fn the_child_has_its_lock_in_the_environment_and_the_callers_streams() {
    let cluster = Cluster::start(1).await;
    let script = "read line; echo \"got $line\"; echo to-stderr >&2; env | grep ^DSYNC_LOCK_";
    let arguments = ["lock", "run", "a", "--ttl", "20s", "--", "sh", "-c", script];
    let mut command = dsctl::command(&cluster.endpoints(), &arguments);
    let input = cluster.folder().join("input");
    std::fs::write(&input, "hello\n").unwrap();
    command.stdin(std::fs::File::open(&input).unwrap());
    let run = dsctl::run_command(command).await;
    run.expect(0);
    assert!(run.stdout.contains("got hello\n") && run.stderr.contains("to-stderr"), "{run}");
    for (name, value) in
        [("NAME", "a"), ("MODE", "exclusive"), ("OWNER", "tester@bench"), ("TTL_MS", "20000")]
    {
        assert!(run.stdout.contains(&format!("DSYNC_LOCK_{name}={value}\n")), "{name} in {run}");
    }
    for name in ["TOKEN", "SESSION"] {
        let line = run.stdout.lines().find_map(|l| l.strip_prefix(&format!("DSYNC_LOCK_{name}=")));
        assert!(line.unwrap().parse::<u64>().unwrap() > 0, "{name} in {run}");
    }
}

#[tokio::test]
async fn not_acquired_in_time_is_75_and_no_leader_is_69() {
    let mut cluster = Cluster::start(3).await;
    cluster
        .dsctl(&["lock", "acquire", "a", "--ttl", "10m", "--owner", "x", "-o", "json"])
        .await
        .ok();
    let marker = cluster.folder().join("ran");
    let touch = ["touch", marker.to_str().unwrap()];
    lock_run(&cluster, &["--no-wait"], &touch).await.expect(75);
    lock_run(&cluster, &["--wait", "300ms"], &touch).await.expect(75);
    cluster.kill_all();
    lock_run(&cluster, &["--timeout", "2s", "--no-wait"], &touch).await.expect(69);
    assert!(!marker.exists(), "the command ran without the lock");
}

#[tokio::test]
async fn two_runs_of_one_lock_never_overlap() {
    let cluster = Cluster::start(3).await;
    let file = cluster.folder().join("counter");
    std::fs::write(&file, "0").unwrap();
    // Read, wait, write: two at once would lose a count.
    let script = "n=$(cat \"$1\"); sleep 0.05; echo $((n + 1)) > \"$1\"";
    let path = file.to_str().unwrap().to_owned();
    let runs = (0..8).map(|_| {
        let child = ["sh", "-c", script, "count", &path].map(ToOwned::to_owned);
        let cluster = &cluster;
        async move {
            let child: Vec<&str> = child.iter().map(String::as_str).collect();
            lock_run(cluster, &["--wait", "60s"], &child).await.expect(0);
        }
    });
    futures::future::join_all(runs).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), "8");
}

fn background(cluster: &Cluster, options: &[&str], child: &[&str]) -> Background {
    let arguments = [&["lock", "run", "a"], options, &["--"], child].concat();
    Background::start(&cluster.endpoints(), &arguments)
}

/// Waits until the child has written its process id there.
async fn child_pid(cluster: &Cluster, file: &Path) -> u32 {
    cluster
        .wait_until("the child to start", async || {
            std::fs::read_to_string(file).ok()?.trim().parse().ok()
        })
        .await
}

fn is_alive(pid: u32) -> bool {
    // A zombie has ended: it only waits to be fetched.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    state.is_some_and(|s| s != 'Z' && s != 'X')
}

const SLEEPER: &str = "echo $$ > \"$1.new\"; mv \"$1.new\" \"$1\"; exec sleep 300";

#[tokio::test]
async fn a_signal_reaches_the_child_and_frees_the_lock() {
    let cluster = Cluster::start(1).await;
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129)] {
        let file = cluster.folder().join(format!("pid-{code}"));
        let child = ["sh", "-c", SLEEPER, "child", file.to_str().unwrap()];
        let mut run = background(&cluster, &[], &child);
        let pid = child_pid(&cluster, &file).await;
        send(run.id(), signal);
        assert_eq!(run.code().await, code);
        assert!(!is_alive(pid), "the child outlived {signal:?}");
        cluster.dsctl(&["lock", "acquire", "a", "--no-wait", "--owner", "x"]).await.expect(0);
        cluster.dsctl(&["lock", "release", "a", "--owner", "x"]).await.expect(0);
    }
}

#[tokio::test]
async fn a_killed_dsctl_takes_its_child_along() {
    let cluster = Cluster::start(1).await;
    let file = cluster.folder().join("pid");
    let child = ["sh", "-c", SLEEPER, "child", file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "3s"], &child);
    let pid = child_pid(&cluster, &file).await;
    send(run.id(), Signal::KILL);
    assert_eq!(run.code().await, 137);
    cluster.wait_until("the child to die", async || (!is_alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn a_paused_holder_loses_the_lock_its_token_and_then_its_child() {
    let cluster = Cluster::start(3).await;
    let file = cluster.folder().join("pid");
    let child = ["sh", "-c", SLEEPER, "child", file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "3s"], &child);
    let pid = child_pid(&cluster, &file).await;
    let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    let old = show["holders"][0]["token"].as_str().unwrap().to_owned();
    send(run.id(), Signal::STOP);
    // The lease runs out and the lock goes on; the paused one's token is worth nothing now.
    let next = ["lock", "acquire", "a", "--owner", "next", "--wait", "60s", "-o", "json"];
    let next = cluster.dsctl(&next).await.ok();
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert!(number(next["token"].as_str().unwrap()) > number(&old));
    cluster.dsctl(&["lock", "validate", "a", "--token", &old]).await.expect(73);
    send(run.id(), Signal::CONT);
    assert_eq!(run.code().await, 80);
    assert!(!is_alive(pid), "the child outlived the lock");
}

#[tokio::test]
async fn without_a_quorum_the_child_is_dead_before_the_lock_can_go_on() {
    let mut cluster = Cluster::start(3).await;
    let file = cluster.folder().join("pid");
    let child = ["sh", "-c", SLEEPER, "child", file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "3s"], &child);
    let pid = child_pid(&cluster, &file).await;
    cluster.kill_all();
    assert_eq!(run.code().await, 80);
    assert!(!is_alive(pid), "the child outlived the lock");
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let next = ["lock", "acquire", "a", "--owner", "next", "--wait", "60s", "-o", "json"];
    cluster.dsctl(&next).await.ok();
}

#[tokio::test]
async fn a_lock_taken_by_force_ends_the_child_before_the_next_grant() {
    let cluster = Cluster::start(3).await;
    let file = cluster.folder().join("pid");
    // The child does not end when asked to.
    let script = format!("trap '' TERM; {}", SLEEPER.replace("exec ", ""));
    let child = ["sh", "-c", &script, "child", file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "1h"], &child);
    let pid = child_pid(&cluster, &file).await;
    let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    let token = show["holders"][0]["token"].as_str().unwrap();
    let force = ["lock", "force-release", "a", "--token", token, "--reason", "a test"];
    cluster.dsctl(&force).await.expect(0);
    let next = ["lock", "acquire", "a", "--owner", "next", "--wait", "60s", "-o", "json"];
    cluster.dsctl(&next).await.ok();
    assert!(!is_alive(pid), "the child outlived the lock");
    assert_eq!(run.code().await, 80);
}

#[tokio::test]
async fn what_the_child_started_does_not_outlive_the_lock_either() {
    let cluster = Cluster::start(1).await;
    let file = cluster.folder().join("pid");
    // The child ends when asked to, what it started does not.
    let deaf = format!("trap '' TERM; {SLEEPER}");
    let script = "sh -c \"$1\" grandchild \"$2\" & wait";
    let child = ["sh", "-c", script, "child", &deaf, file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "1h"], &child);
    let pid = child_pid(&cluster, &file).await;
    let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    let token = show["holders"][0]["token"].as_str().unwrap();
    let force = ["lock", "force-release", "a", "--token", token, "--reason", "a test"];
    cluster.dsctl(&force).await.expect(0);
    assert_eq!(run.code().await, 80);
    cluster.wait_until("the grandchild to die", async || (!is_alive(pid)).then_some(())).await;
}

#[tokio::test]
async fn an_older_request_gets_the_lock_only_after_the_child_is_dead() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client("older");
    let older = holdings::open(&client, "older", 600_000).await;
    let file = cluster.folder().join("pid");
    let script = format!("trap '' TERM; {}", SLEEPER.replace("exec ", ""));
    let child = ["sh", "-c", &script, "child", file.to_str().unwrap()];
    let mut run = background(&cluster, &["--ttl", "1h"], &child);
    let pid = child_pid(&cluster, &file).await;
    let mut ask = holdings::acquire("a", "older", 60_000);
    let Command::Acquire { policy, .. } = &mut ask else { unreachable!("an acquire") };
    *policy = Policy::WoundWait;
    let request = holdings::request(older, 1, ask);
    let LockRequest::Do(Request { key, .. }) = &request else { unreachable!("a command") };
    let wait = LockRequest::Await { key: *key, wait_ms: 5_000 };
    let mut reply = holdings::call(&client, request.clone()).await;
    while !matches!(
        reply,
        LockReply::Outcome(Outcome::Granted(_))
            | LockReply::Lookup(Lookup::Done(Outcome::Granted(_)))
    ) {
        let pending = LockReply::Lookup(Lookup::Pending { position: 1 });
        let queued = matches!(reply, LockReply::Outcome(Outcome::Queued { .. }));
        assert!(queued || reply == pending, "{reply:?}");
        reply = holdings::call(&client, wait.clone()).await;
    }
    assert!(!is_alive(pid), "the child outlived the lock");
    assert_eq!(run.code().await, 81);
}
