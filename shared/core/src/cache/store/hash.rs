//! From a key to 64 bits.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A key's hash. Who divides keys among shards by it must use another seed than the shards have:
/// with the same one, the keys of a shard would be alike in the bits that keep them apart there.
pub fn hash_of<Q: Hash + ?Sized>(seed: u64, key: &Q) -> u64 {
    let mut hasher = Chained(seed);
    key.hash(&mut hasher);
    hasher.0
}

/// xxh3 of each piece, seeded with the hash of those before. The streaming xxh3 of the same crate
/// begins by filling half a kilobyte of state, which costs more than hashing a key.
struct Chained(u64);

impl Hasher for Chained {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borrowed_and_owned_keys_are_one() {
        assert_eq!(hash_of(7, "key"), hash_of(7, &String::from("key")));
        assert_eq!(hash_of(7, b"key".as_slice()), hash_of(7, &b"key".to_vec()));
        assert_ne!(hash_of(7, "key"), hash_of(8, "key"));
        assert_ne!(hash_of(7, &("a", "bc")), hash_of(7, &("ab", "c")));
    }
}
