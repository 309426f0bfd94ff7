//! Which node is in charge of a queue goes by its partition.

use crate::name::Name;

/// Partitions of all queues: fixed for ever, since keys in Redis are named by them.
pub const PARTITIONS: u16 = 256;

/// The partition of a queue: the low 8 bits of xxh3 of its name.
pub fn partition_of(queue: &Name) -> u8 {
    let [.., low] = xxhash_rust::xxh3::xxh3_64(queue.as_str().as_bytes()).to_be_bytes();
    low
}
