//! The queue in Redis: the rules of [`QueueMachine`](super::QueueMachine), carried out by two Lua
//! scripts. Pure: this module says what to send and reads what came back; it opens no connection.
//!
//! # Consistency
//! Each call of the script of commands is one atomic step, at one time, of one queue. Whatever node
//! makes it, the result is as if the machine had been given the same commands at that time; a test
//! compares the two on random histories. What differs is named here:
//! - A token is at least the time in microseconds, so that a Redis which lost its last writes gives
//!   no token twice.
//! - Time is that of Redis and may go back with its clock: leases and delays are then longer by as
//!   much, none is shorter.
//! - A partition holds [`PARTITION_QUEUES_MAX`] queues; the machine counts all queues together.
//!
//! # Keys
//! Described in `lua/common.lua`. All keys of a partition have one hash tag, so that a call touches
//! one node of a Redis Cluster only.

mod decode;
mod encode;
mod members;
mod query;
mod record;
mod runs;

pub use decode::{Done, decode};
pub use encode::encode;
pub use members::{MEMBERS, decode_beats, encode_beat};
pub use query::{decode_query, encode_query};
pub use runs::Kind;

pub use crate::redis::{Call, Reply};

use super::{PARTITIONS, partition_of};
use crate::name::Name;

/// Queues of one partition; ten thousand queues are far from it in each.
pub const PARTITION_QUEUES_MAX: usize = 256;

/// The script of commands. Redis names it by its SHA-1.
pub const COMMANDS: &str = concat!(
    include_str!("lua/common.lua"),
    include_str!("lua/state.lua"),
    include_str!("lua/dead.lua"),
    include_str!("lua/window.lua"),
    include_str!("lua/settle.lua"),
    include_str!("lua/push.lua"),
    include_str!("lua/pop.lua"),
    include_str!("lua/set.lua"),
    include_str!("lua/main.lua"),
);

/// The script of reads. It writes nothing.
pub const READS: &str = concat!(include_str!("lua/common.lua"), include_str!("lua/read.lua"));

fn partition(queue: &Name) -> u16 {
    u16::from(partition_of(queue))
}

/// What the names of a partition's keys begin with.
fn prefix(partition: u16) -> String {
    format!("dsync:{{p{partition:03}}}:")
}

/// The names of a partition's queues.
fn names_key(partition: u16) -> Vec<u8> {
    // A queue's own keys have one colon more: no queue is in the way.
    format!("{}queues", prefix(partition)).into_bytes()
}

/// The key of a queue from which the scripts make the others: no suffix has a colon, so that no two
/// queues share a key whatever their names are.
fn queue_key(queue: &Name) -> Vec<u8> {
    format!("{}{queue}:c", prefix(partition(queue))).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_they_were() {
        let seen = |text: &str| {
            let name = Name::parse("queue", text).unwrap();
            let keys = [queue_key(&name), names_key(partition(&name))];
            keys.map(|key| String::from_utf8(key).unwrap())
        };
        assert_eq!(seen("mail"), ["dsync:{p063}:mail:c", "dsync:{p063}:queues"]);
        assert_eq!(seen("a:b"), ["dsync:{p089}:a:b:c", "dsync:{p089}:queues"]);
        assert_eq!(seen("übung {x}"), ["dsync:{p139}:übung {x}:c", "dsync:{p139}:queues"]);
    }

    #[test]
    fn every_partition_is_used() {
        let mut seen = [0; 256];
        for n in 0..10_000 {
            let name = Name::parse("queue", &format!("queue-{n}")).unwrap();
            seen[usize::from(partition(&name))] += 1;
        }
        assert!(seen.iter().all(|count| (1..PARTITION_QUEUES_MAX / 2).contains(count)), "{seen:?}");
    }

    #[test]
    fn a_script_says_what_the_constants_say() {
        use crate::queue::{BATCH_BYTES_MAX, DEDUP_MS, ERRORS_KEPT, PEEK_BYTES, SWEEP_MAX};
        for line in [
            format!("DEFAULT_DEDUP = {DEDUP_MS}\n"),
            format!("NAMES_MAX = {PARTITION_QUEUES_MAX}\n"),
            format!("SWEEP_MAX = {SWEEP_MAX}\n"),
            format!("BATCH_BYTES_MAX = {BATCH_BYTES_MAX}\n"),
            format!("ERRORS_KEPT = {ERRORS_KEPT}\n"),
        ] {
            assert!(COMMANDS.contains(&line), "{line}");
        }
        assert!(READS.contains(&format!("PEEK_BYTES = {PEEK_BYTES}\n")));
    }
}
