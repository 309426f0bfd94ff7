//! Client library of dsync: locks, job queues and a coherent cache.

pub mod api;
pub mod backup;
pub mod cache;
pub mod client;
pub mod codec;
pub mod connection;
pub mod dial;
pub mod foreign;
pub mod greet;
pub mod lock;
pub mod net;
pub mod peer;
pub mod preamble;
pub mod queue;
pub mod transport;

pub use client::{CallOptions, Client, ClientConfig};
pub use connection::{CallError, Connection, NodeConnection, PeerConnection};
pub use dial::{Class, ConnectError};
pub use dsync_core::{Code, Effect, Fault};
