//! A segment's name and header.
//!
//! The header is written and synced before the file gets its name, so whatever is called a segment has a whole one.

use crate::id::NodeId;

/// The bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 128;
/// A header's bytes.
pub(crate) type HeaderBytes = [u8; 128];
/// The version of segments that this program writes, and the newest that it reads.
pub(crate) const SEGMENT_VERSION: u32 = 1;
/// What a segment is called while zeros are written ahead of its records.
pub(crate) const FILLING: &str = "filling.tmp";
/// What a segment without zeros is called until its header is durable.
pub(crate) const PLAIN: &str = "plain.tmp";

const MAGIC: [u8; 8] = *b"sgsegmnt";
const CHECKED_BYTES: usize = 96;
const SUFFIX: &str = ".seg";

/// What a segment tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Its number, from 1, without gaps.
    pub(crate) number: u32,
    /// The epoch in which it was begun.
    pub(crate) epoch: u64,
    /// The number of its first record.
    pub(crate) first_seq: u64,
    /// The checksum of the last record before it; zeros before the first.
    pub(crate) previous: [u8; 32],
    /// Keys the checksums of its records, so that bytes copied out of another segment never pass for a record of this one.
    pub(crate) key: [u8; 32],
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Damaged(&'static str),
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn to_bytes(&self) -> HeaderBytes {
        let mut bytes: HeaderBytes = [0; 128];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.previous);
        bytes[64..96].copy_from_slice(&self.key);
        let checksum = blake3::hash(&bytes[..CHECKED_BYTES]);
        bytes[96..128].copy_from_slice(checksum.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &HeaderBytes) -> Result<Self, HeaderError> {
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Damaged("this is not the header of a segment"));
        }
        let version = u32_at(bytes, 8);
        if version > SEGMENT_VERSION {
            return Err(HeaderError::Newer(version));
        }
        if blake3::hash(&bytes[..CHECKED_BYTES]) != bytes[96..128] || version == 0 {
            return Err(HeaderError::Damaged("the header does not match its checksum"));
        }
        Ok(Self {
            number: u32_at(bytes, 12),
            epoch: u64_at(bytes, 16),
            first_seq: u64_at(bytes, 24),
            previous: hash_at(bytes, 32),
            key: hash_at(bytes, 64),
        })
    }
}

/// Returns a segment's file name.
pub(crate) fn name(number: u32) -> String {
    format!("{number:08}{SUFFIX}")
}

/// Returns the number that a file name gives a segment.
pub(crate) fn number(file: &str) -> Option<u32> {
    let digits = file.strip_suffix(SUFFIX)?;
    let number = digits.parse().ok()?;
    (name(number) == file).then_some(number)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

pub(crate) fn hash_at(bytes: &[u8], offset: usize) -> [u8; 32] {
    let mut value = [0; 32];
    value.copy_from_slice(&bytes[offset..offset + 32]);
    value
}

/// Where a node's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// The end of a whole record, and with it of everything before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment that the record is in; 0 before there is any.
    pub(crate) segment: u32,
    /// Where the record starts.
    pub(crate) start: u64,
    /// Where it ends.
    pub(crate) end: u64,
    /// Its number; 0 before there is any.
    pub(crate) seq: u64,
    /// Its epoch.
    pub(crate) epoch: u64,
    /// Its checksum.
    pub(crate) checksum: [u8; 32],
}

/// A node's name and place.
pub(crate) type Placed = (NodeId, Location);

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader { number: 7, epoch: 3, first_seq: 99, previous: [1; 32], key: [2; 32] }
    }

    #[test]
    fn headers_survive_their_bytes_and_notice_every_flipped_bit() {
        let bytes = header().to_bytes();
        assert_eq!(SegmentHeader::from_bytes(&bytes), Ok(header()));
        for place in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[place / 8] ^= 1 << (place % 8);
            assert!(SegmentHeader::from_bytes(&flipped).is_err(), "bit {place}");
        }
    }

    #[test]
    fn newer_versions_are_told_apart_from_damage() {
        let mut bytes = header().to_bytes();
        bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
        assert_eq!(SegmentHeader::from_bytes(&bytes), Err(HeaderError::Newer(9)));
    }

    #[test]
    fn names_are_read_back_and_others_are_not_segments() {
        assert_eq!(number(&name(42)), Some(42));
        for other in [FILLING, "1.seg", "00000001.seg.tmp", "0000000a.seg", "+0000001.seg"] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
