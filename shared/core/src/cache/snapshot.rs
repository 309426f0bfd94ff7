//! The whole memory in canonical form: equal machines give equal bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::machine::MemoryMachine;
use super::memory::Gate;
use super::op::Key;
use super::records::{Gone, Record, Records};
use super::view::{Member, View};
use crate::fault::{Code, Fault};
use crate::name::Name;

/// Version of the form.
pub const SNAPSHOT_VERSION: u32 = 1;
/// What a restore of a backup adds to the versions: those given after it are never given again.
pub const RESTORE_GAP: u64 = 1_000_000_000;
/// What the run of a memory is called that the nodes keep themselves: it forgets nothing that it
/// acknowledged.
pub const RAFT_RUN: &str = "raft";

/// A snapshot as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    index: u64,
    now_ms: u64,
    limit: u64,
    view: View,
    gate: Gate<u16, Name>,
    records: BTreeMap<Key, Record>,
    gone: BTreeMap<Key, Gone>,
}

/// A snapshot as it is written: nothing is copied.
#[derive(Debug, Serialize)]
pub struct SnapshotRef<'a> {
    version: u32,
    index: u64,
    now_ms: u64,
    limit: u64,
    view: &'a View,
    gate: &'a Gate<u16, Name>,
    records: &'a BTreeMap<Key, Record>,
    gone: &'a BTreeMap<Key, Gone>,
}

impl MemoryMachine {
    /// The state, to be encoded.
    pub fn snapshot_ref(&self) -> SnapshotRef<'_> {
        SnapshotRef {
            version: SNAPSHOT_VERSION,
            index: self.index,
            now_ms: self.now_ms,
            limit: self.limit,
            view: &self.view,
            gate: &self.gate,
            records: &self.records.by_key,
            gone: &self.records.gone,
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
                    "the cache snapshot has version {}, this program knows {SNAPSHOT_VERSION}",
                    snapshot.version
                ),
            ));
        }
        let Snapshot { index, now_ms, limit, view, gate, records, gone, .. } = snapshot;
        let records = Records::rebuild(records, gone);
        Ok(Self { view, gate, records, limit, now_ms, index })
    }

    /// The machine of a backup in place of this one: time goes on, no version is given twice, and no
    /// write is taken until a home of a later epoch takes over, which waits for every lease that may
    /// hold of what was there before.
    ///
    /// # Errors
    /// As of [`restore`](Self::restore).
    pub fn restore_backup(&self, backup: Snapshot) -> Result<Self, Fault> {
        let mut machine = Self::restore(backup)?;
        let (here, there) = (&self.view, &machine.view);
        let known = [&here.members, &here.silent, &there.members, &there.silent];
        let silent: BTreeSet<Member> = known.into_iter().flatten().cloned().collect();
        let view = View {
            epoch: here.epoch.max(there.epoch).saturating_add(1),
            run: RAFT_RUN.to_owned(),
            members: here.members.clone(),
            silent: silent.into_iter().collect(),
        };
        machine.view = view;
        let versions = machine.gate.versions().max(self.gate.versions());
        machine.gate.shut(versions.saturating_add(RESTORE_GAP));
        machine.index = self.index;
        machine.now_ms = machine.now_ms.max(self.now_ms);
        machine.limit = self.limit;
        Ok(machine)
    }
}
