//! Compares the Raft log with a plain loop of append and fdatasync on the same disk, in one run.
//!
//! `cargo run --release -p dsd --example log_bench -- [FOLDER] [SLICES]`

#![expect(clippy::print_stdout, reason = "prints its result")]

use std::collections::VecDeque;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dsd::raft::fs::RealFs;
use dsd::raft::log::{LogOptions, LogStore};
use dsd::raft::types::{Entry, EntryPayload, LogId, Proposal, TypeConfig};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use tokio::time::Instant;

type Failure = Box<dyn Error + Send + Sync>;

/// Bytes of one command.
const SIZE: usize = 128;

/// How long each has its turn.
const SLICE: Duration = Duration::from_millis(100);

/// What the plain loop writes for one command: about what the log does.
const RECORD: usize = SIZE + 24;

/// A count and the time it took.
#[derive(Default)]
struct Tally {
    count: u32,
    took: Duration,
}

impl Tally {
    fn rate(&self) -> f64 {
        f64::from(self.count) / self.took.as_secs_f64()
    }
}

/// The plain loop: batches of records, each batch written and synced, over a file of zeros.
struct Plain {
    file: File,
    bytes: Vec<u8>,
    batch: u32,
    offset: u64,
    tally: Tally,
}

impl Plain {
    const SPACE: u64 = 64 << 20;

    fn new(path: &Path, batch: usize) -> Result<Self, Failure> {
        let file = File::create(path)?;
        let chunk = vec![0; 1 << 20];
        for start in (0..Self::SPACE).step_by(chunk.len()) {
            file.write_all_at(&chunk, start)?;
        }
        file.sync_all()?;
        let bytes = vec![7; RECORD * batch];
        Ok(Self { file, bytes, batch: u32::try_from(batch)?, offset: 0, tally: Tally::default() })
    }

    fn run(&mut self, time: Duration) -> Result<(), Failure> {
        let length = u64::try_from(self.bytes.len())?;
        let began = Instant::now();
        while began.elapsed() < time {
            if self.offset + length > Self::SPACE {
                self.offset = 0;
            }
            self.file.write_all_at(&self.bytes, self.offset)?;
            self.file.sync_data()?;
            self.offset += length;
            self.tally.count += self.batch;
        }
        self.tally.took += began.elapsed();
        Ok(())
    }
}

/// The log: appends of one command each, so many of them unanswered at any time.
struct Log {
    store: LogStore,
    outstanding: usize,
    index: u64,
    data: Bytes,
    tally: Tally,
}

impl Log {
    fn new(folder: &Path, outstanding: usize) -> Result<Self, Failure> {
        let store = LogStore::open(Arc::new(RealFs), folder, LogOptions::default())?;
        let data = Bytes::from(vec![7; SIZE]);
        Ok(Self { store, outstanding, index: 0, data, tally: Tally::default() })
    }

    async fn run(&mut self, time: Duration) -> Result<(), Failure> {
        let mut waiting = VecDeque::new();
        let began = Instant::now();
        while began.elapsed() < time {
            while waiting.len() < self.outstanding {
                let (sender, receiver) = TypeConfig::oneshot();
                self.store.append([self.entry()], IOFlushed::signal(sender)).await?;
                waiting.push_back(receiver);
                self.index += 1;
            }
            // One answer, and those that came with it.
            if let Some(receiver) = waiting.pop_front() {
                receiver.await??;
                self.tally.count += 1;
            }
            while waiting.front_mut().is_some_and(|receiver| receiver.try_recv().is_ok()) {
                waiting.pop_front();
                self.tally.count += 1;
            }
        }
        self.tally.took += began.elapsed();
        for receiver in waiting {
            receiver.await??;
        }
        let purge = LogId::new_term_index(1, self.index.saturating_sub(1));
        Ok(self.store.purge(purge).await?)
    }

    fn entry(&self) -> Entry {
        let (t_ms, nonce, data) = (self.index, self.index, self.data.clone());
        let payload = EntryPayload::Normal(Proposal { t_ms, nonce, data });
        Entry { log_id: LogId::new_term_index(1, self.index), payload }
    }
}

/// Both in turn, in short slices, so that a disk whose pace changes treats them alike.
async fn compare(folder: &Path, batch: usize, slices: u32) -> Result<(), Failure> {
    let (path, log) = (folder.join("plain"), folder.join("log"));
    let (mut plain, mut ours) = (Plain::new(&path, batch)?, Log::new(&log, batch)?);
    for _ in 0..slices {
        plain.run(SLICE)?;
        ours.run(SLICE).await?;
    }
    let (base, rate) = (plain.tally.rate(), ours.tally.rate());
    let watch = ours.store.watch();
    let sync = watch.status().sync;
    let per_sync = f64::from(ours.tally.count) / f64::from(u32::try_from(sync.total)?);
    println!(
        "{batch:4} outstanding: plain {base:9.0}/s, log {rate:9.0}/s, ratio {:.2}; \
         {per_sync:.0} per sync, sync p50 {:?}, p99 {:?}",
        rate / base,
        sync.p50,
        sync.p99
    );
    drop(ours);
    watch.closed().await;
    std::fs::remove_dir_all(log)?;
    Ok(std::fs::remove_file(path)?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".to_owned());
    let slices: u32 = arguments.next().map_or(Ok(20), |text| text.parse())?;
    println!("{SIZE} bytes a command; {slices} slices of {SLICE:?} each, in turn");
    for batch in [1, 8, 64, 512] {
        compare(Path::new(&folder), batch, slices).await?;
    }
    Ok(())
}
