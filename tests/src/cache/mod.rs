//! The cache under test: its memory's two stores side by side, and what clients of its nodes saw.

pub mod hand;
pub mod journal;
pub mod load;
pub mod nodes;
pub mod random;
pub mod twins;

pub use hand::Hand;
pub use journal::{Journal, Seen};
pub use random::Random;
pub use twins::Twins;
