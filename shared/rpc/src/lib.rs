//! Client library of dsync: locks, job queues and a coherent cache.

pub mod api;
pub mod client;
pub mod net;
pub mod peer;

pub use client::{CallOptions, Client, ClientConfig};
