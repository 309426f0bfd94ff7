//! Records: how they are laid out, checked and decoded.

use dsync::peer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::LogError;
use super::mutant::{self, Mutant};

/// Bytes before a payload: `length u32 | crc32c u32 | kind u8 | format u8 | synced u32`.
pub(super) const HEADER: usize = 14;
/// The format that is written; anything later is refused.
pub(super) const FORMAT: u8 = 1;
/// Room for any payload but entries.
pub(super) const SMALL: usize = 64;
/// Largest payload: what the peer plane takes in one frame.
pub const RECORD_MAX: usize = 16 << 20;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The state at the start of a segment.
    Head,
    /// Entries.
    Entries,
    /// The vote.
    Vote,
    /// Everything after a place is gone.
    Truncate,
    /// Everything up to a place is gone.
    Purge,
    /// What is known to be committed.
    Committed,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Head => 1,
            Self::Entries => 2,
            Self::Vote => 3,
            Self::Truncate => 4,
            Self::Purge => 5,
            Self::Committed => 6,
        }
    }

    fn of(code: u8) -> Option<Self> {
        let all =
            [Self::Head, Self::Entries, Self::Vote, Self::Truncate, Self::Purge, Self::Committed];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// State at the start of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Number of the segment.
    pub(super) sequence: u64,
    /// The vote.
    pub(super) vote: Option<peer::Vote>,
    /// What was known to be committed.
    pub(super) committed: Option<peer::LogId>,
    /// Purged up to here.
    pub(super) purged: Option<peer::LogId>,
    /// The last entry, or what was purged last.
    pub(super) last: Option<peer::LogId>,
}

impl Head {
    /// Everything after a place is gone.
    pub(super) fn truncate_after(&mut self, place: Option<peer::LogId>) {
        let index = |id: Option<peer::LogId>| id.map(|id| id.index);
        let place = if index(place) < index(self.purged) { self.purged } else { place };
        if index(self.last) > index(place) {
            self.last = place;
        }
    }

    /// Everything up to a place is gone.
    pub(super) fn purge(&mut self, place: peer::LogId) {
        let before = |id: Option<peer::LogId>| id.is_none_or(|id| id.index < place.index);
        if before(self.purged) {
            self.purged = Some(place);
        }
        if before(self.last) {
            self.last = Some(place);
        }
    }
}

/// Why the bytes at an offset are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bad {
    /// Not enough bytes for what its header says.
    Short,
    /// The checksum does not match.
    Checksum,
    /// The checksum matches, the kind is not known.
    Kind(u8),
    /// The checksum matches, the format is a later one.
    Format(u8),
}

impl Bad {
    pub(super) fn describe(self) -> String {
        match self {
            Self::Short => "a record that ends beyond the file".to_owned(),
            Self::Checksum => "a record whose checksum does not match".to_owned(),
            Self::Kind(kind) => format!("a record of unknown kind {kind}"),
            Self::Format(format) => format!("a record of format {format}"),
        }
    }
}

/// A record found in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) kind: Kind,
    pub(super) payload: &'a [u8],
    /// Offset of what follows it.
    pub(super) end: usize,
}

/// Encodes a payload of about that size.
pub(super) fn encode<T: Serialize>(value: &T, size: usize) -> Result<Vec<u8>, LogError> {
    postcard::to_extend(value, Vec::with_capacity(size)).map_err(LogError::Encode)
}

/// Decodes the whole of a payload.
pub(super) fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many in a record", rest.len())),
        Err(error) => Err(format!("a record that cannot be decoded: {error}")),
    }
}

/// Adds a record to `out`, which will be written so that the record lands at `offset`.
pub(super) fn frame(
    out: &mut Vec<u8>,
    place: (u64, usize),
    synced: usize,
    kind: Kind,
    payload: &[u8],
) -> Result<(), LogError> {
    let too_large = |_| LogError::Encode(postcard::Error::SerializeBufferFull);
    let length = u32::try_from(payload.len()).map_err(too_large)?.to_le_bytes();
    let synced = u32::try_from(synced).map_err(too_large)?.to_le_bytes();
    let (sequence, offset) = place;
    let rest = [kind.code(), FORMAT, synced[0], synced[1], synced[2], synced[3]];
    let crc = checksum(sequence, offset, length, rest, payload);
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&rest);
    out.extend_from_slice(payload);
    Ok(())
}

fn checksum(sequence: u64, offset: usize, length: [u8; 4], rest: [u8; 6], payload: &[u8]) -> u32 {
    let offset = u64::try_from(offset).unwrap_or(u64::MAX);
    let mut crc = crc32c::crc32c(&sequence.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &length);
    crc = crc32c::crc32c_append(crc, &rest);
    crc32c::crc32c_append(crc, payload)
}

/// The header's fields at an offset, unchecked.
struct Header {
    length: [u8; 4],
    crc: u32,
    rest: [u8; 6],
}

impl Header {
    fn at(bytes: &[u8], offset: usize) -> Option<Self> {
        let (length, tail) = bytes.get(offset..)?.split_first_chunk::<4>()?;
        let (crc, tail) = tail.split_first_chunk::<4>()?;
        let (rest, _) = tail.split_first_chunk::<6>()?;
        Some(Self { length: *length, crc: u32::from_le_bytes(*crc), rest: *rest })
    }

    fn synced(&self) -> usize {
        let [_, _, synced @ ..] = self.rest;
        usize::try_from(u32::from_le_bytes(synced)).unwrap_or(usize::MAX)
    }

    fn payload<'a>(&self, bytes: &'a [u8], offset: usize) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(self.length)).ok()?;
        bytes.get(offset + HEADER..)?.get(..length)
    }
}

/// Reads the record at an offset of a segment.
pub(super) fn read(bytes: &[u8], sequence: u64, offset: usize) -> Result<Found<'_>, Bad> {
    let header = Header::at(bytes, offset).ok_or(Bad::Short)?;
    let payload = header.payload(bytes, offset).ok_or(Bad::Short)?;
    let crc = checksum(sequence, offset, header.length, header.rest, payload);
    if crc != header.crc && !mutant::active(Mutant::BadChecksumTaken) {
        return Err(Bad::Checksum);
    }
    let [kind, format, ..] = header.rest;
    if format != FORMAT {
        return Err(Bad::Format(format));
    }
    let kind = Kind::of(kind).ok_or(Bad::Kind(kind))?;
    let end = offset + HEADER + payload.len();
    Ok(Found { kind, payload, end })
}

/// Looks behind a bad place for a good record that was written when the place was on disk
/// already, and returns its offset: proof that the place was damaged later.
pub(super) fn proof_of_damage(bytes: &[u8], sequence: u64, bad: usize) -> Option<usize> {
    (bad + 1..bytes.len()).find(|&offset| {
        let Some(header) = Header::at(bytes, offset) else { return false };
        let synced = header.synced();
        let [kind, format, ..] = header.rest;
        // Cheap conditions first: they hold almost nowhere but at a record.
        Kind::of(kind).is_some()
            && format == FORMAT
            && synced > bad
            && synced <= offset
            && read(bytes, sequence, offset).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        frame(&mut bytes, (7, 0), 0, Kind::Vote, b"abc").unwrap();
        let next = bytes.len();
        frame(&mut bytes, (7, next), next, Kind::Purge, b"").unwrap();
        bytes
    }

    #[test]
    fn a_record_is_read_as_written() {
        let bytes = sample();
        let first = read(&bytes, 7, 0).unwrap();
        assert_eq!((first.kind, first.payload), (Kind::Vote, &b"abc"[..]));
        let second = read(&bytes, 7, first.end).unwrap();
        assert_eq!((second.kind, second.end), (Kind::Purge, bytes.len()));
        assert_eq!(Header::at(&bytes, 17).unwrap().synced(), 17);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = sample();
        for position in 0..17 {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[position] ^= 1 << bit;
                assert!(read(&bytes, 7, 0).is_err(), "byte {position} bit {bit}");
                assert_eq!(proof_of_damage(&bytes, 7, 0), Some(17), "byte {position} bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_counts_only_in_its_own_place() {
        let bytes = sample();
        assert_eq!(read(&bytes, 8, 0).unwrap_err(), Bad::Checksum);
        let moved = [&[0; 3], &bytes[..]].concat();
        assert_eq!(read(&moved, 7, 3).unwrap_err(), Bad::Checksum);
        assert_eq!(read(&bytes[..16], 7, 0).unwrap_err(), Bad::Short);
    }

    #[test]
    fn a_record_of_the_same_batch_proves_nothing() {
        let mut bytes = Vec::new();
        frame(&mut bytes, (1, 0), 0, Kind::Vote, b"abc").unwrap();
        let next = bytes.len();
        frame(&mut bytes, (1, next), 0, Kind::Vote, b"def").unwrap();
        bytes[15] ^= 1;
        assert_eq!(proof_of_damage(&bytes, 1, 0), None);
    }
}
