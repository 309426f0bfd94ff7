//! A small service behind the real server, and a client that speaks bytes: for tests of the wire.

mod clock;
mod counting;
mod crowd;
pub mod golden;
mod locks;
mod raw;
mod service;

pub use clock::Shifted;
pub use counting::Counting;
pub use crowd::crowd;
pub use locks::Locks;
pub use raw::{Raw, answering, frame, many_descriptors, request_frame};
pub use service::{Seen, Service, TestServer, hail, name, net};
