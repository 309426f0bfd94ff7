//! Whole clusters in one thread on a simulated network, clock and disk, drawn from one seed.
//!
//! The product's code runs unchanged: it dials, listens and reads the boot clock through
//! [`dsync::net::Network`], and keeps its files in a file system that forgets what was not synced.
//! The same seed gives the same run, step by step; [`Run::trace`] is what two runs are compared by.

mod cache;
mod cluster;
mod faults;
mod hosts;
mod invariants;
mod net;
mod trace;

pub use cache::{CacheFigures, CacheRun, CacheSetup, Faults, run_cache};
pub use cluster::{Run, Setup, run};
pub use faults::{Fault, cache_schedule, schedule};
pub use invariants::{Invariants, Looks, Seen};
pub use net::SimNetwork;
pub use trace::Trace;
