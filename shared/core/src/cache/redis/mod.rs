//! The memory in Redis: the rules of [`MemoryMachine`](super::machine::MemoryMachine), carried out by
//! two Lua scripts. Pure: this module says what to send and reads what came back.
//!
//! # Consistency
//! Each call is one atomic step. The result is as if the machine had been given the same commands; a
//! test compares the two on random histories. What differs is named here:
//! - Redis may forget what it acknowledged: its run has a name, and the caller must see to it that
//!   nothing of an epoch reaches another run than that of the epoch's view.
//! - Time is that of Redis, and decides of nothing but when keys are gone and repetitions forgotten.
//! - `Full` is told when Redis says that its own memory is full. Of all writes only those that bring
//!   a value are refused then.
//! - Versions and epochs are exact up to 2^53.
//!
//! # Keys
//! Described in `lua/common.lua`. All have one hash tag.

mod decode;
mod encode;
mod record;

pub use decode::decode;
pub use encode::encode;

use super::command::Ask;

/// The script of commands and signs of life.
pub const COMMANDS: &str = concat!(
    include_str!("lua/common.lua"),
    include_str!("lua/write.lua"),
    include_str!("lua/main.lua"),
);

/// The script of looks. It writes nothing.
pub const READS: &str = concat!(include_str!("lua/common.lua"), include_str!("lua/read.lua"));

/// The key that all others are named after.
pub const KEY: &str = "dsync:{dsync-cache}:s";

/// The script that takes what [`encode`] makes of it.
pub const fn script(ask: &Ask) -> &'static str {
    match ask {
        Ask::Do(_) | Ask::Live(_) => COMMANDS,
        Ask::Look(_) => READS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::records::GONE_MS;

    #[test]
    fn a_script_says_what_the_constants_say() {
        assert!(COMMANDS.contains(&format!("GONE_MS = {GONE_MS}\n")));
    }
}
