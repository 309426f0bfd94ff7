//! What clients saw, and the invariants that every such history keeps.
//!
//! Each checker is named after the invariant it holds (L1-L10 of the lock service). "Unknown" is
//! never taken for a yes: an answer that got lost may or may not have had its effect, and a
//! checker that runs out of time has found a fault.

mod cycles;
mod fence;
mod ghosts;
mod holds;
mod leases;
mod linear;
mod model;
mod op;
mod order;
mod recorder;
#[cfg(test)]
mod sample;
mod tokens;
mod violation;
mod waits;

pub use fence::Fence;
pub use op::{Action, Answer, Edge, Granted, Op, Seen, Want, apart};
pub use recorder::{Asked, Pending, Recorder, SharedHistory};
pub use tokens::rise_in_log_order;
pub use violation::{Report, Violation};

use std::collections::BTreeMap;

use dsync_core::lock::Mode;

/// Microseconds since the history began, on one clock for all clients.
pub type Us = u64;

/// A lease as its client counts it.
#[derive(Debug, Clone, Default)]
pub struct Lease {
    /// The session.
    pub session: u64,
    /// The client.
    pub client: u32,
    /// The lease in force.
    pub ttl: Us,
    /// Every keep-alive (and the opening) that was acknowledged: when sent, when acknowledged.
    pub renewals: Vec<(Us, Us)>,
    /// When the last keep-alive was sent, acknowledged or not.
    pub last_sent: Us,
    /// When the client was told that the session is over.
    pub told_expired: Option<Us>,
    /// When the client died, paused or closed the session: from here it claims nothing.
    pub ended: Option<Us>,
    /// It ended by closing: its locks were free when the close was acknowledged.
    pub closed: Option<Us>,
}

/// A write to a resource that remembers the largest token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// When.
    pub at: Us,
    /// Resource, one per lock name: its number.
    pub resource: u64,
    /// The token shown.
    pub token: u64,
    /// It was let in.
    pub accepted: bool,
}

/// Everything that one run saw.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Requests.
    pub ops: Vec<Op>,
    /// Sessions.
    pub leases: Vec<Lease>,
    /// Writes to guarded resources.
    pub writes: Vec<Write>,
    /// When a fault was in force: waiting is excused meanwhile.
    pub outages: Vec<(Us, Us)>,
    /// How often each fault that the run was to show really happened.
    pub faults: BTreeMap<String, u64>,
    /// What was still held or waited for after all clients were gone and all leases over; `None`:
    /// nobody looked.
    pub remains: Option<Vec<String>>,
    /// Longest delay between a lost lease and the next grant that the cluster is configured for.
    pub lock_delay: Us,
}

/// A grant as its client can be sure of it, from one change of its mode to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The client.
    pub client: u32,
    /// Its session.
    pub session: u64,
    /// Owner label.
    pub owner: String,
    /// The lock.
    pub lock: String,
    /// How.
    pub mode: Mode,
    /// The token.
    pub token: u64,
    /// What gave it was sent.
    pub called: Us,
    /// From here on the client was sure.
    pub from: Us,
    /// Until here it was: it sent the release or conversion, died, or its own deadline passed.
    pub until: Us,
    /// From here on the lock was surely free, if it was released or its session closed.
    pub freed: Option<Us>,
}

impl History {
    /// Holds every invariant against the history.
    ///
    /// # Errors
    /// Every violation found; a run without a grant, or whose faults did not happen, is one too.
    pub fn check(&self) -> Result<Report, Vec<Violation>> {
        let mut found = Vec::new();
        found.extend(self.shows_something());
        found.extend(tokens::check(self));
        found.extend(holds::check(self));
        found.extend(fence::check(self));
        found.extend(waits::check(self));
        found.extend(order::check(self));
        found.extend(ghosts::check(self));
        found.extend(leases::check(self));
        found.extend(cycles::check(self));
        found.extend(linear::check(self));
        if found.is_empty() { Ok(Report::of(self)) } else { Err(found) }
    }

    /// Like [`Self::check`], but ends the test.
    pub fn assert(&self) -> Report {
        self.check().unwrap_or_else(|found| {
            let lines: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
            panic!("{} violations:\n{}", found.len(), lines.join("\n"))
        })
    }

    fn shows_something(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if !self.ops.iter().any(|op| matches!(op.answer, Answer::Granted(_))) {
            found.push(Violation::new("vacuous", "no lock was ever granted".to_owned()));
        }
        for (fault, count) in &self.faults {
            if *count == 0 {
                found.push(Violation::new("vacuous", format!("the fault {fault:?} never fired")));
            }
        }
        found
    }

    /// Total time of outages that overlap `from..until`.
    pub(crate) fn outage_within(&self, from: Us, until: Us) -> Us {
        self.outages.iter().map(|(b, e)| e.min(&until).saturating_sub(*b.max(&from))).sum()
    }
}
