//! What stands at the beginning of a backup of a Raft group: nodes write and check it, `dsctl` reads
//! from it whose state it is.

use dsync_core::node::Role;
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"DSYNCBAK";

/// The format that this version writes and reads.
pub const FORMAT: u32 = 1;

/// Most bytes that a header has.
pub const HEADER_MAX: usize = 64;

/// What stands before the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] of the version that wrote it.
    pub format: u32,
    /// Whose state it is.
    pub role: Role,
    /// Log index that it was taken at.
    pub index: u64,
    /// Cluster time that it was taken at.
    pub t_ms: u64,
}

impl Header {
    /// The bytes of the header; `None` if it cannot be written.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(postcard::to_stdvec(self).ok()?);
        Some(bytes)
    }

    /// The header, and what follows it.
    ///
    /// # Errors
    /// It is no backup, damaged, or of another format, in words.
    pub fn read(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is not a dsync backup")?;
        let (header, rest): (Self, &[u8]) =
            postcard::take_from_bytes(rest).map_err(|_| "its header cannot be read")?;
        if header.format != FORMAT {
            let format = header.format;
            return Err(format!("its format is {format}, this version knows {FORMAT}"));
        }
        Ok((header, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_anything_else_is_named() {
        let header = Header { format: FORMAT, role: Role::Queue, index: u64::MAX, t_ms: u64::MAX };
        let mut bytes = header.write().unwrap();
        assert!(bytes.len() <= HEADER_MAX);
        bytes.extend(b"state");
        assert_eq!(Header::read(&bytes).unwrap(), (header.clone(), b"state".as_slice()));
        assert!(Header::read(b"root:x:0:0").unwrap_err().contains("not a dsync backup"));
        assert!(Header::read(&bytes[..12]).unwrap_err().contains("cannot be read"));
        let later = Header { format: 9, ..header }.write().unwrap();
        assert!(Header::read(&later).unwrap_err().contains("its format is 9"));
    }
}
