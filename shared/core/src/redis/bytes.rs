//! Numbers and texts in values that only this program reads.

use super::reply::Read;

/// The last `width` bytes of a number, the first of them first; too large a one is all ones.
pub(crate) fn put(into: &mut Vec<u8>, width: usize, number: u64) {
    let bytes = number.to_be_bytes();
    let (above, kept) = bytes.split_at(8 - width.min(8));
    if above.iter().all(|byte| *byte == 0) {
        into.extend(kept);
    } else {
        into.extend(std::iter::repeat_n(u8::MAX, width));
    }
}

/// The number of bytes that follow.
pub(crate) fn put_sized(into: &mut Vec<u8>, width: usize, length: usize) {
    put(into, width, u64::try_from(length).unwrap_or(u64::MAX));
}

/// Bytes that are read from the beginning on.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or_else(|| format!("a value in Redis ends {length} bytes too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn number(&mut self, width: usize) -> Read<u64> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self, width: usize) -> Read<T> {
        let number = self.number(width)?;
        T::try_from(number).map_err(|_| format!("{number} in Redis is too large"))
    }

    /// Bytes after the number that says how many they are.
    pub(crate) fn sized(&mut self, width: usize) -> Read<Self> {
        let length = self.narrow(width)?;
        Ok(Self(self.take(length)?))
    }

    pub(crate) fn text(&mut self, width: usize) -> Read<String> {
        let bytes = self.sized(width)?.0.to_vec();
        String::from_utf8(bytes).map_err(|_| "a text in Redis is no UTF-8".to_owned())
    }
}
