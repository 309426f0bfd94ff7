//! `dsctl queue` against real nodes: the documents that scripts read, the exit codes they act on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::Stdio;

use dsync_core::node::Role;
use dsync_tests::process::shape::{self, Is};
use dsync_tests::process::{Cluster, Plan, Run, dsctl};
use serde_json::Value;

async fn start() -> Cluster {
    Cluster::start_plan(Plan { role: Some(Role::Queue), ..Plan::default() }).await
}

/// Runs `dsctl queue … -o json`.
async fn queue(cluster: &Cluster, arguments: &[&str]) -> Run {
    let mut all = vec!["queue"];
    // What follows the dashes is a command's own.
    let end = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
    all.extend(&arguments[..end]);
    all.extend(["-o", "json"]);
    all.extend(&arguments[end..]);
    cluster.dsctl(&all).await
}

/// Runs it with that on stdin.
async fn queue_fed(cluster: &Cluster, arguments: &[&str], input: &[u8]) -> Run {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let all = [&["queue"], arguments, &["-o", "json"]].concat();
    let mut command = dsctl::command(&cluster.endpoints(), &all);
    command.stdin(Stdio::from(file));
    dsctl::run_command(command).await
}

/// The documents of the jobs of a pop or a peek.
fn items(document: &Value) -> Vec<Value> {
    shape::field(document, "/items", Is::List).as_array().unwrap().clone()
}

async fn pop(cluster: &Cluster, name: &str) -> Value {
    items(&queue(cluster, &["pop", name]).await.ok()).remove(0)
}

async fn receipt(cluster: &Cluster, name: &str) -> String {
    pop(cluster, name).await["receipt"].as_str().unwrap().to_owned()
}

async fn refused(cluster: &Cluster, arguments: &[&str], code: i32, text: &str) {
    let run = queue(cluster, arguments).await;
    let document = run.expect(code).json();
    shape::error(&document, code);
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(text), "{arguments:?}: {message}");
}

#[tokio::test]
async fn a_job_is_pushed_taken_and_settled_with_the_promised_fields() {
    let cluster = start().await;
    let pushing = ["push", "mails", "hello", "--id", "a", "--priority", "5", "--header", "lang=en"];
    let pushed = queue(&cluster, &pushing).await.ok();
    let fields =
        [("/queue", Is::Text), ("/id", Is::Text), ("/status", Is::Text), ("/durability", Is::Text)];
    shape::document(&pushed, "", &fields);
    assert_eq!((&pushed["status"], &pushed["durability"]), (&"created".into(), &"quorum".into()));
    let again = queue(&cluster, &pushing).await.ok();
    assert_eq!((&again["status"], &again["state"]), (&"duplicate".into(), &"ready".into()));

    let stats = queue(&cluster, &["stats", "mails"]).await.ok();
    let fields = [
        ("/queue", Is::Text),
        ("/ready", Is::Number),
        ("/delayed", Is::Number),
        ("/leased", Is::Number),
        ("/dead", Is::Number),
        ("/oldest_ms", Is::MsOrNull),
        ("/owner", Is::Text),
        ("/store", Is::Text),
    ];
    shape::document(&stats, "", &fields);
    assert_eq!((&stats["ready"], &stats["store"]), (&1.into(), &"raft".into()));

    let popped = queue(&cluster, &["pop", "mails", "-n", "5", "--lease", "20s"]).await.ok();
    let fields = [
        ("/items/0/id", Is::Text),
        ("/items/0/receipt", Is::Text),
        ("/items/0/payload", Is::Text),
        ("/items/0/priority", Is::Number),
        ("/items/0/attempt", Is::Number),
        ("/items/0/lease_ms", Is::Number),
        ("/items/0/headers", Is::Object),
    ];
    shape::document(&popped, "", &fields);
    let job = &items(&popped)[0];
    assert_eq!((&job["payload"], &job["headers"]["lang"]), (&"hello".into(), &"en".into()));
    assert_eq!((&job["attempt"], &job["lease_ms"]), (&1.into(), &20_000.into()));
    let receipt = job["receipt"].as_str().unwrap();

    queue(&cluster, &["extend", "mails", receipt, "--lease", "1m"]).await.ok();
    let acked = queue(&cluster, &["ack", "mails", receipt]).await.ok();
    assert_eq!(items(&acked)[0]["result"], "done");
    // The same again is harmless; anything else is stale.
    queue(&cluster, &["ack", "mails", receipt]).await.ok();
    refused(&cluster, &["release", "mails", receipt], 73, receipt).await;
    let twice = queue(&cluster, &pushing).await.ok();
    assert_eq!((&twice["status"], &twice["state"]), (&"duplicate".into(), &"done".into()));
    refused(&cluster, &["pop", "mails"], 66, "no job").await;
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_were() {
    let cluster = start().await;
    queue_fed(&cluster, &["push", "q", "-"], &[0, 255, 128]).await.ok();
    let job = pop(&cluster, "q").await;
    assert_eq!((&job["payload_base64"], &job["payload"]), (&"AP+A".into(), &Value::Null));
    let largest = vec![b'x'; 512 * 1024];
    queue_fed(&cluster, &["push", "q"], &largest).await.ok();
    let job = pop(&cluster, "q").await;
    assert_eq!(job["payload"].as_str().map(str::len), Some(largest.len()));
    let larger = queue_fed(&cluster, &["push", "q"], &[&largest[..], b"x"].concat()).await;
    let message = larger.expect(65).json()["error"]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.contains("524289") && message.contains("524288"), "{message}");
}

#[tokio::test]
async fn stale_receipts_are_named_and_the_others_are_done() {
    let cluster = start().await;
    for id in ["a", "b"] {
        queue(&cluster, &["push", "q", "x", "--id", id]).await.ok();
    }
    let popped = items(&queue(&cluster, &["pop", "q", "-n", "2"]).await.ok());
    let good: Vec<_> = popped.iter().map(|job| job["receipt"].as_str().unwrap()).collect();
    refused(&cluster, &["ack", "q", good[0], "a:999", "nope:1", good[1]], 73, "a:999, nope:1")
        .await;
    let stats = queue(&cluster, &["stats", "q"]).await.ok();
    assert_eq!((&stats["leased"], &stats["totals"]["acked"]), (&0.into(), &2.into()));
}

#[tokio::test]
async fn failures_come_back_or_go_to_the_dead_letters() {
    let cluster = start().await;
    queue(&cluster, &["push", "q", "x", "--id", "a", "--max-attempts", "2"]).await.ok();
    let first = receipt(&cluster, "q").await;
    let nack = ["nack", "q", &first, "--delay", "0", "--error", "first"];
    assert_eq!(items(&queue(&cluster, &nack).await.ok())[0]["result"], "done");
    let again = pop(&cluster, "q").await;
    assert_eq!((&again["attempt"], &again["last_error"]), (&2.into(), &"first".into()));
    let second = again["receipt"].as_str().unwrap();
    let nack = ["nack", "q", second, "--error", "second"];
    assert_eq!(items(&queue(&cluster, &nack).await.ok())[0]["result"], "dead");

    let dead = queue(&cluster, &["dlq", "list", "q"]).await.ok();
    let dead = &items(&dead)[0];
    assert_eq!((&dead["id"], &dead["state"]), (&"a".into(), &"dead".into()));
    let shown = queue(&cluster, &["dlq", "show", "q", "a"]).await.ok();
    assert_eq!(shown["errors"], Value::from(vec!["first", "second"]));
    refused(&cluster, &["dlq", "redrive", "q", "nope"], 66, "nope").await;
    let redriven = queue(&cluster, &["dlq", "redrive", "q", "a"]).await.ok();
    assert_eq!(redriven["jobs"], 1);
    refused(&cluster, &["dlq", "show", "q", "a"], 66, "ready").await;

    let third = receipt(&cluster, "q").await;
    queue(&cluster, &["release", "q", &third]).await.ok();
    let fourth = pop(&cluster, "q").await;
    assert_eq!(fourth["attempt"], 1, "a release does not count");
    let fourth = fourth["receipt"].as_str().unwrap();
    queue(&cluster, &["reject", "q", fourth, "--error", "bad"]).await.ok();
    let purged = queue(&cluster, &["dlq", "purge", "q", "--all"]).await.ok();
    assert_eq!(purged["jobs"], 1);
    refused(&cluster, &["peek", "q", "--id", "a"], 66, "no job a").await;
}

#[tokio::test]
async fn queues_are_looked_at_and_steered() {
    let cluster = start().await;
    refused(&cluster, &["show", "nope"], 66, "nope").await;
    refused(&cluster, &["audit", "nope"], 66, "nope").await;
    assert!(items(&queue(&cluster, &["list"]).await.ok()).is_empty());
    queue(&cluster, &["push", "mail/a", "x", "--id", "one"]).await.ok();
    queue(&cluster, &["push", "mail/a", "y", "--id", "two", "--delay", "1h"]).await.ok();
    queue(&cluster, &["push", "other", "z"]).await.ok();
    let listed = items(&queue(&cluster, &["list", "--prefix", "mail/"]).await.ok());
    assert_eq!((listed.len(), &listed[0]["delayed"]), (1, &1.into()));
    let peeked = items(&queue(&cluster, &["peek", "mail/a"]).await.ok());
    assert_eq!((peeked.len(), &peeked[0]["payload"]), (1, &"x".into()));
    let delayed = items(&queue(&cluster, &["peek", "mail/a", "--state", "delayed"]).await.ok());
    assert!(delayed[0]["due_ms"].as_u64().unwrap() > 3_500_000);

    queue(&cluster, &["pause", "mail/a", "--reason", "maintenance"]).await.ok();
    refused(&cluster, &["pop", "mail/a"], 66, "paused: maintenance").await;
    let shown = queue(&cluster, &["show", "mail/a"]).await.ok();
    assert_eq!(shown["paused"], "maintenance");
    let waiting = queue(&cluster, &["pop", "mail/a", "--wait", "60s", "--ack"]);
    let resuming = queue(&cluster, &["resume", "mail/a"]);
    let (waited, resumed) = tokio::join!(waiting, resuming);
    resumed.ok();
    assert_eq!(items(&waited.ok())[0]["id"], "one");

    queue(&cluster, &["limit", "mail/a", "--max-jobs", "1", "--dedup", "5s"]).await.ok();
    refused(&cluster, &["push", "mail/a", "x"], 69, "full: 1 job").await;
    let limits = queue(&cluster, &["limit", "mail/a", "--rate", "7"]).await.ok();
    assert_eq!(
        (&limits["limits"]["max_jobs"], &limits["limits"]["dedup_ms"]),
        (&1.into(), &5_000.into())
    );

    refused(&cluster, &["purge", "mail/a", "--confirm", "mail"], 64, "mail/a").await;
    let purged = queue(&cluster, &["purge", "mail/a", "--confirm", "mail/a"]).await.ok();
    assert_eq!(purged["jobs"], 1);
    let audit = queue(&cluster, &["audit", "mail/a"]).await.ok();
    assert_eq!(audit["verdict"], "healthy");
    let ring = queue(&cluster, &["ring", "--key", "mail/a"]).await.ok();
    assert_eq!(
        (&ring["store"], ring["members"].as_array().map(Vec::len)),
        (&"raft".into(), Some(3))
    );
    shape::document(&ring, "", &[("/owner", Is::Text), ("/partition", Is::Number)]);
    refused(&cluster, &["delete", "mail/a", "--confirm", "mail"], 64, "mail/a").await;
    queue(&cluster, &["delete", "mail/a", "--confirm", "mail/a"]).await.ok();
    refused(&cluster, &["show", "mail/a"], 66, "there is no queue").await;
}

#[tokio::test]
async fn bad_input_is_64_and_names_the_value() {
    let cluster = start().await;
    for (arguments, text) in [
        (&["push", "q", "x", "--priority", "10"][..], "10"),
        (&["push", "q", "x", "--delay", "-1s"], "-1s"),
        (&["push", "q", "x", "--ttl", "0"], "0"),
        (&["push", "q", "x", "--header", "lang"], "lang"),
        (&["push", "q", "x", "--header", "a=1", "--header", "a=2"], "a"),
        (&["push", "", "x"], ""),
        (&["pop", "q", "--lease", "1ms"], "1ms"),
        (&["ack", "q", "order-17"], "order-17"),
        (&["push", "q", "x", "--priority", "-1"], "-1"),
        (&["dlq", "purge", "q"], "no dead letter is named"),
    ] {
        refused(&cluster, arguments, 64, text).await;
    }
    refused(&cluster, &["push", "q", "@/nonexistent"], 66, "/nonexistent").await;
    assert!(items(&queue(&cluster, &["list"]).await.ok()).is_empty(), "nothing was pushed");
}

#[tokio::test]
async fn lines_are_pushed_up_to_the_broken_one() {
    let cluster = start().await;
    let lines = (1..=2_500).map(|at| format!("{{\"payload\":\"job {at}\",\"id\":\"j{at}\"}}\n"));
    let mut lines = lines.collect::<Vec<_>>().concat();
    let all = queue_fed(&cluster, &["push", "q", "--jsonl"], lines.as_bytes()).await.ok();
    assert_eq!((&all["pushed"], &all["created"]), (&2_500.into(), &2_500.into()));
    lines.push_str("\n{\"payload\":\"late\"}\n{\"payload\": \n{\"payload\":\"never\"}\n");
    let broken = queue_fed(&cluster, &["push", "q", "--jsonl"], lines.as_bytes()).await;
    let document = broken.expect(65).json();
    shape::error(&document, 65);
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains("line 2503") && message.contains("2501 jobs"), "{message}");
    let stats = queue(&cluster, &["stats", "q"]).await.ok();
    assert_eq!((&stats["ready"], &stats["totals"]["duplicates"]), (&2_501.into(), &2_500.into()));
    let first = pop(&cluster, "q").await;
    assert_eq!(first["payload"], "job 1", "in order");
}

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let cluster = start().await;
    let lines = concat!(
        "{\"payload\":\"text\",\"id\":\"a\",\"priority\":2,\"headers\":{\"k\":\"v\"},\"max_attempts\":9}\n",
        "{\"payload_base64\":\"AP8=\",\"id\":\"b\"}\n",
        "{\"payload\":\"later\",\"id\":\"c\",\"delay_ms\":3600000}\n",
    );
    queue_fed(&cluster, &["push", "from", "--jsonl"], lines.as_bytes()).await.ok();
    let file = cluster.folder().join("from.jsonl");
    let path = file.to_str().unwrap();
    let exported = queue(&cluster, &["export", "from", path]).await.ok();
    assert_eq!(exported["jobs"], 3);
    let stats = queue(&cluster, &["stats", "from"]).await.ok();
    assert_eq!((&stats["ready"], &stats["delayed"]), (&2.into(), &1.into()), "nothing was taken");
    let imported = queue(&cluster, &["import", "to", path]).await.ok();
    assert_eq!(imported["created"], 3);
    // The same once more is no second job.
    let again = queue(&cluster, &["import", "to", path]).await.ok();
    assert_eq!((&again["created"], &again["duplicates"]), (&0.into(), &3.into()));
    let jobs = items(&queue(&cluster, &["pop", "to", "-n", "10"]).await.ok());
    assert_eq!((&jobs[0]["id"], &jobs[0]["payload"]), (&"a".into(), &"text".into()));
    assert_eq!((&jobs[0]["headers"]["k"], &jobs[0]["max_attempts"]), (&"v".into(), &9.into()));
    assert_eq!((&jobs[1]["id"], &jobs[1]["payload_base64"]), (&"b".into(), &"AP8=".into()));
    let later = items(&queue(&cluster, &["peek", "to", "--state", "delayed"]).await.ok());
    assert!(later[0]["due_ms"].as_u64().unwrap() > 3_500_000);

    queue_fed(&cluster, &["push", "from"], &[b'x'; 5_000]).await.ok();
    let run = queue(&cluster, &["export", "from"]).await;
    run.expect(65);
    assert_eq!(run.stdout.lines().count(), 3, "those that are whole are written: {run}");
}

#[tokio::test]
async fn without_nodes_it_is_69() {
    let mut cluster = start().await;
    cluster.kill_all();
    refused(&cluster, &["push", "q", "x", "--timeout", "2s"], 69, "").await;
    refused(&cluster, &["work", "q", "--timeout", "2s", "--", "true"], 69, "").await;
}

#[tokio::test]
async fn the_bench_measures_and_leaves_nothing() {
    let cluster = start().await;
    let arguments =
        ["bench", "queue", "--clients", "4", "--duration", "1s", "--batch", "5", "-o", "json"];
    let report = cluster.dsctl(&arguments).await.ok();
    let fields = [
        ("/what", Is::Text),
        ("/clients", Is::Number),
        ("/rate", Is::Number),
        ("/p50_ms", Is::Number),
        ("/p99_ms", Is::Number),
        ("/errors", Is::Number),
    ];
    shape::document(&report, "", &fields);
    assert_eq!((&report["what"], &report["errors"]), (&"queue".into(), &0.into()));
    assert!(report["rate"].as_f64().unwrap() > 1.0);
    let missed = cluster.dsctl(&[&arguments[..], &["--slo", "rate=1000000000"]].concat()).await;
    missed.expect(1);
    for stats in items(&queue(&cluster, &["stats"]).await.ok()) {
        assert_eq!((&stats["ready"], &stats["leased"]), (&0.into(), &0.into()), "{stats}");
    }
}
