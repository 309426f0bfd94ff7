//! Stores outside of this process.

pub mod redis;
