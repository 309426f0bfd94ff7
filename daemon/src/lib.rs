//! The dsync daemon: one role per process.

pub mod args;
pub mod assembly;
pub mod config;
pub mod demo;
pub mod descriptors;
pub mod dev;
pub mod directory;
pub mod exit;
pub mod forward;
pub mod gauges;
pub mod greeting;
pub mod healthcheck;
pub mod node;
pub mod raft;
pub mod report;
pub mod roles;
pub mod run;
pub mod server;
pub mod start;
pub mod store;
pub mod telemetry;
