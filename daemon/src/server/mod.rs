//! The server: accepts connections, greets them, and hands their requests to the handlers.
//!
//! ```text
//! accept ── room for the not yet greeted ──▶ greet ──┬─ seats of clients ──▶ serve
//!                                                    └─ seats of nodes ────▶ serve
//! ```
//! Rules, each with a limit in [`Limits`]:
//! - S1 A connection that has not greeted costs a place in a bounded room for at most `greet`; when the
//!   room is full the one that has been silent longest makes place. So silent connections, however
//!   many, never keep a client out that does speak.
//! - S2 A failing `accept` (out of file descriptors) pauses and goes on: no spin, no exit.
//! - S3 What a stray client sends is answered in its own protocol where it has one.
//! - S4 A connection's handlers run in the connection's task: when it ends they are dropped, so a
//!   handler may be dropped at any await. It only sends to the task that owns the state and waits.
//! - S5 A handler that panics is answered for, at once, with `Internal`; the connection goes on.
//! - S6 A stop refuses new connections and requests, and gives those in flight `drain` to answer.
//! - S7 Clients and nodes have seats of their own, told apart by the greeting's plane, and who finds no
//!   seat is turned away at once. A flood of clients waits in the room, which silent ones leave
//!   first, or is gone: either way a node that greets is heard.

mod accept;
mod connect;
mod counters;
mod greeting;
mod handler;
mod limits;
pub(crate) mod room;
mod serve;

pub use accept::Server;
pub use counters::{Counters, Reading};
pub use greeting::Identity;
pub use handler::{Call, Caller, Handlers, NodeHandler, PeerHandler};
pub use limits::Limits;
