//! `dsctl` against a real cluster: the documents that scripts read and the exit codes they act on.

use dsync_tests::process::shape::{self, Is};
use dsync_tests::process::{Cluster, dsctl};
use serde_json::Value;

fn text(document: &Value, path: &str) -> String {
    shape::field(document, path, Is::Text).as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn lock_commands_give_the_promised_fields() {
    let cluster = Cluster::start(3).await;
    let acquire = ["lock", "acquire", "deploy/prod", "--ttl", "30s", "-o", "json"];
    let held = cluster.dsctl(&acquire).await.ok();
    shape::document(
        &held,
        "",
        &[
            ("/name", Is::Text),
            ("/mode", Is::Text),
            ("/owner", Is::Text),
            ("/session", Is::Id),
            ("/token", Is::Id),
            ("/ttl_ms", Is::Number),
            ("/expires_in_ms", Is::Number),
            ("/served_by", Is::Text),
        ],
    );
    assert_eq!((&held["name"], &held["mode"]), (&"deploy/prod".into(), &"exclusive".into()));
    assert_eq!(held["owner"], "tester@bench");
    let token = text(&held, "/token");

    let show = cluster.dsctl(&["lock", "show", "deploy/prod", "-o", "json"]).await.ok();
    shape::document(
        &show,
        "",
        &[
            ("/name", Is::Text),
            ("/mode", Is::Text),
            ("/holders/0/owner", Is::Text),
            ("/holders/0/session", Is::Id),
            ("/holders/0/token", Is::Id),
            ("/holders/0/expires_in_ms", Is::Number),
            ("/holders/0/count", Is::Number),
            ("/waiters", Is::List),
            ("/delayed_until_ms", Is::MsOrNull),
        ],
    );
    assert_eq!(show["holders"][0]["token"], token.as_str());

    let list = cluster.dsctl(&["lock", "list", "-o", "json"]).await.ok();
    shape::document(
        &list,
        "",
        &[
            ("/items/0/name", Is::Text),
            ("/items/0/mode", Is::Text),
            ("/items/0/holders", Is::Number),
            ("/items/0/waiters", Is::Number),
        ],
    );

    let validate = ["lock", "validate", "deploy/prod", "--token", &token, "-o", "json"];
    cluster.dsctl(&validate).await.ok();
    cluster.dsctl(&["lock", "renew", "deploy/prod", "--token", &token, "-o", "json"]).await.ok();
    let release = ["lock", "release", "deploy/prod", "--token", &token, "-o", "json"];
    let released = cluster.dsctl(&release).await.ok();
    shape::document(
        &released,
        "",
        &[("/name", Is::Text), ("/released", Is::Bool), ("/token", Is::Id)],
    );
    assert_eq!(released["released"], true);
    assert_eq!(released["token"], token.as_str());

    // The token holds no more: 73 whether it is shown again or given back again.
    let again = cluster.dsctl(&release).await;
    shape::error(&again.expect(73).json(), 73);
    let stale = cluster.dsctl(&validate).await;
    shape::error(&stale.expect(73).json(), 73);
}

#[tokio::test]
async fn a_held_lock_is_refused_waited_for_and_handed_on() {
    let cluster = Cluster::start(3).await;
    let held = cluster.dsctl(&["lock", "acquire", "a", "--ttl", "60s", "-o", "json"]).await.ok();
    let other = ["lock", "acquire", "a", "--owner", "other", "-o", "json"];
    shape::error(
        &cluster.dsctl(&[&other[..], &["--no-wait"]].concat()).await.expect(75).json(),
        75,
    );
    let late = cluster.dsctl(&[&other[..], &["--wait", "300ms"]].concat()).await;
    shape::error(&late.expect(75).json(), 75);

    let arguments = [&other[..], &["--wait", "60s"]].concat();
    let waiting = cluster.dsctl(&arguments);
    let releasing = async {
        cluster
            .wait_until("a waiter to be queued", async || {
                let show = cluster.dsctl(&["lock", "show", "a", "-o", "json"]).await.ok();
                let waiters = show["waiters"].as_array().map_or(0, Vec::len);
                (waiters == 1).then(|| {
                    shape::document(
                        &show,
                        "",
                        &[
                            ("/waiters/0/owner", Is::Text),
                            ("/waiters/0/mode", Is::Text),
                            ("/waiters/0/position", Is::Number),
                            ("/waiters/0/waiting_ms", Is::Number),
                        ],
                    );
                })
            })
            .await;
        cluster.dsctl(&["lock", "release", "a", "-o", "json"]).await.ok()
    };
    let (granted, released) = tokio::join!(waiting, releasing);
    let granted = granted.ok();
    assert_eq!(released["token"], held["token"]);
    let number = |v: &Value| v["token"].as_str().and_then(|t| t.parse::<u64>().ok());
    assert!(number(&granted) > number(&held), "{granted:#}");

    let token = text(&granted, "/token");
    let force = ["lock", "force-release", "a", "--token", &token, "--reason", "test", "-o", "json"];
    cluster.dsctl(&force).await.ok();
    shape::error(&cluster.dsctl(&force).await.expect(73).json(), 73);
    // A lock-delay runs now: free, and yet not to be had at once.
    let soon = cluster.dsctl(&["lock", "acquire", "a", "--no-wait", "-o", "json"]).await;
    shape::error(&soon.expect(75).json(), 75);
    cluster.dsctl(&["lock", "acquire", "a", "--wait", "30s", "-o", "json"]).await.ok();
}

#[tokio::test]
async fn sharers_permits_and_conversion_work_from_the_shell() {
    let cluster = Cluster::start(3).await;
    let shared = ["lock", "acquire", "r", "--shared", "-o", "json"];
    let one = cluster.dsctl(&[&shared[..], &["--owner", "one"]].concat()).await.ok();
    let two = cluster.dsctl(&[&shared[..], &["--owner", "two"]].concat()).await.ok();
    assert_eq!((&one["mode"], &two["mode"]), (&"shared".into(), &"shared".into()));
    let token = text(&one, "/token");
    let upgrade = ["lock", "convert", "r", "--token", &token, "--to", "exclusive", "-o", "json"];
    cluster.dsctl(&upgrade).await.expect(75);
    cluster.dsctl(&["lock", "release", "r", "--owner", "two"]).await.expect(0);
    cluster.dsctl(&upgrade).await.ok();
    let show = cluster.dsctl(&["lock", "show", "r", "-o", "json"]).await.ok();
    assert_eq!(show["mode"], "exclusive", "{show:#}");

    for owner in ["one", "two"] {
        let take = ["lock", "acquire", "p", "--permits", "1/2", "--owner", owner, "-o", "json"];
        cluster.dsctl(&take).await.ok();
    }
    let third = ["lock", "acquire", "p", "--permits", "1/2", "--owner", "three", "-o", "json"];
    cluster.dsctl(&third).await.expect(75);
}

#[tokio::test]
async fn raft_cluster_and_node_commands_give_the_promised_fields() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.dsctl(&["raft", "leader", "-o", "json"]).await.ok();
    shape::document(
        &leader,
        "",
        &[
            ("/leader/id", Is::Id),
            ("/leader/node", Is::Text),
            ("/leader/address", Is::Text),
            ("/term", Is::Id),
            ("/quorum_ack_age_ms", Is::Number),
        ],
    );
    let peers = cluster.dsctl(&["raft", "peers", "-o", "json"]).await.ok();
    assert_eq!(shape::field(&peers, "/items", Is::List).as_array().map(Vec::len), Some(3));
    shape::document(
        &peers,
        "",
        &[
            ("/items/0/id", Is::Id),
            ("/items/0/node", Is::Text),
            ("/items/0/address", Is::Text),
            ("/items/0/state", Is::Text),
            ("/items/0/term", Is::Id),
            ("/items/0/last_log_index", Is::Id),
            ("/items/0/committed", Is::Id),
            ("/items/0/applied", Is::Id),
            ("/items/0/reachable", Is::Bool),
        ],
    );
    let status = cluster.dsctl(&["cluster", "status", "-o", "json"]).await.ok();
    shape::document(
        &status,
        "",
        &[
            ("/items/0/node", Is::Text),
            ("/items/0/role", Is::Text),
            ("/items/0/address", Is::Text),
            ("/items/0/reachable", Is::Bool),
            ("/items/0/state", Is::Text),
            ("/items/0/version", Is::Text),
            ("/items/0/problems", Is::List),
        ],
    );
    let address = text(&leader, "/leader/address");
    for arguments in [
        vec!["cluster", "topology"],
        vec!["cluster", "wait", "--for", "leader"],
        vec!["cluster", "wait", "--for", "all-up"],
        vec!["cluster", "wait", "--for", "nodes=3"],
        vec!["raft", "status"],
        vec!["raft", "probe"],
        vec!["node", "info", &address],
        vec!["node", "ping", &address],
        vec!["node", "config", &address],
        vec!["node", "version", &address],
        vec!["lock", "deadlocks"],
        vec!["version"],
    ] {
        let run = cluster.dsctl(&[&arguments[..], &["-o", "json"]].concat()).await;
        shape::document(&run.ok(), "", &[]);
    }
}

#[tokio::test]
async fn bench_prints_its_figures_and_leaves_nothing() {
    let cluster = Cluster::start(3).await;
    let bench = ["bench", "lock", "--clients", "4", "--duration", "1s", "-o", "json"];
    let figures = cluster.dsctl(&bench).await.ok();
    shape::document(
        &figures,
        "",
        &[
            ("/what", Is::Text),
            ("/clients", Is::Number),
            ("/rate", Is::Number),
            ("/p50_ms", Is::Number),
            ("/p99_ms", Is::Number),
            ("/errors", Is::Number),
        ],
    );
    assert!(figures["rate"].as_f64() > Some(0.0), "{figures:#}");
    let left = cluster.dsctl(&["lock", "list", "-o", "json"]).await.ok();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{left:#}");
    let missed = cluster.dsctl(&[&bench[..], &["--slo", "rate=1000000000"]].concat()).await;
    missed.expect(1);
}

#[tokio::test]
async fn every_output_format_is_what_it_says() {
    let cluster = Cluster::start(1).await;
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
    cluster.dsctl(&["lock", "acquire", "b", "-o", "json"]).await.ok();
    let list = async |format: &str| {
        cluster.dsctl(&["lock", "list", "-o", format]).await.expect(0).stdout.clone()
    };
    let lines = list("jsonl").await;
    let names: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a document per line"))
        .collect();
    assert_eq!(names.len(), 2, "{lines}");
    assert_eq!(list("name").await, "a\nb\n");
    let table = list("table").await;
    assert!(table.starts_with("NAME") && table.lines().count() == 3, "{table}");
    assert!(!table.contains('\u{1b}'), "no colour when it is not a terminal");
    assert!(list("yaml").await.contains("apiVersion: "), "YAML");
    assert!(list("plain").await.lines().all(|l| l.starts_with(['a', 'b'])), "plain");
}

#[tokio::test]
async fn wrong_use_ends_with_64_before_anything_is_dialed() {
    let long = "x".repeat(256);
    let huge = "x".repeat(100_000);
    for arguments in [
        vec!["lock", "acquire"],
        vec!["lock", "acquire", ""],
        vec!["lock", "acquire", "a\nb"],
        vec!["lock", "acquire", "\u{1b}[31m"],
        vec!["lock", "acquire", &long],
        vec!["lock", "acquire", &huge],
        vec!["lock", "acquire", "a", "--ttl", "0"],
        vec!["lock", "acquire", "a", "--ttl=-1s"],
        vec!["lock", "acquire", "a", "--ttl", "1e18"],
        vec!["lock", "acquire", "a", "--ttl", "NaN"],
        vec!["lock", "acquire", "a", "--permits", "3/2"],
        vec!["lock", "acquire", "a", "--permits", "0/0"],
        vec!["lock", "acquire", "a", "--shared", "--permits", "1/2"],
        vec!["lock", "acquire", "a", "--no-wait", "--wait", "1s"],
        vec!["lock", "release", "a", "--token", "-1"],
        vec!["lock", "release", "a", "--token", "18446744073709551616"],
        vec!["lock", "run", "a"],
        vec!["lock", "nonsense"],
        vec!["nonsense"],
        vec!["raft", "leader", "-o", "nonsense"],
        vec!["raft", "leader", "-e", "127.0.0.1:65536"],
        vec!["cluster", "wait", "--for", "nodes=0"],
    ] {
        // Nobody listens on that port: dialing would end with 69.
        let run = dsctl::run("127.0.0.1:1", &arguments).await;
        run.expect(64);
        let said = run.stderr.len() + run.stdout.len();
        assert!(said < 4_000, "{said} bytes of message for {:.80}", run.arguments);
    }
    for arguments in [vec!["--help"], vec!["help", "exit-codes"], vec!["lock", "run", "--help"]] {
        let run = dsctl::run("", &arguments).await;
        assert!(run.expect(0).stdout.len() > 100, "{run}");
    }
}

#[tokio::test]
async fn without_a_quorum_commands_say_so_and_end_with_69() {
    let mut cluster = Cluster::start(3).await;
    cluster.dsctl(&["lock", "acquire", "a", "--ttl", "1h", "-o", "json"]).await.ok();
    for at in [1, 2] {
        cluster.node(at).kill();
    }
    for arguments in [
        vec!["lock", "acquire", "b"],
        vec!["lock", "show", "a"],
        vec!["lock", "list"],
        vec!["lock", "run", "b", "--wait", "1s", "--", "true"],
    ] {
        let arguments = [&["--timeout", "2s", "-o", "json"], &arguments[..]].concat();
        let run = cluster.dsctl(&arguments).await;
        assert!([69, 75].contains(&run.code), "dsctl {}: {run}", arguments.join(" "));
        if !arguments.contains(&"run") {
            shape::error(&run.json(), run.code);
        }
    }
    // It takes an election timeout until the node that led knows that it does not any more.
    cluster
        .wait_until("`raft leader` to end with 69", async || {
            let run = cluster.dsctl(&["raft", "leader", "--timeout", "2s", "-o", "json"]).await;
            (run.code == 69).then(|| shape::error(&run.json(), 69))
        })
        .await;
    // Rows for the dead, not silence.
    let peers = cluster.dsctl(&["raft", "peers", "--timeout", "2s", "-o", "json"]).await;
    let peers = peers.json();
    let rows = shape::field(&peers, "/items", Is::List).as_array().cloned().unwrap_or_default();
    let down = rows.iter().filter(|row| row["reachable"] == false).count();
    assert_eq!((rows.len(), down), (3, 2), "{peers:#}");
}
