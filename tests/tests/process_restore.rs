//! `dsctl raft snapshot restore` while others watch and hold.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it measured"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use dsync::Client;
use dsync::api::{LockReply, LockRequest};
use dsync_core::lock::{Event, EventKind, Holding, Outcome};
use dsync_tests::load::holdings::{self, acquire, call, name, request};
use dsync_tests::process::node::shell_code;
use dsync_tests::process::{Cluster, dsctl};
use tokio::time::{Instant, sleep};

/// Long enough that no lease ends during a test.
const TTL_MS: u64 = 3_600_000;

async fn save(cluster: &Cluster) -> PathBuf {
    let file = cluster.folder().join("backup");
    cluster.dsctl(&["raft", "snapshot", "save", file.to_str().unwrap()]).await.expect(0);
    file
}

async fn restore(cluster: &Cluster, file: &Path) {
    let file = file.to_str().unwrap();
    cluster.dsctl(&["raft", "snapshot", "restore", file, "--yes"]).await.expect(0);
}

async fn events(client: &Client, from_index: u64) -> (Vec<Event>, u64, bool) {
    let reply = call(client, LockRequest::Events { from_index, wait_ms: 5_000 }).await;
    let LockReply::Events { items, next_index, gap } = reply else { panic!("{reply:?}") };
    (items, next_index, gap)
}

/// A `dsctl` in the background with its output in a file, killed if the test ends early.
struct Background(Child);

impl Background {
    fn start(cluster: &Cluster, output: &Path, arguments: &[&str]) -> Self {
        let file = std::fs::File::create(output).unwrap();
        let mut command = dsctl::command(&cluster.endpoints(), arguments);
        command.stdout(file.try_clone().unwrap()).stderr(Stdio::from(file));
        Self(command.spawn().unwrap())
    }

    async fn code(&mut self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return shell_code(status);
            }
            assert!(Instant::now() < deadline, "it still runs after a minute");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn printed(cluster: &Cluster, output: &Path, what: &str, times: usize) {
    cluster
        .wait_until(&format!("{times} x {what:?} in the output"), async || {
            let text = std::fs::read_to_string(output).unwrap();
            (text.matches(what).count() >= times).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_a_gap_and_then_what_happens_after_a_restore() {
    let mut cluster = Cluster::start(3).await;
    let client = cluster.client("watcher");
    let session = holdings::open(&client, "holder", TTL_MS).await;
    holdings::hold(&client, session, "kept", 1).await;
    let file = save(&cluster).await;
    let output = cluster.folder().join("watch");
    let list = ["lock", "list", "--watch"];
    let _watch = Background::start(&cluster, &output, &list);
    printed(&cluster, &output, "kept-0", 1).await;
    // It knows all there is: nothing but the restore itself can tell it that it missed something.
    let (_, next, _) = events(&client, 0).await;
    restore(&cluster, &file).await;
    let (items, next, gap) = events(&client, next).await;
    assert!(gap, "up to {next} without a gap: {items:?}");
    printed(&cluster, &output, "some events were missed", 1).await;
    printed(&cluster, &output, "kept-0", 2).await;

    let newer = holdings::open(&client, "newer", TTL_MS).await;
    let reply = call(&client, request(newer, 1, acquire("new", "newer", 0))).await;
    assert!(matches!(reply, LockReply::Outcome(Outcome::Granted(_))), "{reply:?}");
    let (items, after, gap) = events(&client, next).await;
    let granted = |event: &Event| matches!(&event.kind, EventKind::Granted { grant, .. } if grant.lock.as_str() == "new");
    assert!(!gap && items.iter().any(granted), "{items:?}");
    printed(&cluster, &output, "new", 1).await;

    // A node that has all of this from its log tells the same.
    restore(&cluster, &file).await;
    let leader = cluster.wait_for_leader().await;
    cluster.kill_all();
    cluster.spawn_all().await;
    cluster.wait_for_leader().await;
    let (items, _, gap) = events(&cluster.client("after"), after).await;
    assert!(gap, "after a restart, {leader:?} led before: {items:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_the_backup_learns_that_a_later_grant_is_gone() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client("holder");
    let session = holdings::open(&client, "holder", TTL_MS).await;
    let early = call(&client, request(session, 1, acquire("early", "holder", 0))).await;
    let LockReply::Outcome(Outcome::Granted(early)) = early else { panic!("{early:?}") };
    let file = save(&cluster).await;
    let late = call(&client, request(session, 2, acquire("late", "holder", 0))).await;
    let LockReply::Outcome(Outcome::Granted(late)) = late else { panic!("{late:?}") };
    let holding = |lock: &str, token, wait_ms| LockRequest::Holding {
        lock: name(lock),
        token,
        known: Holding::Held,
        wait_ms,
    };
    let asked = tokio::spawn({
        let (client, ask) = (client.clone(), holding("late", late[0].token, 60_000));
        async move {
            // A poll is at most 5 s long; the restore ends the one that is under way.
            loop {
                let begun = Instant::now();
                let reply = call(&client, ask.clone()).await;
                if reply != LockReply::Holding(Holding::Held) {
                    return (reply, begun.elapsed());
                }
            }
        }
    });
    sleep(Duration::from_millis(300)).await;
    restore(&cluster, &file).await;
    let (reply, took) = asked.await.unwrap();
    println!("the poll that the restore ended took {} ms", took.as_millis());
    assert_eq!(reply, LockReply::Holding(Holding::Gone));
    let kept = call(&client, holding("early", early[0].token, 0)).await;
    assert_eq!(kept, LockReply::Holding(Holding::Held), "what the backup has is held as before");
    let alive = call(&client, LockRequest::KeepAlive { session }).await;
    assert!(matches!(alive, LockReply::KeptAlive { .. }), "{alive:?}");
}

/// Starts `lock run a`; gives it and the file into which its child writes once it runs.
fn run_a(cluster: &Cluster, mark: &str) -> (Background, PathBuf) {
    let (output, started) = (cluster.folder().join(mark), cluster.folder().join("started"));
    let script = "echo \"$DSYNC_LOCK_TOKEN\" > \"$1.new\"; mv \"$1.new\" \"$1\"; exec sleep 300";
    let child = ["sh", "-c", script, "child", started.to_str().unwrap()];
    let options = ["lock", "run", "a", "--ttl", "1h", "--wait", "60s", "--owner", "runner", "--"];
    let run = Background::start(cluster, &output, &[&options[..], &child].concat());
    (run, started)
}

async fn token_in(cluster: &Cluster, started: &Path) -> String {
    let read = async || std::fs::read_to_string(started).ok().map(|text| text.trim().to_owned());
    cluster.wait_until("the child to run", read).await
}

async fn ends_with_80(cluster: &Cluster, mut run: Background, file: &Path, token: &str) {
    restore(cluster, file).await;
    let restored = Instant::now();
    // Its lease is an hour: nothing but the grant itself can have told it.
    assert_eq!(run.code().await, 80);
    println!("`lock run` ended {} ms after the restore", restored.elapsed().as_millis());
    cluster.dsctl(&["lock", "validate", "a", "--token", token]).await.expect(73);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_run_ends_its_child_when_a_restore_forgets_its_session() {
    let cluster = Cluster::start(3).await;
    let file = save(&cluster).await;
    let (run, started) = run_a(&cluster, "run");
    let token = token_in(&cluster, &started).await;
    ends_with_80(&cluster, run, &file, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_run_ends_its_child_when_a_restore_gives_its_lock_back_to_the_one_before() {
    let cluster = Cluster::start(3).await;
    let take = ["lock", "acquire", "a", "--owner", "before", "--ttl", "1h", "-o", "json"];
    let before = cluster.dsctl(&take).await.ok();
    let (run, started) = run_a(&cluster, "run");
    cluster
        .wait_until("the run to wait", async || {
            let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
            (show["waiters"].as_array()?.len() == 1).then_some(())
        })
        .await;
    // The backup has its session and its place in the queue.
    let file = save(&cluster).await;
    cluster.dsctl(&["lock", "release", "a", "--owner", "before"]).await.expect(0);
    let token = token_in(&cluster, &started).await;
    ends_with_80(&cluster, run, &file, &token).await;
    let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
    assert_eq!(show["holders"][0]["token"], before["token"], "{show:#}");
}
