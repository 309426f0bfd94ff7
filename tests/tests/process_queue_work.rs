//! `dsctl queue work` and the client library's consumer: leases that are kept, graceful ends.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dsync::queue::{Consumer, ConsumerOptions, Failure, Job, Producer, QueueError, Status};
use dsync_core::node::Role;
use dsync_tests::process::node::send;
use dsync_tests::process::{Background, Cluster, Plan};
use rustix::process::{Pid, Signal, test_kill_process};
use serde_json::Value;
use tokio::time::sleep;

async fn start() -> Cluster {
    Cluster::start_plan(Plan { role: Some(Role::Queue), ..Plan::default() }).await
}

async fn push(cluster: &Cluster, id: &str, more: &[&str]) {
    let arguments = ["queue", "push", "q", "hello", "--id", id, "-o", "json"];
    cluster.dsctl(&[&arguments, more].concat()).await.ok();
}

async fn stats(cluster: &Cluster) -> Value {
    cluster.dsctl(&["queue", "stats", "q", "-o", "json"]).await.ok()
}

fn background(cluster: &Cluster, options: &[&str], child: &[&str]) -> Background {
    let arguments = [&["queue", "work", "q"], options, &["--"], child].concat();
    Background::start(&cluster.endpoints(), &arguments)
}

/// The process id that a command wrote.
async fn pid_in(cluster: &Cluster, file: &Path) -> Pid {
    cluster
        .wait_until("the command to start", async || {
            let text = std::fs::read_to_string(file).ok()?;
            Pid::from_raw(text.trim().parse().ok()?)
        })
        .await
}

async fn gone(cluster: &Cluster, pid: Pid) {
    let dead = async || test_kill_process(pid).is_err().then_some(());
    cluster.wait_until("the command to die", dead).await;
}

#[tokio::test]
async fn exit_codes_say_what_becomes_of_the_job() {
    let cluster = start().await;
    for (id, code) in [("good", "0"), ("again", "75"), ("bad", "3")] {
        push(&cluster, id, &["--header", &format!("code={code}"), "--max-attempts", "1"]).await;
    }
    let script = "read -r word; echo \"$DSYNC_QUEUE $DSYNC_JOB_ID $DSYNC_ATTEMPT $word\"; \
                  echo \"said by $DSYNC_JOB_ID\" >&2; \
                  exit \"$(echo \"$DSYNC_HEADERS\" | tr -dc 0-9)\"";
    let arguments = ["queue", "work", "q", "--drain", "--", "sh", "-c", script];
    let run = cluster.dsctl(&arguments).await;
    run.expect(0);
    assert!(run.stdout.contains("q good 1 hello\n"), "{run}");
    assert!(run.stderr.contains("said by bad") && run.stderr.contains("1 done"), "{run}");
    for (id, error) in [
        ("again", "exit code 75 (try again later): said by again"),
        ("bad", "exit code 3: said by bad"),
    ] {
        let shown = cluster.dsctl(&["queue", "dlq", "show", "q", id, "-o", "json"]).await.ok();
        assert_eq!(shown["errors"], Value::from(vec![error]));
    }
    let left = stats(&cluster).await;
    assert_eq!((&left["leased"], &left["totals"]["acked"]), (&0.into(), &1.into()));
}

#[tokio::test]
async fn a_command_that_cannot_start_costs_no_attempt() {
    let cluster = start().await;
    push(&cluster, "a", &[]).await;
    cluster.dsctl(&["queue", "work", "q", "--", "/nonexistent"]).await.expect(127);
    let peeked = cluster.dsctl(&["queue", "peek", "q", "-o", "json"]).await.ok();
    assert_eq!(peeked.pointer("/items/0/attempts"), Some(&0.into()));
}

#[tokio::test]
async fn the_lease_is_kept_up_as_long_as_the_command_runs() {
    let cluster = start().await;
    push(&cluster, "a", &[]).await;
    let options = ["--lease", "1s", "--max-jobs", "1", "--", "sleep", "4"];
    cluster.dsctl(&[&["queue", "work", "q"], &options[..]].concat()).await.expect(0);
    let left = stats(&cluster).await;
    let totals = &left["totals"];
    assert_eq!((&totals["delivered"], &totals["expired"]), (&1.into(), &0.into()), "{left:#}");
    assert_eq!(totals["acked"], 1);
}

#[tokio::test]
async fn the_first_signal_lets_commands_end_and_the_second_ends_them() {
    let cluster = start().await;
    for id in ["a", "b"] {
        push(&cluster, id, &[]).await;
    }
    let file = cluster.folder().join("pid");
    let path = file.to_str().unwrap();
    let child = ["sh", "-c", "echo $$ > \"$0\"; sleep 2", path];
    let mut work = background(&cluster, &[], &child);
    pid_in(&cluster, &file).await;
    send(work.id(), Signal::TERM);
    assert_eq!(work.code().await, 0);
    let left = stats(&cluster).await;
    assert_eq!((&left["ready"], &left["totals"]["acked"]), (&1.into(), &1.into()), "{left:#}");

    std::fs::remove_file(&file).unwrap();
    let child = ["sh", "-c", "echo $$ > \"$0\"; sleep 600; true", path];
    let mut work = background(&cluster, &[], &child);
    let pid = pid_in(&cluster, &file).await;
    send(work.id(), Signal::INT);
    sleep(Duration::from_millis(300)).await;
    assert!(test_kill_process(pid).is_ok(), "the first signal ends no command");
    send(work.id(), Signal::INT);
    assert_eq!(work.code().await, 130);
    gone(&cluster, pid).await;
    let peeked = cluster.dsctl(&["queue", "peek", "q", "-o", "json"]).await.ok();
    assert_eq!(peeked.pointer("/items/0/attempts"), Some(&0.into()), "given back, uncounted");
}

#[tokio::test]
async fn a_lost_lease_ends_the_command() {
    let cluster = start().await;
    push(&cluster, "a", &[]).await;
    let file = cluster.folder().join("pid");
    let child =
        ["sh", "-c", "trap '' TERM; echo $$ > \"$0\"; sleep 600; true", file.to_str().unwrap()];
    let mut work = background(&cluster, &["--lease", "2s"], &child);
    let pid = pid_in(&cluster, &file).await;
    cluster.dsctl(&["queue", "purge", "q", "--confirm", "q"]).await.expect(0);
    gone(&cluster, pid).await;
    send(work.id(), Signal::TERM);
    assert_eq!(work.code().await, 0);
}

#[tokio::test]
async fn the_library_pushes_once_and_keeps_what_it_takes() {
    let cluster = start().await;
    let client = cluster.client("library");
    let producer = Producer::new(&client, "q").unwrap();
    let job = Job::new("hello").header("lang", "en");
    assert_eq!(producer.push(&job).await.unwrap().status, Status::Created);
    assert!(matches!(producer.push(&job).await.unwrap().status, Status::Duplicate(_)));
    let large: Vec<_> = (0..8).map(|_| Job::new(vec![7; 400 * 1024])).collect();
    assert_eq!(producer.push_all(&large).await.unwrap().len(), 8);

    let options = ConsumerOptions::new("library").lease(Duration::from_secs(1));
    let consumer = Consumer::new(&client, "q", options).unwrap();
    let kept = consumer.next(Duration::ZERO).await.unwrap().unwrap();
    assert_eq!((kept.payload(), kept.header("lang")), (&b"hello"[..], Some("en")));
    sleep(Duration::from_secs(3)).await;
    assert!(kept.is_valid());
    kept.ack().await.unwrap();

    let dropped = consumer.next(Duration::ZERO).await.unwrap().unwrap();
    let (id, late) = (dropped.id().clone(), dropped.delivered());
    drop(dropped);
    tokio::time::timeout(Duration::from_secs(2), late.lost()).await.unwrap();
    sleep(Duration::from_millis(500)).await;
    let again = consumer.next(Duration::ZERO).await.unwrap().unwrap();
    assert_eq!((again.id(), again.attempt()), (&id, 2), "at the head, and counted");

    cluster.dsctl(&["queue", "purge", "q", "--confirm", "q"]).await.expect(0);
    tokio::time::timeout(Duration::from_secs(5), again.lost()).await.unwrap();
    assert!(matches!(again.ack().await, Err(QueueError::Stale { .. })));
    assert!(consumer.next(Duration::from_millis(300)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_worker_of_the_library_settles_every_job_and_ends_gracefully() {
    let cluster = start().await;
    let client = cluster.client("worker");
    let producer = Producer::new(&client, "q").unwrap();
    for text in ["ack", "retry", "reject", "panic", "slow"] {
        let job = Job::new(text).id(text).unwrap().backoff(Duration::ZERO, Duration::ZERO);
        producer.push(job.max_attempts(2)).await.unwrap();
    }
    let options = ConsumerOptions::new("worker").concurrency(3).lease(Duration::from_secs(2));
    let consumer = Consumer::new(&client, "q", options).unwrap();
    let (stop, calls) = (consumer.clone(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&calls);
    let working = tokio::spawn(async move {
        let handler = move |job: dsync::queue::Delivered| {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                match (job.payload(), job.attempt()) {
                    (b"retry", 1) => Err(Failure::retry_in(Duration::ZERO, "not yet")),
                    (b"reject", _) => Err(Failure::reject("never")),
                    (b"panic", _) => panic!("of the handler"),
                    (b"slow", _) => {
                        sleep(Duration::from_secs(4)).await;
                        Ok(())
                    }
                    _ => Ok(()),
                }
            }
        };
        consumer.run(handler).await
    });
    cluster
        .wait_until("all but the slow one to be settled", async || {
            let now = stats(&cluster).await;
            (now["dead"] == 2 && now["totals"]["acked"] == 2).then_some(())
        })
        .await;
    producer.push(Job::new("ack")).await.unwrap();
    cluster
        .wait_until("a job that came while it waited", async || {
            (stats(&cluster).await["totals"]["acked"] == 3).then_some(())
        })
        .await;
    stop.shutdown();
    working.await.unwrap().unwrap();
    let left = stats(&cluster).await;
    assert_eq!((&left["leased"], &left["totals"]["acked"]), (&0.into(), &4.into()), "{left:#}");
    // ack, ack, retry twice, reject, panic twice, slow: none more than that.
    assert_eq!(calls.load(Ordering::SeqCst), 8);
    let shown = cluster.dsctl(&["queue", "dlq", "show", "q", "panic", "-o", "json"]).await.ok();
    let said = shown.pointer("/errors/0").and_then(Value::as_str).unwrap();
    assert_eq!(said, "the handler panicked: of the handler");
}
