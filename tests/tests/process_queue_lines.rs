//! `dsctl queue push` that succeeds in part: what was pushed is said, and repeating it adds the rest.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::Stdio;

use dsync_core::node::Role;
use dsync_tests::jobs::wait_for_ring;
use dsync_tests::process::node::shell_code;
use dsync_tests::process::redis::{Redis, RedisPlan};
use dsync_tests::process::redis_sets::replica_of;
use dsync_tests::process::{Cluster, Plan, Run, dsctl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

async fn start() -> Cluster {
    Cluster::start_plan(Plan { size: 1, role: Some(Role::Queue), ..Plan::default() }).await
}

async fn queue(cluster: &Cluster, arguments: &[&str]) -> Run {
    cluster.dsctl(&[&["queue"], arguments, &["-o", "json"]].concat()).await
}

async fn fed(cluster: &Cluster, arguments: &[&str], input: &str) -> Run {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let all = [&["queue"], arguments, &["-o", "json"]].concat();
    let mut command = dsctl::command(&cluster.endpoints(), &all);
    command.stdin(Stdio::from(file));
    dsctl::run_command(command).await
}

async fn ready(cluster: &Cluster) -> u64 {
    queue(cluster, &["stats", "q"]).await.ok()["ready"].as_u64().unwrap()
}

fn error(run: &Run, code: i32) -> Value {
    run.expect(code).json()["error"].clone()
}

fn text<'a>(error: &'a Value, field: &str) -> &'a str {
    error[field].as_str().unwrap()
}

const GOOD: &str = "{\"payload\":\"one\"}\n{\"payload\":\"two\"}\n";

#[tokio::test]
async fn lines_before_a_broken_one_are_done_and_no_second_jobs() {
    let cluster = start().await;
    let broken = fed(&cluster, &["push", "q", "--jsonl"], &format!("{GOOD}oops\n")).await;
    let said = error(&broken, 65);
    assert_eq!((&said["outcome"], &said["pushed"]), (&"done".into(), &2.into()), "{said:#}");
    let id = text(&said, "request_id");
    let hint = format!("repeat with --request-id {id}: the lines before are no second jobs");
    assert!(text(&said, "hint").contains(&hint), "{said:#}");
    let mended = format!("{GOOD}{{\"payload\":\"three\"}}\n");
    let again = fed(&cluster, &["push", "q", "--jsonl", "--request-id", id], &mended).await.ok();
    assert_eq!((&again["created"], &again["duplicates"]), (&1.into(), &2.into()));
    assert_eq!(ready(&cluster).await, 3);

    let first = error(&fed(&cluster, &["push", "q", "--jsonl"], "oops\n").await, 65);
    assert_eq!((&first["outcome"], &first["pushed"]), (&"none".into(), &0.into()), "{first:#}");
    assert_eq!(text(&first, "request_id").len(), 32);
}

#[tokio::test]
async fn lines_before_there_is_no_room_are_done() {
    let cluster = start().await;
    queue(&cluster, &["push", "q", "x", "--id", "x"]).await.ok();
    queue(&cluster, &["limit", "q", "--max-jobs", "1"]).await.ok();
    let none = error(&fed(&cluster, &["push", "q", "--jsonl"], GOOD).await, 69);
    assert!(text(&none, "message").contains("full: 1 job: 2 lines from line 1 on"), "{none:#}");
    assert_eq!((&none["outcome"], &none["pushed"]), (&"none".into(), &0.into()), "{none:#}");
    queue(&cluster, &["limit", "q", "--max-jobs", "2"]).await.ok();
    let some = error(&fed(&cluster, &["push", "q", "--jsonl"], GOOD).await, 69);
    let message = text(&some, "message");
    assert!(message.ends_with("line 2 was refused; 1 job was pushed"), "{message}");
    assert_eq!((&some["outcome"], &some["pushed"]), (&"done".into(), &1.into()), "{some:#}");
    queue(&cluster, &["limit", "q", "--max-jobs", "0"]).await.ok();
    let id = text(&some, "request_id");
    let again = fed(&cluster, &["push", "q", "--jsonl", "--request-id", id], GOOD).await.ok();
    assert_eq!((&again["created"], &again["duplicates"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn the_end_by_a_signal_says_how_many_were_pushed() {
    let cluster = start().await;
    let words = ["queue", "push", "q", "--jsonl", "-o", "json"];
    let mut command = dsctl::command(&cluster.endpoints(), &words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(GOOD.as_bytes()).unwrap();
    cluster
        .wait_until("both jobs", async || {
            let run = queue(&cluster, &["stats", "q"]).await;
            (run.code == 0 && run.json()["ready"] == 2).then_some(())
        })
        .await;
    // The answer to the push may still be on its way: let it come.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await;
    let output = output.unwrap();
    drop(stdin);
    assert_eq!(shell_code(output.status), 130);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = &document["error"];
    assert_eq!((&said["outcome"], &said["pushed"]), (&"done".into(), &2.into()), "{said:#}");
    assert!(text(said, "message").contains("the 2 jobs before it were pushed"), "{said:#}");
}

#[tokio::test]
async fn durability_that_is_not_reached_is_69_and_the_jobs_are_there() {
    let redis = Redis::start(RedisPlan { append_only: true, ..RedisPlan::default() }).await;
    let lines = format!("REDIS_HOST=127.0.0.1\nREDIS_PORT={}\n", redis.port());
    let plan = Plan { size: 1, role: Some(Role::Queue), lines, ..Plan::default() };
    let mut cluster = Cluster::prepare(plan);
    cluster.spawn_all().await;
    wait_for_ring(&cluster, 1).await;
    let replica = Redis::start(replica_of(redis.port())).await;
    // The node sees the replica when it next looks.
    cluster
        .wait_until("a push that a replica has", async || {
            let run = queue(&cluster, &["push", "seen", "x", "--durability", "replica"]).await;
            (run.code == 0).then(|| assert_eq!(run.json()["durability"], "replica"))
        })
        .await;
    replica.stop();
    let one = queue(&cluster, &["push", "q", "x", "--durability", "replica"]).await;
    let document = one.expect(69).json();
    assert_eq!((&document["kind"], &document["status"]), (&"QueuePush".into(), &"created".into()));
    let reached = text(&document, "durability").to_owned();
    let note = format!("--durability replica was not reached, only {reached}");
    assert!(one.stderr.contains(&note), "{one}");
    assert!(one.stderr.contains("it was carried out"), "{one}");
    let words = ["push", "q", "--jsonl", "--durability", "replica"];
    let many = fed(&cluster, &words, GOOD).await;
    assert_eq!(many.expect(69).json()["pushed"], 2);
    assert!(many.stderr.contains("--durability replica was not reached"), "{many}");
    assert_eq!(ready(&cluster).await, 3);
    queue(&cluster, &["push", "q", "x", "--durability", "memory"]).await.ok();
    replica.cont();
    // Under the same name it waits once more.
    let id = one.stderr.split("--request-id ").nth(1).unwrap().split(' ').next().unwrap();
    let words = ["push", "q", "x", "--durability", "replica", "--request-id", id];
    let again = cluster
        .wait_until("the replica to be back", async || {
            let run = queue(&cluster, &words).await;
            (run.code == 0).then(|| run.json())
        })
        .await;
    assert_eq!(again["status"], "duplicate");
}

#[tokio::test]
async fn what_is_not_there_is_66_and_named() {
    let cluster = start().await;
    let none = error(&queue(&cluster, &["peek", "nosuch"]).await, 66);
    assert!(text(&none, "message").contains("no queue nosuch"), "{none:#}");
    for id in ["a", "b"] {
        let push = ["push", "q", "x", "--id", id, "--max-attempts", "1"];
        queue(&cluster, &push).await.ok();
        let popped = queue(&cluster, &["pop", "q"]).await.ok();
        let receipt = popped["items"][0]["receipt"].as_str().unwrap();
        queue(&cluster, &["nack", "q", receipt]).await.ok();
    }
    let dead = queue(&cluster, &["dlq", "list", "q"]).await.ok();
    assert_eq!(dead["items"][0]["cause"], "failed 1 time");
    // A queue that has nothing to show is there.
    queue(&cluster, &["peek", "q"]).await.ok();
    let some = error(&queue(&cluster, &["dlq", "redrive", "q", "a", "j1", "zz"]).await, 66);
    assert_eq!(text(&some, "message"), "q: a was redriven; j1, zz are no dead letters");
    assert_eq!(some["outcome"], "done");
}

#[tokio::test]
async fn each_node_of_the_ring_is_a_document_of_its_own() {
    let cluster = start().await;
    let ring = queue(&cluster, &["ring"]).await.ok();
    assert_eq!(ring["items"], ring["members"]);
    let lines = cluster.dsctl(&["queue", "ring", "-o", "jsonl"]).await;
    let nodes: Vec<Value> =
        lines.expect(0).stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(nodes.len(), 1);
    assert_eq!(
        (&nodes[0]["kind"], &nodes[0]["node"]),
        (&"QueueRingMember".into(), &"node-queue-1".into())
    );
}

#[tokio::test]
async fn a_watch_shows_rates() {
    let cluster = start().await;
    queue(&cluster, &["push", "q", "x"]).await.ok();
    let words = ["queue", "stats", "q", "--watch", "--interval", "200ms", "-o", "json"];
    let mut command = dsctl::command(&cluster.endpoints(), &words);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        use std::io::BufRead as _;
        let lines = std::io::BufReader::new(stdout).lines();
        lines.take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
    });
    let looks: Vec<Value> = reading.await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(looks[0]["pushed_per_s"], Value::Null);
    for look in &looks[1..] {
        assert_eq!((&look["pushed_per_s"], &look["acked_per_s"]), (&0.0.into(), &0.0.into()));
    }
}
