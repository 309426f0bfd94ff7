//! What clients saw, and the invariants that every such history keeps.
//!
//! Each checker is named after the invariant it holds (L1-L10 of the lock service). "Unknown" is
//! never taken for a yes: an answer that got lost may or may not have had its effect, and a
//! checker that runs out of time has found a fault.

mod fence;
mod leases;
mod linear;
mod recorder;
mod tokens;
mod violation;
mod waits;

mod holds;
#[cfg(test)]
mod sample;

pub use fence::Fence;
pub use recorder::{Asked, Pending, Recorder, SharedHistory};
pub use tokens::rise_in_log_order;
pub use violation::{Report, Violation};

use std::collections::BTreeMap;

/// Microseconds since the history began, on one clock for all clients.
pub type Us = u64;

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To hold the lock, alone or shared.
    Acquire {
        /// Alone.
        exclusive: bool,
    },
    /// To give a grant up.
    Release {
        /// Its token.
        token: u64,
    },
    /// To see who holds.
    Get,
}

/// What it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds, under this token.
    Granted(u64),
    /// It does not hold: someone else did at that moment.
    WouldBlock,
    /// It does not hold: it waited in vain, was withdrawn, wounded or refused for another reason.
    NotGranted,
    /// It holds no more.
    Released,
    /// It did not hold when it wanted to release.
    NotHolder,
    /// Who holds: owner labels.
    Holders(Vec<String>),
    /// The answer got lost, and repeating the request did not bring it back.
    Unknown,
}

/// One request of one client, its repetitions included.
#[derive(Debug, Clone)]
pub struct Op {
    /// The client.
    pub client: u32,
    /// Its session.
    pub session: u64,
    /// Names the request; repetitions carry the same.
    pub request: u64,
    /// Owner label, one per acquire, so that whoever holds can be told by it.
    pub owner: String,
    /// The lock.
    pub lock: String,
    /// When it was first sent.
    pub called: Us,
    /// When the client first learnt that it waits in the queue.
    pub queued: Option<Us>,
    /// When the answer was there; `None`: never.
    pub returned: Option<Us>,
    /// What was asked.
    pub action: Action,
    /// What was answered.
    pub answer: Answer,
}

impl Op {
    /// The token, if it was granted one.
    pub fn granted(&self) -> Option<u64> {
        if let Answer::Granted(token) = self.answer { Some(token) } else { None }
    }

    /// The token that it gave up, if that was acknowledged.
    pub fn released(&self) -> Option<u64> {
        let Action::Release { token } = self.action else { return None };
        (self.answer == Answer::Released).then_some(token)
    }
}

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
    /// Longest delay between a lost lease and the next grant that the cluster is configured for.
    pub lock_delay: Us,
}

/// A grant as its client can be sure of it.
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
    /// Alone.
    pub exclusive: bool,
    /// The token.
    pub token: u64,
    /// The acquire was sent.
    pub called: Us,
    /// From here on the client was sure.
    pub from: Us,
    /// Until here it was: it sent the release, died, or its own deadline passed.
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
        found.extend(leases::check(self));
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
