//! What each result looks like: pure, from data to a view.

pub(crate) mod bench;
pub(crate) mod cache;
#[cfg(test)]
mod cache_tests;
pub(crate) mod caches;
pub(crate) mod cluster;
pub(crate) mod context;
pub(crate) mod lock;
pub(crate) mod misc;
pub(crate) mod node;
pub(crate) mod queue;
#[cfg(test)]
mod queue_tests;
pub(crate) mod queues;
pub(crate) mod raft;
#[cfg(test)]
mod tests;
