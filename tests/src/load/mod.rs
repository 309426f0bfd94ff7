//! Clients that use locks and write down what they see, over any network.

mod session;
mod worker;

pub use session::{Held, Session, Way};
pub use worker::{Mix, work};
