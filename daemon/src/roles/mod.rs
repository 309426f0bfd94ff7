//! What a node does. Roles never import each other.

pub mod cache;
pub mod leader;
pub mod lock;
pub mod proposer;
pub mod queue;
