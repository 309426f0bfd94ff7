//! Real clusters: `dsd` processes on loopback, `dsctl` as users run it, faults in between.

pub mod binaries;
pub mod clock;
pub mod cluster;
pub mod dsctl;
pub mod local;
pub mod node;
pub mod panics;
pub mod ports;
pub mod proxy;
pub mod redis;
pub mod redis_sets;
pub mod shape;
pub mod stats;

pub use cluster::{Cluster, Leader, Plan};
pub use dsctl::{Background, Run};
pub use redis::{Redis, RedisPlan};

/// The machine's own network.
pub fn net() -> dsync::net::Net {
    std::sync::Arc::new(dsync::net::TcpNetwork)
}
