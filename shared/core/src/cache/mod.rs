//! The coherent cache.

pub mod store;
