//! `dsctl cache` against real nodes: the documents that scripts read, the exit codes they act on.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use dsync_core::node::Role;
use dsync_tests::cache::nodes::Nodes;
use dsync_tests::process::shape::{self, Is};
use dsync_tests::process::{Cluster, Plan, Run, dsctl};
use serde_json::Value;
use tokio::time::sleep;

/// The lease of these nodes.
const LEASE: Duration = Duration::from_secs(2);

async fn start() -> Nodes {
    Nodes::start(false, false, "").await
}

/// Runs `dsctl cache … -o json` at those endpoints.
async fn at(endpoints: &str, arguments: &[&str]) -> Run {
    dsctl::run(endpoints, &[&["cache"], arguments, &["-o", "json"]].concat()).await
}

/// The same at any node.
async fn cache(nodes: &Nodes, arguments: &[&str]) -> Run {
    at(&nodes.cluster.endpoints(), arguments).await
}

/// The same at one.
async fn cache_at(nodes: &Nodes, node: usize, arguments: &[&str]) -> Run {
    at(&nodes.cluster.nodes[node].listen, arguments).await
}

/// Runs it with that on stdin.
async fn cache_fed(nodes: &Nodes, arguments: &[&str], input: &[u8]) -> Run {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let all = [&["cache"], arguments, &["-o", "json"]].concat();
    let mut command = dsctl::command(&nodes.cluster.endpoints(), &all);
    command.stdin(Stdio::from(file));
    dsctl::run_command(command).await
}

fn items(document: &Value) -> Vec<Value> {
    shape::field(document, "/items", Is::List).as_array().unwrap().clone()
}

/// A version in a document.
fn version(document: &Value) -> String {
    shape::field(document, "/version", Is::Id).as_str().unwrap().to_owned()
}

async fn refused(nodes: &Nodes, arguments: &[&str], code: i32, text: &str) -> Value {
    let run = cache(nodes, arguments).await;
    let document = run.expect(code).json();
    shape::error(&document, code);
    let message = document["error"]["message"].as_str().unwrap();
    assert!(message.contains(text), "{arguments:?}: {message}");
    document
}

#[tokio::test]
async fn a_key_is_set_read_changed_and_deleted_with_the_promised_fields() {
    let nodes = start().await;
    refused(&nodes, &["get", "k"], 66, "no key k").await;
    let set = cache(&nodes, &["set", "k", "one", "--ttl", "1h", "--tag", "t"]).await.ok();
    let fields = [("/key", Is::Text), ("/version", Is::Id), ("/served_by", Is::Text)];
    shape::document(&set, "CacheSet", &fields);
    let first = version(&set);
    let got = cache_at(&nodes, 1, &["get", "k"]).await.ok();
    let fields = [
        ("/key", Is::Text),
        ("/value", Is::Text),
        ("/version", Is::Id),
        ("/state", Is::Text),
        ("/served_by", Is::Text),
        ("/ttl_ms", Is::MsOrNull),
        ("/stale_ms", Is::MsOrNull),
        ("/tags", Is::List),
    ];
    shape::document(&got, "CacheValue", &fields);
    assert_eq!((&got["value"], &got["served_by"]), (&"one".into(), &"node-cache-2".into()));
    assert_eq!((&got["tags"][0], version(&got)), (&"t".into(), first.clone()));
    assert!(got["ttl_ms"].as_u64().unwrap() > 3_500_000, "{got}");
    // The next read is answered from the node's own memory.
    let again = cache_at(&nodes, 1, &["get", "k"]).await.ok();
    let own: [Value; 2] = ["shared".into(), "exclusive".into()];
    assert!(own.contains(&again["state"]), "{again}");

    refused(&nodes, &["set", "k", "x", "--nx"], 73, &format!("version {first}")).await;
    let unmet = refused(&nodes, &["set", "other", "x", "--xx"], 73, "no key other").await;
    assert_eq!(
        (&unmet["error"]["outcome"], &unmet["error"]["retryable"]),
        (&"none".into(), &false.into())
    );
    let set = cache(&nodes, &["set", "k", "two", "--if-version", &first]).await.ok();
    refused(&nodes, &["set", "k", "x", "--if-version", &first], 73, &version(&set)).await;
    let got = cache_at(&nodes, 2, &["get", "k"]).await.ok();
    assert_eq!((&got["value"], &got["ttl_ms"]), (&"two".into(), &Value::Null), "no time to live");
    let plain = nodes.cluster.dsctl(&["cache", "get", "k", "-o", "plain"]).await;
    assert_eq!(plain.expect(0).stdout.trim_end(), "two");

    refused(&nodes, &["del", "k", "--if-version", &first], 73, &version(&set)).await;
    let deleted = cache(&nodes, &["del", "k", "never"]).await.ok();
    let fields = [("/items/0/key", Is::Text), ("/items/0/result", Is::Text)];
    shape::document(&deleted, "CacheDeletionList", &fields);
    let results: Vec<Value> = items(&deleted).iter().map(|one| one["result"].clone()).collect();
    assert_eq!(results, ["deleted", "missing"]);
    refused(&nodes, &["get", "k"], 66, "no key k").await;
}

#[tokio::test]
async fn numbers_are_counted_and_nothing_else() {
    let nodes = start().await;
    let sum = cache(&nodes, &["incr", "n"]).await.ok();
    let fields = [("/number", Is::Text), ("/version", Is::Id), ("/served_by", Is::Text)];
    shape::document(&sum, "CacheSum", &fields);
    assert_eq!(sum["number"], "1");
    let sum = cache_at(&nodes, 1, &["incr", "n", "-5"]).await.ok();
    assert_eq!(sum["number"], "-4");
    assert_eq!(cache_at(&nodes, 2, &["get", "n"]).await.ok()["value"], "-4");
    cache(&nodes, &["set", "text", "abc"]).await.ok();
    refused(&nodes, &["incr", "text"], 65, "no decimal number").await;
    let largest = i64::MAX.to_string();
    cache(&nodes, &["set", "n", &largest]).await.ok();
    refused(&nodes, &["incr", "n"], 65, "64 bits").await;
    assert_eq!(cache(&nodes, &["get", "n"]).await.ok()["value"], largest);
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_were_and_too_many_are_65() {
    let nodes = start().await;
    cache_fed(&nodes, &["set", "k", "-"], &[0, 255, 128]).await.ok();
    let got = cache_at(&nodes, 1, &["get", "k"]).await.ok();
    assert_eq!((&got["value_base64"], &got["value"]), (&"AP+A".into(), &Value::Null));
    let largest = vec![b'x'; 512 * 1024];
    cache_fed(&nodes, &["set", "k"], &largest).await.ok();
    let got = cache_at(&nodes, 2, &["get", "k"]).await.ok();
    assert_eq!(got["value"].as_str().map(str::len), Some(largest.len()));
    let larger = cache_fed(&nodes, &["set", "k"], &[&largest[..], b"x"].concat()).await;
    shape::error(&larger.expect(65).json(), 65);
    refused(&nodes, &["set", "k", "@/nonexistent"], 66, "/nonexistent").await;
}

#[tokio::test]
async fn many_keys_are_set_listed_read_and_invalidated() {
    let nodes = start().await;
    let set = cache(&nodes, &["mset", "u/1=a", "u/2=b=c", "v/1=d", "--tag", "red"]).await.ok();
    shape::document(&set, "CacheSetList", &[("/items/0/version", Is::Id)]);
    assert!(items(&set).iter().all(|one| one["result"] == "set"), "{set}");
    let got = cache_at(&nodes, 1, &["mget", "u/2", "none", "u/1"]).await.ok();
    shape::document(&got, "CacheValueList", &[("/items/0/state", Is::Text)]);
    let values: Vec<Value> = items(&got).iter().map(|one| one["value"].clone()).collect();
    assert_eq!(values, ["b=c".into(), Value::Null, "a".into()]);
    let listed = cache_at(&nodes, 2, &["keys", "--prefix", "u/"]).await.ok();
    let fields =
        [("/items/0/key", Is::Text), ("/items/0/version", Is::Id), ("/items/0/bytes", Is::Number)];
    shape::document(&listed, "CacheKeyList", &fields);
    assert_eq!(items(&listed).len(), 2);
    let tagged = cache(&nodes, &["keys", "--tag", "red", "--limit", "2"]).await.ok();
    assert_eq!(items(&tagged).len(), 2);
    let gone = cache_at(&nodes, 1, &["invalidate", "--prefix", "u/"]).await.ok();
    shape::document(&gone, "CacheInvalidation", &[("/deleted", Is::Number)]);
    assert_eq!(gone["deleted"], 2);
    refused(&nodes, &["get", "u/1"], 66, "u/1").await;
    assert_eq!(cache(&nodes, &["invalidate", "--tag", "red"]).await.ok()["deleted"], 1);
    assert!(items(&cache(&nodes, &["keys"]).await.ok()).is_empty());
}

#[tokio::test]
async fn bad_input_is_64_and_names_the_value() {
    let nodes = start().await;
    cache(&nodes, &["set", "k", "v"]).await.ok();
    let long = "k".repeat(256);
    for (arguments, text) in [
        (&["get", ""][..], ""),
        (&["get", &long], "256"),
        (&["set", "k", "x", "--ttl", "0"], "0"),
        (&["set", "k", "x", "--ttl", "-1s"], "-1s"),
        (&["set", "k", "x", "--nx", "--xx"], "--xx"),
        (&["set", "k", "x", "--if-version", "-1"], "-1"),
        (&["set", "k", "x", "--tag", ""], ""),
        (&["get", "k", "--max-stale", "0"], "0"),
        (&["incr", "k", "much"], "much"),
        (&["mset", "k"], "k"),
        (&["mset", "k=1", "k=2"], "k is given twice"),
        (&["del", "k", "l", "--if-version", "1"], "one key"),
        (&["invalidate", "--prefix", ""], "every key"),
        (&["keys", "--limit", "0"], "0"),
    ] {
        refused(&nodes, arguments, 64, text).await;
    }
    assert_eq!(cache(&nodes, &["get", "k"]).await.ok()["value"], "v", "nothing was changed");
}

#[tokio::test]
async fn a_key_and_the_nodes_are_looked_at() {
    let mut nodes = start().await;
    let set = cache_at(&nodes, 0, &["set", "k", "one"]).await.ok();
    for node in 0..3 {
        cache_at(&nodes, node, &["get", "k"]).await.ok();
    }
    let seen = cache(&nodes, &["inspect", "k"]).await.ok();
    let fields = [
        ("/key", Is::Text),
        ("/version", Is::Id),
        ("/home", Is::Text),
        ("/directory", Is::Text),
        ("/epoch", Is::Id),
        ("/partition", Is::Number),
        ("/lines/0/node", Is::Text),
        ("/lines/0/state", Is::Text),
        ("/lines/0/version", Is::Id),
        ("/lines/0/lease_ms", Is::MsOrNull),
    ];
    shape::document(&seen, "CacheInspection", &fields);
    assert_eq!((version(&seen), &seen["directory"]), (version(&set), &"shared".into()));
    let lines = seen["lines"].as_array().unwrap();
    assert!(lines.len() == 3 && lines.iter().all(|line| line["state"] == "S"), "{seen}");
    // A key that is not there has a home, too.
    let absent = cache(&nodes, &["inspect", "absent"]).await.ok();
    shape::document(&absent, "CacheInspection", &[("/home", Is::Text)]);
    assert_eq!(absent["version"], Value::Null);

    let view = cache(&nodes, &["view"]).await.ok();
    let fields = [
        ("/epoch", Is::Id),
        ("/store", Is::Text),
        ("/serving", Is::Bool),
        ("/silent", Is::List),
        ("/items/0/node", Is::Text),
        ("/items/0/incarnation", Is::Id),
        ("/items/0/partitions", Is::Number),
    ];
    shape::document(&view, "CacheView", &fields);
    let homes: u64 = items(&view).iter().map(|one| one["partitions"].as_u64().unwrap()).sum();
    assert_eq!((items(&view).len(), homes), (3, 1_024));
    let lost = cache(&nodes, &["lost"]).await.ok();
    shape::document(&lost, "CacheLostList", &[("/unreachable", Is::List)]);
    assert!(items(&lost).is_empty(), "{lost}");
    a_dead_node_is_a_row(&mut nodes).await;
}

async fn a_dead_node_is_a_row(nodes: &mut Nodes) {
    let stats = cache(nodes, &["stats"]).await.ok();
    let fields = [
        ("/items/0/node", Is::Text),
        ("/items/0/reachable", Is::Bool),
        ("/items/0/states", Is::Object),
        ("/items/0/entries", Is::Number),
        ("/items/0/hits", Is::Number),
        ("/items/0/partitions", Is::Number),
        ("/items/0/memory/keys", Is::Number),
    ];
    shape::document(&stats, "CacheStatsList", &fields);
    assert_eq!(items(&stats).len(), 3);
    nodes.cluster.node(2).kill();
    let stats = cache(nodes, &["stats"]).await.ok();
    let rows = items(&stats);
    let dead: Vec<_> = rows.iter().filter(|one| one["reachable"] == false).collect();
    assert_eq!((rows.len(), dead.len()), (3, 1), "{stats}");
    assert_eq!((&dead[0]["node"], &dead[0]["entries"]), (&"node-cache-3".into(), &Value::Null));
    assert!(dead[0]["error"].is_string(), "{stats}");
    // There may be more that only the dead one knows of.
    let run = cache(nodes, &["lost"]).await;
    let lost = run.expect(69).json();
    assert_eq!(lost["unreachable"][0]["node"], "node-cache-3", "{lost}");
    // What the dead one had is served by the others.
    nodes.all_serve(2).await;
    assert_eq!(cache(nodes, &["get", "k"]).await.ok()["value"], "one");
}

#[tokio::test]
async fn without_a_memory_only_who_allows_it_gets_an_old_value() {
    let mut nodes = start().await;
    cache_at(&nodes, 0, &["set", "k", "one"]).await.ok();
    cache_at(&nodes, 0, &["get", "k"]).await.ok();
    for other in [1, 2] {
        nodes.cluster.node(other).kill();
    }
    sleep(LEASE + Duration::from_millis(500)).await;
    let run = cache_at(&nodes, 0, &["get", "k", "--timeout", "2s"]).await;
    shape::error(&run.expect(69).json(), 69);
    let read = ["get", "k", "--max-stale", "10m", "--timeout", "4s"];
    let old = cache_at(&nodes, 0, &read).await.ok();
    assert_eq!((&old["value"], &old["state"]), (&"one".into(), &"stale".into()));
    assert!(old["stale_ms"].as_u64().unwrap() < 60_000, "{old}");
    let read = ["get", "k", "--max-stale", "1ms", "--timeout", "2s"];
    cache_at(&nodes, 0, &read).await.expect(69);
    let run = cache_at(&nodes, 0, &["set", "k", "two", "--timeout", "2s"]).await;
    shape::error(&run.expect(69).json(), 69);
    nodes.cluster.kill_all();
    refused(&nodes, &["get", "k", "--timeout", "2s"], 69, "").await;
    refused(&nodes, &["stats", "--timeout", "2s"], 69, "").await;
}

#[tokio::test]
async fn nodes_of_other_roles_hand_requests_on() {
    let nodes = start().await;
    let lines = format!("CLUSTER_ADDRESSES={}\n", nodes.cluster.endpoints());
    for role in [Role::Lock, Role::Queue] {
        let plan = Plan { size: 1, role: Some(role), lines: lines.clone(), ..Plan::default() };
        let others = Cluster::start_plan(plan).await;
        let (through, key) = (others.endpoints(), format!("by-{role}"));
        let set = others
            .wait_until("it to know the cache nodes", async || {
                let run = at(&through, &["set", &key, "x"]).await;
                (run.code == 0).then(|| run.json())
            })
            .await;
        assert!(set["served_by"].as_str().unwrap().starts_with("node-cache-"), "{set}");
        assert_eq!(at(&through, &["get", &key]).await.ok()["value"], "x");
        assert_eq!(cache(&nodes, &["get", &key]).await.ok()["value"], "x");
        at(&through, &["set", &key, "y", "--nx"]).await.expect(73);
        assert_eq!(items(&at(&through, &["view"]).await.ok()).len(), 3);
        assert_eq!(items(&at(&through, &["stats"]).await.ok()).len(), 3);
        let inspected = at(&through, &["inspect", &key]).await.ok();
        assert_eq!(inspected["lines"].as_array().map(Vec::len), Some(3), "{inspected}");
    }
}

#[tokio::test]
async fn the_bench_measures_and_leaves_nothing() {
    let nodes = start().await;
    let arguments = [
        "bench",
        "cache",
        "--clients",
        "4",
        "--duration",
        "1s",
        "--keys",
        "50",
        "--reads",
        "80",
        "-o",
        "json",
    ];
    let report = nodes.cluster.dsctl(&arguments).await.ok();
    let fields = [
        ("/what", Is::Text),
        ("/clients", Is::Number),
        ("/rate", Is::Number),
        ("/p50_ms", Is::Number),
        ("/p99_ms", Is::Number),
        ("/errors", Is::Number),
    ];
    shape::document(&report, "", &fields);
    assert_eq!((&report["what"], &report["errors"]), (&"cache".into(), &0.into()));
    assert!(report["rate"].as_f64().unwrap() > 1.0);
    let missed =
        nodes.cluster.dsctl(&[&arguments[..], &["--slo", "rate=1000000000"]].concat()).await;
    missed.expect(1);
    assert!(items(&cache(&nodes, &["keys"]).await.ok()).is_empty(), "no key is left");
}
