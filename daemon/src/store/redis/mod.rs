//! Redis: connections that come back, scripts, and errors in our own words. The only module that
//! uses the `redis` crate.
//!
//! # Rules
//! - R1 No blocking command, ever: one that is abandoned takes its answer with it.
//! - R2 Every answer has a limit of time. One that is late leaves the outcome unknown, and costs the
//!   connection: what comes after it would be late too.
//! - R3 A server that may lose what it acknowledged is refused before it is used
//!   ([`Refused`](connect::CannotConnect::Refused)), unless the operator allows it by name.
//! - R4 The connection is remade for ever, whatever the reason was; until then requests fail at once
//!   with that reason.

mod connect;
mod fault;
mod link;
mod reply;
mod script;
mod sentinel;
mod server;
mod wakes;

pub use connect::CannotConnect;
pub use link::RedisLink;
pub use script::Script;
pub use server::Server;
