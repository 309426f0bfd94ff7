//! The queue's two stores side by side: the machine, and its scripts in a real Redis.

pub mod random;
pub mod scripts;
pub mod twins;

pub use random::Random;
pub use scripts::Scripts;
pub use twins::Twins;
