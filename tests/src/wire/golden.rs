//! Bytes of messages as lines of text, for snapshots that last for ever.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}

/// One line per sample; checks that the samples are all variants, in order, and survive a trip.
pub fn golden<T>(samples: &[T], variant: impl Fn(&T) -> &'static str) -> String
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for sample in samples {
        let bytes = postcard::to_stdvec(sample).unwrap_or_default();
        assert_eq!(postcard::from_bytes::<T>(&bytes).as_ref(), Ok(sample));
        seen.insert(bytes.first().copied().unwrap_or_default());
        writeln!(text, "{} {}", variant(sample), hex(&bytes)).unwrap_or_default();
    }
    let all: BTreeSet<u8> = (0..=seen.last().copied().unwrap_or_default()).collect();
    assert_eq!(seen, all, "a variant has no sample");
    text
}

/// Names the variant of a value; a new variant does not compile until it is named here, and
/// [`golden`] then asks for its sample.
#[macro_export]
macro_rules! variants {
    ($type:ident: $($variant:ident)+) => {
        |value: &$type| match value { $($type::$variant { .. } => stringify!($variant),)+ }
    };
}
