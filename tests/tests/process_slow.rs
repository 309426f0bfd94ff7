//! Callers that do not read, and callers that hardly write, at a real node: it lives, grows little,
//! and serves the others.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use dsync::api::{AdminRequest, Head, LockRequest, NodeRequest};
use dsync_tests::load::holdings::{self, call};
use dsync_tests::process::Cluster;
use dsync_tests::process::stats::Usage;
use dsync_tests::wire::{Raw, request_frame};
use futures::future::join_all;
use tokio::time::{sleep, timeout};

/// What a node may grow by.
const GROWTH_KIB: u64 = 50 * 1024;
const LONG: Duration = Duration::from_secs(120);

/// Replies of about 200 KB each, 2 GB in all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_whose_replies_nobody_reads() {
    let cluster = Cluster::start(1).await;
    let (address, pid) = (cluster.endpoints(), cluster.nodes[0].pid().unwrap());
    let client = cluster.client("good");
    let session = holdings::open(&client, "holder", 3_600_000).await;
    holdings::hold(&client, session, &"x".repeat(200), 500).await;
    let list =
        LockRequest::List { prefix: String::new(), waiting: false, after: None, limit: u32::MAX };
    for _ in 0..20 {
        call(&client, list.clone()).await;
    }
    let before = Usage::of(pid);
    let message = NodeRequest::Lock { head: Head::default(), request: list };
    let message = postcard::to_stdvec(&message).unwrap();
    let mut raw = Raw::greeted(&address).await;
    let flood = tokio::spawn(async move {
        for id in 0..10_000 {
            // The node may hang up in the middle of it.
            if raw.send(&request_frame(id, (60, 0), &message)).await.is_err() {
                break;
            }
        }
        raw
    });
    let cut_off = async {
        let mut most = 0;
        while !cluster.nodes[0].logged().contains("the peer accepted no byte for") {
            most = most.max(Usage::of(pid).resident_kib);
            sleep(Duration::from_millis(20)).await;
        }
        most
    };
    let most = timeout(LONG, cut_off).await.expect("the one who does not read is cut off");
    let grown = most.saturating_sub(before.resident_kib);
    println!("grew by {grown} KiB");
    assert!(grown < GROWTH_KIB, "grew by {grown} KiB");
    drop(timeout(LONG, flood).await.unwrap().unwrap());
    cluster.dsctl(&["lock", "acquire", "a", "-o", "json"]).await.ok();
    cluster.nodes[0].assert_no_panic();
}

/// Sends the bytes one a second; false when the node has hung up.
async fn drip(raw: &mut Raw, bytes: &[u8]) -> bool {
    for byte in bytes {
        if raw.send(&[*byte]).await.is_err() {
            return false;
        }
        sleep(Duration::from_secs(1)).await;
    }
    true
}

/// Greets too slowly for the 2 s that a greeting may take.
async fn greets_slowly(address: String) {
    let mut raw = Raw::silent(&address).await.unwrap();
    drip(&mut raw, b"DSYNC/1 ").await;
    assert_eq!(String::from_utf8_lossy(&raw.until_closed().await), "");
}

/// Asks slowly: that is its own matter, and at last it is answered.
async fn asks_slowly(address: String) {
    let mut raw = Raw::greeted(&address).await;
    let ping = NodeRequest::Admin { head: Head::default(), request: AdminRequest::Ping };
    let frame = request_frame(1, (60, 0), &postcard::to_stdvec(&ping).unwrap());
    // Through the header and into the body.
    assert!(drip(&mut raw, &frame[..10]).await);
    raw.send(&frame[10..]).await.unwrap();
    assert_eq!(timeout(LONG, raw.reply()).await.unwrap().unwrap().request_id, 1);
}

#[tokio::test]
async fn one_byte_per_second() {
    let cluster = Cluster::start(1).await;
    let (address, pid) = (cluster.endpoints(), cluster.nodes[0].pid().unwrap());
    cluster.dsctl(&["lock", "acquire", "before", "-o", "json"]).await.ok();
    let before = Usage::of(pid);
    let greeting = join_all((0..100).map(|_| greets_slowly(address.clone())));
    let asking = join_all((0..100).map(|_| asks_slowly(address.clone())));
    let good = async {
        for i in 0..5 {
            sleep(Duration::from_secs(1)).await;
            let lock = format!("meanwhile-{i}");
            cluster.dsctl(&["lock", "acquire", &lock, "-o", "json"]).await.ok();
        }
    };
    tokio::join!(greeting, asking, good);
    let grown = Usage::of(pid).resident_kib.saturating_sub(before.resident_kib);
    assert!(grown < GROWTH_KIB, "grew by {grown} KiB");
    cluster.dsctl(&["lock", "acquire", "after", "-o", "json"]).await.ok();
    cluster.nodes[0].assert_no_panic();
}
