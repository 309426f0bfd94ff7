//! The cache role: local reads that are never stale.

mod peers;

pub use self::peers::Peers;
