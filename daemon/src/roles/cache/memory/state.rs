//! The memory's machine as the engine drives it.

use std::io;

use dsync_core::cache::command::{Command, Done};
use dsync_core::cache::machine::{Batch, MemoryMachine};
use dsync_core::cache::snapshot::Snapshot;
use dsync_core::lock::At;
use tokio::sync::watch;

use crate::raft::Machine;
use crate::roles::proposer::Batched;
use crate::telemetry::Metrics;

/// The replicated memory and what of it lives only in this process.
#[derive(Debug)]
pub struct MemoryState {
    pub(super) machine: MemoryMachine,
    /// Cluster time of the earliest thing that an empty entry would do.
    deadline: watch::Sender<Option<u64>>,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryState {
    /// Nothing in it.
    pub fn new() -> Self {
        Self { machine: MemoryMachine::new(), deadline: watch::Sender::new(None) }
    }

    /// The machine.
    pub fn machine(&self) -> &MemoryMachine {
        &self.machine
    }

    fn tell_deadline(&self) {
        let deadline = self.machine.next_deadline();
        self.deadline.send_if_modified(|known| std::mem::replace(known, deadline) != deadline);
    }

    fn replace(&mut self, machine: MemoryMachine) {
        self.machine = machine;
        self.tell_deadline();
    }
}

fn read_snapshot(bytes: &[u8]) -> io::Result<Snapshot> {
    postcard::from_bytes(bytes).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("cache snapshot: {error}"))
    })
}

impl Machine for MemoryState {
    type Command = Batch;
    type Response = Vec<Done>;

    fn apply(&mut self, at: At, batch: Batch) -> Vec<Done> {
        let done = self.machine.apply(at, &batch);
        self.tell_deadline();
        done
    }

    fn snapshot(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(&self.machine.snapshot_ref()).map_err(io::Error::other)
    }

    fn restore(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        self.replace(MemoryMachine::restore(read_snapshot(bytes)?).map_err(io::Error::other)?);
        Ok(())
    }

    fn restore_backup(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        let backup = read_snapshot(bytes)?;
        self.replace(self.machine.restore_backup(backup).map_err(io::Error::other)?);
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.machine.now_ms()
    }
}

impl Batched for MemoryState {
    type Item = Command;
    type Outcome = Done;
    /// The bytes that there may be; 0: no limit.
    type Settings = u64;

    fn size(command: &Command) -> usize {
        command.size()
    }

    fn entry(commands: Vec<Command>, limit: &u64) -> Batch {
        Batch { commands, limit: *limit }
    }

    fn outcomes(done: Vec<Done>, _: &Metrics) -> Vec<Done> {
        done
    }

    fn deadlines(&self) -> watch::Receiver<Option<u64>> {
        self.deadline.subscribe()
    }
}

/// The log entry of a probe: it changes nothing.
pub fn noop(limit: u64) -> Batch {
    Batch { commands: Vec::new(), limit }
}
