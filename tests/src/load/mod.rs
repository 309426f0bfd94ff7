//! Clients that use locks and write down what they see, over any network.

pub mod holdings;
mod left;
pub mod library;
mod locks;
mod mix;
mod session;
mod watch;
mod worker;

pub use left::left;
pub use locks::{Useless, Way};
pub use mix::Mix;
pub use session::Session;
pub use watch::watch;
pub use worker::work;
