//! Load on a job queue, and what must hold of it whatever is killed meanwhile.

pub mod hand;
mod journal;
mod work;

pub use hand::Hand;
pub use journal::{Findings, Journal};
pub use work::{Load, Mix, command, dead_ids, drain, ring, stats, wait_for_ring};
