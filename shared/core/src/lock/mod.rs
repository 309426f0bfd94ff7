//! The lock service's state machine, and its specification.
//!
//! [`LockMachine`] is a pure function of the Raft log: `apply(at, batch)` gives what happened, and
//! every node that applies the same entries is in the same state, byte for byte. It reads no
//! clock, draws no random number and never panics; what it must not take on is refused before it
//! is appended ([`check`]), and answered `Invalid` or `LimitReached` if it comes nevertheless.
//!
//! # Time: the cluster's clock, never a node's
//! - **T1** Every entry carries `t_ms`, the leader's monotone clock, which advances only while a
//!   quorum answers the leader and never beyond real time.
//! - **T2** The first entry of a new term starts a grace: for `new_term_grace_ms` nothing is taken
//!   from anyone, so that clients find the new leader. Waits and lock-delays run on.
//! - **T3** `now = max(now, t_ms)`; keep-alives refresh their sessions; then what is due ends;
//!   then the requests are carried out, in order. A keep-alive that is in the log counts,
//!   however late it comes.
//! - **T4** An empty batch is a tick. The leader proposes one when [`LockMachine::next_deadline`]
//!   has come: an idle cluster writes nothing. The first entry of a term may be empty too.
//! - **T5** What is due ends first and in one go: sessions, longest holds and wounds, then
//!   delays and waits, each in order of time. Then the queues are served, so that nothing is
//!   granted to one who ends in the same entry.
//! - **T6** A client counts its own lease from when it *sent* the last keep-alive that was
//!   answered, and gives up before the machine does.
//!
//! # Who
//! A **session** lives by keep-alives. Its end, by expiry, takes its grants and its tickets in the
//! same entry; closing gives the grants back cleanly. An ephemeral session ends by itself when
//! its last grant or ticket is gone. An **owner** is (session, owner label): one thread of
//! execution. It may enter again what it holds, it waits for one thing at a time, and asks for no
//! other while it waits.
//!
//! # What is granted
//! - **Modes.** Sharers hold together; permits `k` of `n` while they last, and all users of a lock
//!   agree on `n`; an exclusive holder alone. Exclusive, shared and permits wait for each other.
//! - **FIFO.** A request is granted when it could hold together with all holders *and with all who
//!   wait before it, as if those held already*. So no sharer passes a waiting exclusive one, no
//!   small request for permits a large one; but who can share the lock with those ahead need not
//!   wait because they wait for something else.
//! - **Token.** One counter for all locks. A grant has a new token, entering again keeps it, an
//!   upgrade has a new one, a downgrade keeps it. A lock alone does not exclude (a paused holder
//!   goes on): the resource must refuse a token smaller than one that it has seen.
//! - **Group.** A request for several locks stands in every queue and holds nothing until all can
//!   be granted, then has them at once. Tickets have one order over all queues, so groups
//!   cannot lock each other out. What its owner holds already it enters again, and it fails with
//!   `NotHolder` when that grant ends first.
//! - **Convert.** Down at once. Up when it is the only sharer, else at the head of the queue; a
//!   second upgrader gets `Deadlock` at once.
//! - **Lost grants.** What was taken away (expiry, force, longest hold) counts as held until a
//!   lock-delay is over, in its mode and with its reason; what was given up, or wounded after its
//!   grace, does not.
//!
//! # Cycles
//! A request that would close a cycle of waiters fails with the cycle spelled out; nothing that is
//! under way is touched (`deadlock.rs` says how). By policy of the request, age decides before
//! that, a smaller number being older: **wound-wait** takes the lock from younger holders, with a
//! revoke event and a grace, and ends at once what their owners wait for; **wait-die** fails if
//! a holder or one ahead is older.
//!
//! # One request, one effect
//! A key names a request for ever. A repetition gets the saved outcome, or its place while it waits;
//! it does nothing. A session's outcomes are kept until the client's `first_outstanding` passes
//! them (at most [`SAVED_MAX`], those decided last); those of detached keys, and of sessions that
//! ended without expiring, for [`REMEMBER_MS`] of cluster time (at most [`REMEMBER_MAX`]). A
//! request below what is kept is `StaleSeq`. To cancel a request that was not seen yet makes sure
//! that it never has an effect.
//!
//! # Invariants
//! - **L1** Tokens strictly increase in the order of grants and are never used again, over restart,
//!   snapshot and restore.
//! - **L2** Two grants that exclude each other never overlap, and a grant ends only by its owner's
//!   wish, or by a cause that is named.
//! - **L3** A resource that remembers the largest token never accepts an older one.
//! - **L4** Whoever can be granted is granted, in the entry that makes it possible.
//! - **L5** Grants follow the order of tickets among those who exclude each other.
//! - **L6** Whoever gave up, timed out or ended waits nowhere; nothing is left of a free lock.
//! - **L7** No lease ends early, whatever any clock says and whoever leads.
//! - **L8** The same request gives the same answer and acts once.
//! - **L9** Every cycle is refused when it would close, with one victim; no victim without a cycle.
//! - **L10** (acquire, release, get) of a name is linearizable.
//!
//! `tests/lock` checks them: transcripts of each rule, random histories against the invariants and
//! a naive reference model, all interleavings of three clients, and known bugs put back.

mod acquire;
mod aged;
mod backup;
mod check;
mod command;
mod convert;
mod deadlines;
mod deadlock;
mod dedup;
mod grant;
mod holding;
mod lease;
mod machine;
#[cfg(test)]
mod mutant_tests;
#[cfg(test)]
mod mutants;
mod occupancy;
mod page;
mod policy;
mod queue;
mod release;
mod remembered;
mod saved;
mod session;
mod snapshot;
mod state;
mod view;

pub use aged::Aged;
pub use check::check;
pub use command::*;
pub use holding::Holding;
pub use lease::Lease;
pub use machine::LockMachine;
pub use page::{PAGE_BYTES, Room, Weight};
pub use remembered::{REMEMBER_MAX, REMEMBER_MS};
pub use saved::SAVED_MAX;
pub use snapshot::{SNAPSHOT_VERSION, Snapshot, SnapshotRef};
pub use view::{Counts, HOLDERS_SHOWN_MAX, WAIT_GRAPH_MAX};

/// True when a known bug is put back: never outside this crate's own unit tests.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(test)]
        let on = $crate::lock::mutants::is_on($crate::lock::mutants::Mutant::$name);
        #[cfg(not(test))]
        let on = false;
        on
    }};
}
use mutant;
