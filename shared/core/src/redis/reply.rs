//! What Redis answered, whatever library brought it.

/// An answer of Redis. A driver makes it of its library's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Int(i64),
    /// A string of bytes, or a status line.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Self>),
}

/// What is wrong with an answer: not what the scripts give.
pub(crate) type Read<T> = Result<T, String>;

impl Reply {
    fn is_not<T>(&self, wanted: &str) -> Read<T> {
        let mut shown = format!("{self:?}");
        // The answer may be a megabyte.
        if let Some((end, _)) = shown.char_indices().nth(200) {
            shown.truncate(end);
        }
        Err(format!("Redis answered {shown}, {wanted} was expected"))
    }

    pub(crate) fn list(self) -> Read<Vec<Self>> {
        match self {
            Self::List(list) => Ok(list),
            other @ (Self::Nil | Self::Int(_) | Self::Bytes(_)) => other.is_not("a list"),
        }
    }

    pub(crate) fn array<const N: usize>(self) -> Read<[Self; N]> {
        let list = self.list()?;
        list.try_into().or_else(|list| Self::List(list).is_not(&format!("{N} values")))
    }

    pub(crate) fn bytes(self) -> Read<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other @ (Self::Nil | Self::Int(_) | Self::List(_)) => other.is_not("a string"),
        }
    }

    pub(crate) fn text(self) -> Read<String> {
        String::from_utf8(self.bytes()?).map_err(|_| "Redis answered no UTF-8".to_owned())
    }

    /// The value, or that there is none.
    pub(crate) fn option(self) -> Option<Self> {
        (self != Self::Nil).then_some(self)
    }

    /// A number; one that a script wrote as text counts.
    pub(crate) fn int(self) -> Read<i64> {
        match self {
            Self::Int(number) => Ok(number),
            Self::Bytes(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .map_or_else(|| Self::Bytes(bytes).is_not("a number"), Ok),
            other @ (Self::Nil | Self::List(_)) => other.is_not("a number"),
        }
    }

    /// A number that is not below 0.
    pub(crate) fn count(self) -> Read<u64> {
        let number = self.int()?;
        u64::try_from(number).or_else(|_| Self::Int(number).is_not("no negative number"))
    }

    /// A number, or none if it is below 0.
    pub(crate) fn count_or_none(self) -> Read<Option<u64>> {
        Ok(u64::try_from(self.int()?).ok())
    }
}
