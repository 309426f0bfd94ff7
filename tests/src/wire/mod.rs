//! A small service behind the real server, and a client that speaks bytes: for tests of the wire.

mod clock;
mod locks;
mod raw;
mod service;

pub use clock::Shifted;
pub use locks::Locks;
pub use raw::{Raw, answering, frame, request_frame};
pub use service::{Seen, Service, TestServer, hail, name, net};
