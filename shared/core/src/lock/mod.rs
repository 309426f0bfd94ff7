//! The lock service's state machine. (The specification goes here.)

mod acquire;
mod aged;
mod check;
mod command;
mod convert;
mod deadlines;
mod deadlock;
mod dedup;
mod grant;
mod machine;
#[cfg(test)]
mod mutant_tests;
#[cfg(test)]
mod mutants;
mod occupancy;
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
pub use machine::LockMachine;
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
