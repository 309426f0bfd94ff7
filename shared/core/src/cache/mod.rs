//! The coherent cache: what a node and a home decide, and what the memory takes.
//!
//! Every key has a *home*, a node that serves the requests for it one after the other, and its
//! value is in the *memory*. A node that holds a key's *line* reads it without asking anyone; the
//! home knows who holds it and takes it back before another may write. A line is good while the
//! lease of its session is, so a node that is cut off stops reading by itself, and a home waits no
//! longer than that for one that does not answer.
//!
//! - [`mod@line`]: a key at a node; [`told`]: what it is told and wants done.
//! - [`directory`]: a key at its home.
//! - [`session`]: leases, at both ends.
//! - [`store`]: the lines of a node, and which of them go when there is no more room.
//! - [`memory`]: fences, versions and repeated writes; [`command`]: its language.
//! - [`machine`]: the memory that the nodes keep themselves; [`redis`]: the one in Redis.
//!
//! The model checker of `model_tests` runs these very functions.

/// True when a known bug was put back; never outside of unit tests.
macro_rules! mutant {
    ($name:ident) => {{
        #[cfg(test)]
        let on = $crate::cache::mutants::is_on($crate::cache::mutants::Mutant::$name);
        #[cfg(not(test))]
        let on = false;
        on
    }};
}

pub mod command;
pub mod directory;
pub mod item;
pub mod line;
pub mod machine;
pub mod membership;
pub mod memory;
pub mod op;
mod records;
pub mod redis;
pub mod session;
pub mod snapshot;
pub mod store;
pub mod told;
pub mod view;

#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod membership_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod mutants;
