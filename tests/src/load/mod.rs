//! Clients that use locks and write down what they see, over any network.

pub mod holdings;
pub mod library;
mod session;
mod watch;
mod worker;

pub use session::{Held, Session, Way};
pub use watch::watch;
pub use worker::{Mix, work};
