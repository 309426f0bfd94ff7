//! The dsync daemon: one role per process.

pub mod args;
pub mod config;
pub mod exit;
pub mod healthcheck;
pub mod report;
pub mod run;
pub mod start;
pub mod telemetry;
