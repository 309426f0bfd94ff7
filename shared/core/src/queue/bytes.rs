//! A byte vector as one run of bytes, not as a sequence of numbers.

use std::fmt;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(data: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(data)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E>(self, data: &[u8]) -> Result<Vec<u8>, E> {
            Ok(data.to_vec())
        }
        fn visit_byte_buf<E>(self, data: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(data)
        }
    }
    from.deserialize_byte_buf(Bytes)
}
