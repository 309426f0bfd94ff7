//! Names of jobs and of their deliveries.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault};

/// Longest id in bytes.
pub const ID_MAX: usize = 128;

/// Names a job: 1 to 128 bytes of UTF-8 without control characters or white space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Box<str>);

impl JobId {
    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    /// `InvalidArgument` with the rule that was broken.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let bad = |why: &str| {
            let shown: String = text.chars().take(40).collect();
            Fault::new(Code::InvalidArgument, format!("job id {shown:?} {why}"))
                .hint("an id is 1 to 128 bytes of UTF-8 without control characters or spaces")
        };
        if text.is_empty() {
            return Err(bad("is empty"));
        }
        if text.len() > ID_MAX {
            return Err(bad(&format!("is {} bytes long", text.len())));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("contains a control character or a space"));
        }
        Ok(Self(text.into()))
    }

    /// The id made of 128 random bits: 32 hexadecimal digits.
    pub fn random(bits: u128) -> Self {
        Self(format!("{bits:032x}").into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 16 bytes that stand for the id in a store: the bits of a random one, else a hash.
    pub fn bits(&self) -> u128 {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match u128::from_str_radix(&self.0, 16) {
            Ok(bits) if self.0.len() == 32 && self.0.chars().all(hex) => bits,
            _ => xxhash_rust::xxh3::xxh3_128(self.0.as_bytes()),
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        Self::parse(&text)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0.into()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One delivery of a job: `ID:TOKEN` in text. Once its lease is lost it is stale for ever: tokens of
/// a queue rise and are never used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The job.
    pub id: JobId,
    /// The fencing token of the delivery.
    pub token: u64,
}

impl Receipt {
    /// Reads `ID:TOKEN`.
    ///
    /// # Errors
    /// `InvalidArgument` with the rule that was broken.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let bad = || {
            let shown: String = text.chars().take(60).collect();
            Fault::new(Code::InvalidArgument, format!("{shown:?} is not a receipt"))
                .hint("a receipt is ID:TOKEN as `queue pop` printed it")
        };
        let (id, token) = text.rsplit_once(':').ok_or_else(bad)?;
        let token = token.parse().map_err(|_| bad())?;
        Ok(Self { id: JobId::parse(id).map_err(|_| bad())?, token })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.id, self.token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_receipts_come_back_as_they_were() {
        for text in ["a", "order:17", "übung", &"x".repeat(128)] {
            let receipt = Receipt { id: JobId::parse(text).unwrap(), token: u64::MAX };
            assert_eq!(Receipt::parse(&receipt.to_string()), Ok(receipt));
        }
        for text in ["", ":1", "a:", "a:x", "a", "a b:1", "a:-1", "a:18446744073709551616"] {
            assert!(Receipt::parse(text).is_err(), "{text}");
        }
        assert!(JobId::parse(&"x".repeat(129)).is_err());
    }

    #[test]
    fn a_random_id_is_its_bits_and_any_other_is_hashed() {
        let bits = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(JobId::random(bits).bits(), bits);
        let upper = JobId::parse(&format!("{bits:032X}")).unwrap();
        assert_ne!(upper.bits(), bits, "another text is another id");
        assert_ne!(JobId::parse("1").unwrap().bits(), 1);
    }
}
