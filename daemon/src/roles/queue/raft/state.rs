//! The queue machine as the engine drives it.

use std::io;

use dsync_core::lock::At;
use dsync_core::queue::{Applied, Batch, Outcome, QueueMachine, Request, Snapshot};
use tokio::sync::watch;

use crate::raft::Machine;
use crate::roles::proposer::Batched;
use crate::roles::queue::waiting::Waiting;
use crate::telemetry::Metrics;

/// The replicated queues and what of them lives only in this process.
#[derive(Debug)]
pub struct QueueState {
    pub(super) machine: QueueMachine,
    pub(super) waiting: Waiting,
    /// Cluster time of the earliest thing that an empty entry would do.
    deadline: watch::Sender<Option<u64>>,
}

impl Default for QueueState {
    fn default() -> Self {
        Self::new()
    }
}

impl QueueState {
    /// No queues.
    pub fn new() -> Self {
        Self {
            machine: QueueMachine::new(),
            waiting: Waiting::default(),
            deadline: watch::Sender::new(None),
        }
    }

    fn tell_deadline(&self) {
        let deadline = self.machine.next_deadline();
        self.deadline.send_if_modified(|known| {
            let changed = *known != deadline;
            *known = deadline;
            changed
        });
    }

    fn replace(&mut self, machine: QueueMachine) {
        self.machine = machine;
        self.tell_deadline();
        self.waiting.wake_all();
    }
}

fn read_snapshot(bytes: &[u8]) -> io::Result<Snapshot> {
    postcard::from_bytes(bytes).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("queue snapshot: {error}"))
    })
}

impl Machine for QueueState {
    type Command = Batch;
    type Response = Applied;

    fn apply(&mut self, at: At, batch: Batch) -> Applied {
        let applied = self.machine.apply(at, &batch);
        for queue in &applied.woken {
            self.waiting.wake(queue, self.machine.ready(queue));
        }
        self.tell_deadline();
        applied
    }

    fn snapshot(&self) -> io::Result<Vec<u8>> {
        postcard::to_stdvec(&self.machine.snapshot_ref()).map_err(io::Error::other)
    }

    fn restore(&mut self, _: u64, bytes: &[u8]) -> io::Result<()> {
        self.replace(QueueMachine::restore(read_snapshot(bytes)?).map_err(io::Error::other)?);
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

impl Batched for QueueState {
    type Item = Request;
    type Outcome = Outcome;
    type Settings = ();

    fn size(request: &Request) -> usize {
        request.command.size() + request.queue.as_str().len()
    }

    fn entry(requests: Vec<Request>, (): &()) -> Batch {
        Batch { requests }
    }

    fn outcomes(applied: Applied, metrics: &Metrics) -> Vec<Outcome> {
        metrics.happened(&applied.happened);
        applied.outcomes
    }

    fn deadlines(&self) -> watch::Receiver<Option<u64>> {
        self.deadline.subscribe()
    }
}
