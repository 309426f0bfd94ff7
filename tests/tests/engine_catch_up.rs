//! A node that is so far behind that the log it misses is gone gets a snapshot, and then serves.
//!
//! The nodes run in this process, on loopback and real files: a snapshot every 40 entries instead
//! of every 20 000 is a setting that `dsd` does not offer.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use dsd::raft::EngineOptions;
use dsync::Client;
use dsync::api::{LockReply, LockRequest, RaftStatus};
use dsync_core::lock::{Command, Event, EventKind, Outcome, Token};
use dsync_core::node::Role;
use dsync_tests::load::holdings::{self, acquire, call, name, picture, request};
use dsync_tests::process::local::{Local, wait_until};

/// Entries between two snapshots.
const EVERY: u64 = 40;
/// Long enough that no lease ends during a test.
const TTL_MS: u64 = 3_600_000;

async fn start() -> Local {
    Local::start(Role::Lock, EngineOptions { snapshot_every: EVERY, ..EngineOptions::default() })
        .await
}

async fn events(client: &Client, from_index: u64) -> (Vec<Event>, u64, bool) {
    let reply = call(client, LockRequest::Events { from_index, wait_ms: 2_000 }).await;
    let LockReply::Events { items, next_index, gap } = reply else { panic!("{reply:?}") };
    (items, next_index, gap)
}

/// Far more entries than a snapshot leaves in the log, one after the other.
async fn make_history(client: &Client) {
    let session = holdings::open(client, "history", TTL_MS).await;
    for seq in 1..=3 * EVERY {
        let lock = format!("made-{}", seq % 7);
        let owner = format!("maker-{seq}");
        let reply = call(client, request(session, seq, acquire(&lock, &owner, TTL_MS))).await;
        let taken =
            matches!(reply, LockReply::Outcome(Outcome::Granted(_) | Outcome::Queued { .. }));
        assert!(taken, "{reply:?}");
    }
}

fn purged_past(view: &RaftStatus, index: u64) {
    assert!(view.purged > index, "{} purged up to {}, not {index}", view.node, view.purged);
}

/// What a watcher, the holders and the next ones see of a node that leads after a snapshot.
async fn serves(client: &Client, watched: u64, held: &[holdings::Picture]) {
    assert_eq!(picture(client).await, held, "holders, tokens and waiters");
    let (_, next, gap) = events(client, watched).await;
    assert!(gap, "events up to the snapshot are not known here");
    let session = holdings::open(client, "later", TTL_MS).await;
    let reply = call(client, request(session, 1, acquire("later", "later", 0))).await;
    let LockReply::Outcome(Outcome::Granted(grants)) = reply else { panic!("{reply:?}") };
    let largest = held.iter().flat_map(|(_, held, _)| held).map(|(_, _, t)| *t).max();
    assert!(Some(grants[0].token.0) > largest, "{grants:?} after {largest:?}");
    let (items, _, gap) = events(client, next).await;
    let granted = items.iter().any(|event| {
        matches!(&event.kind, EventKind::Granted { grant, .. } if grant.token == grants[0].token)
    });
    assert!(!gap && granted, "{items:?}");
    let release = Command::Release {
        lock: name("later"),
        token: Some(Token(grants[0].token.0)),
        owner: None,
        all: true,
    };
    call(client, request(session, 2, release)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_gets_a_snapshot_and_then_leads() {
    let mut local = start().await;
    let client = local.client();
    let session = holdings::open(&client, "holders", TTL_MS).await;
    holdings::hold(&client, session, "lock", 20).await;
    let (_, watched, _) = events(&client, 0).await;
    let behind = (local.leader().await + 1) % 3;
    let last = local.status(behind).await.unwrap().last_log_index;
    local.stop(behind).await;
    make_history(&client).await;
    let leader = local.leader().await;
    let view = wait_until("the log to be purged", async || {
        local.status(leader).await.filter(|view| view.purged > last)
    })
    .await;
    let held = picture(&client).await;
    local.run(behind).await;
    let views = local.converge().await;
    assert!(views[behind].snapshot > last, "{:?}", views[behind]);
    // Its log begins behind the snapshot: what it missed did not come entry by entry.
    purged_past(&views[behind], last);
    assert!(views[behind].purged >= view.purged, "{:?}", views[behind]);
    assert_eq!(picture(&client).await, held);
    local.lead(behind).await;
    serves(&client, watched, &held).await;

    // What it has on disk by now is as good.
    local.stop(behind).await;
    local.run(behind).await;
    let held = picture(&client).await;
    local.converge().await;
    local.lead(behind).await;
    serves(&client, watched, &held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_node_gets_a_snapshot_votes_and_leads() {
    let mut local = start().await;
    let client = local.client();
    let (_, watched, _) = events(&client, 0).await;
    make_history(&client).await;
    let leader = local.leader().await;
    let wiped = (leader + 1) % 3;
    let old = local.status(wiped).await.unwrap().id;
    local.stop(wiped).await;
    local.wipe(wiped);
    purged_past(&local.status(leader).await.unwrap(), 1);
    let held = picture(&client).await;
    local.run(wiped).await;
    wait_until("the wiped node to vote again", async || {
        let view = local.status(local.leader().await).await?;
        let clean = view.voters.len() == 3 && view.learners.is_empty() && !view.joint;
        (clean && view.voters.iter().all(|(_, _, id)| *id != old)).then_some(())
    })
    .await;
    let views = local.converge().await;
    purged_past(&views[wiped], 1);
    local.lead(wiped).await;
    serves(&client, watched, &held).await;
}
