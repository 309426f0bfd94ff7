//! The lock service's state machine. (The specification goes here.)

mod command;

pub use command::*;
