//! Names that travel and are stored: checked once, at the edge, and valid ever after.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault};

/// Longest name in bytes.
pub const NAME_MAX: usize = 255;

/// A name of a lock, an owner, a node: 1 to 255 bytes of UTF-8 without control characters.
///
/// # Errors
/// Every way to make one, deserializing included, refuses a text that breaks the rule, so that a
/// name which is read off the wire needs no second look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

impl Name {
    /// Checks `text` and makes a name of it; `what` names the thing in the error.
    ///
    /// # Errors
    /// `InvalidArgument` with the rule that was broken.
    pub fn parse(what: &str, text: &str) -> Result<Self, Fault> {
        let bad = |why: &str| {
            Fault::new(Code::InvalidArgument, format!("{what} {:?} {why}", Shortened(text)))
                .hint("a name is 1 to 255 bytes of UTF-8 without control characters")
        };
        if text.is_empty() {
            return Err(bad("is empty"));
        }
        if text.len() > NAME_MAX {
            return Err(bad(&format!("is {} bytes long", text.len())));
        }
        if text.chars().any(char::is_control) {
            return Err(bad("contains a control character"));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        Self::parse("name", &text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows at most 64 characters of a text that may be a megabyte.
struct Shortened<'a>(&'a str);

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(64) {
            Some((end, _)) => write!(f, "{:?}…", self.0.get(..end).unwrap_or_default()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_holds_at_its_borders() {
        assert!(Name::parse("lock", "deploy/prod é").is_ok());
        assert!(Name::parse("lock", &"x".repeat(255)).is_ok());
        for bad in ["", "a\0b", "a\nb", "\u{1b}[31m", &"x".repeat(256), &"x".repeat(1 << 20)] {
            let fault = Name::parse("lock", bad).unwrap_err();
            assert_eq!(fault.code, Code::InvalidArgument);
            assert!(fault.message.len() < 400, "{}", fault.message.len());
        }
    }

    #[test]
    fn a_bad_name_is_refused_on_the_wire_too() {
        let bytes = postcard::to_stdvec("a\nb").unwrap();
        assert!(postcard::from_bytes::<Name>(&bytes).is_err());
    }
}
