//! A process that appends is killed again and again: what it acknowledged is there.
//!
//! The child is this test itself, started with a folder in its environment.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use dsd::raft::fs::RealFs;
use dsd::raft::log::{LogOptions, LogStore};
use dsd::raft::types::{Entry, EntryPayload, LogId, Proposal, TypeConfig, Vote};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

const FOLDER: &str = "DSYNC_TEST_LOG_FOLDER";
const ROUNDS: u64 = 20;
const OUTSTANDING: usize = 8;

fn open(folder: &Path) -> LogStore {
    let options =
        LogOptions { segment_bytes: 64 << 10, step_bytes: 16 << 10, ..LogOptions::default() };
    LogStore::open(Arc::new(RealFs), folder, options).unwrap()
}

fn entry(index: u64) -> Entry {
    let data = Bytes::from(index.to_le_bytes().repeat(1 + usize::try_from(index % 40).unwrap()));
    let payload = EntryPayload::Normal(Proposal { t_ms: index, nonce: !index, data });
    Entry { log_id: LogId::new_term_index(1, index), payload }
}

/// Appends numbered entries for ever and says which are acknowledged.
async fn append_for_ever(folder: &Path) {
    let mut store = open(folder);
    let last = store.get_log_state().await.unwrap().last_log_id;
    let first = last.map_or(0, |last| last.index() + 1);
    let mut waiting = VecDeque::new();
    let mut out = std::io::stdout().lock();
    for index in first.. {
        let (sender, receiver) = TypeConfig::oneshot();
        store.append([entry(index)], IOFlushed::signal(sender)).await.unwrap();
        waiting.push_back((index, receiver));
        if waiting.len() == OUTSTANDING {
            let (index, receiver) = waiting.pop_front().unwrap();
            receiver.await.unwrap().unwrap();
            writeln!(out, "ack {index}").unwrap();
        }
        if index % 32 == 31 {
            store.save_vote(&Vote::new(index, 1)).await.unwrap();
            writeln!(out, "vote {index}").unwrap();
        }
        if index % 512 == 511 {
            store.purge(LogId::new_term_index(1, index - 300)).await.unwrap();
        }
        out.flush().unwrap();
    }
}

/// Starts a child, kills it after some acknowledgements; the last one and the last vote it spoke of.
fn kill_one(folder: &Path, lines: u64) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["nothing_acknowledged_is_lost_by_kill_9", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let reader = BufReader::new(child.stdout.take().unwrap());
    let (mut acknowledged, mut vote, mut seen) = (0, 0, 0);
    for line in reader.lines() {
        // The very last line may be cut off by the kill; the harness speaks too.
        let line = line.unwrap();
        if let Some(index) = line.strip_prefix("ack ") {
            acknowledged = index.parse().unwrap();
        } else if let Some(index) = line.strip_prefix("vote ") {
            vote = index.parse().unwrap();
        } else {
            continue;
        }
        seen += 1;
        if seen == lines {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    assert!(seen >= lines, "the child ended by itself after {seen} lines");
    (acknowledged, vote)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        append_for_ever(Path::new(&folder)).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (mut highest, mut vote) = (0, 0);
    for round in 0..ROUNDS {
        let (acknowledged, voted) = kill_one(&log, 40 + round * 37 % 211);
        highest = highest.max(acknowledged);
        vote = vote.max(voted);
        let mut store = open(&log);
        let state = store.get_log_state().await.unwrap();
        let (purged, last) = (state.last_purged_log_id, state.last_log_id.unwrap().index());
        assert!(last >= highest, "round {round}: {highest} was acknowledged, {last} is the last");
        let first = purged.map_or(0, |purged| purged.index() + 1);
        let entries = store.try_get_log_entries(..).await.unwrap();
        let expected: Vec<Entry> = (first..=last).map(entry).collect();
        assert!(entries == expected, "round {round}: an entry is not what was appended");
        let kept = store.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id().term);
        assert!(kept >= vote, "round {round}: voted in {vote}, {kept} is kept");
        let watch = store.watch();
        drop(store);
        watch.closed().await;
    }
    assert!(highest > 1_000, "the children hardly did anything: {highest}");
}
