//! The dsync daemon: one role per process.

pub mod server;
