//! The whole state in canonical form: equal machines give equal bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::QueueMachine;
use super::state::Queue;
use crate::fault::{Code, Fault};
use crate::name::Name;

/// Version of the form.
pub const SNAPSHOT_VERSION: u32 = 1;
/// What a restore of a backup adds to the tokens: receipts given after it are never given again.
const RESTORE_GAP: u64 = 1 << 32;

/// A snapshot as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    index: u64,
    now_ms: u64,
    token: u64,
    queues: BTreeMap<Name, Queue>,
}

/// A snapshot as it is written: nothing is copied.
#[derive(Debug, Serialize)]
pub struct SnapshotRef<'a> {
    version: u32,
    index: u64,
    now_ms: u64,
    token: u64,
    queues: &'a BTreeMap<Name, Queue>,
}

impl QueueMachine {
    /// The state, to be encoded.
    pub fn snapshot_ref(&self) -> SnapshotRef<'_> {
        SnapshotRef {
            version: SNAPSHOT_VERSION,
            index: self.index,
            now_ms: self.now_ms,
            token: self.token,
            queues: &self.queues,
        }
    }

    /// The machine that a snapshot was taken of.
    ///
    /// # Errors
    /// `Incompatible`: a version that this program does not know.
    pub fn restore(snapshot: Snapshot) -> Result<Self, Fault> {
        if snapshot.version != SNAPSHOT_VERSION {
            return Err(Fault::new(
                Code::Incompatible,
                format!(
                    "the queue snapshot has version {}, this program knows {SNAPSHOT_VERSION}",
                    snapshot.version
                ),
            ));
        }
        let Snapshot { index, now_ms, token, queues, .. } = snapshot;
        let mut machine = Self { queues, now_ms, index, token, ..Self::default() };
        machine.rebuild();
        Ok(machine)
    }

    /// The machine of a backup in place of this one: time goes on, and no token is given twice.
    ///
    /// # Errors
    /// As of [`restore`](Self::restore).
    pub fn restore_backup(&self, backup: Snapshot) -> Result<Self, Fault> {
        let mut machine = Self::restore(backup)?;
        machine.token = machine.token.max(self.token).saturating_add(RESTORE_GAP);
        machine.index = self.index;
        machine.now_ms = machine.now_ms.max(self.now_ms);
        Ok(machine)
    }
}
