//! A segment's name and header.
//!
//! The header is written and synced before the file gets its name, so whatever is called a segment has a whole one. A segment
//! that was rewritten without its garbage stands for itself and perhaps for some that followed it, under a name of its own,
//! so that no reader ever takes an offset in the one for an offset in the other.

use crate::id::NodeId;

/// The bytes before the first record.
pub(crate) const HEADER_BYTES: u64 = 128;
/// A header's bytes.
pub(crate) type HeaderBytes = [u8; 128];
/// The version of segments that this program writes, and the newest that it reads.
pub(crate) const SEGMENT_VERSION: u32 = 2;
/// The version of segments as the journal writes them: what version 1 can tell is still written as version 1.
const PLAIN_VERSION: u32 = 1;
/// What a segment is called while zeros are written ahead of its records.
pub(crate) const FILLING: &str = "filling.tmp";
/// What a segment without zeros is called until its header is durable.
pub(crate) const PLAIN: &str = "plain.tmp";
/// A file of zeros that is removed when the disk is full, so that there is room to make room.
pub(crate) const RESERVE: &str = "reserve";
/// What a segment is called while it is rewritten.
pub(crate) const REWRITING: &str = "rewriting.tmp";

const MAGIC: [u8; 8] = *b"sgsegmnt";
const CHECKED_BYTES: usize = 96;
const SUFFIX: &str = ".seg";

/// Names one file of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId {
    /// Its number, from 1; one that was rewritten has the first of the numbers that it stands for.
    pub(crate) number: u32,
    /// How often it was rewritten.
    pub(crate) rewrite: u32,
}

impl SegmentId {
    /// Returns the name of a segment as the journal writes it.
    pub(crate) const fn plain(number: u32) -> Self {
        Self { number, rewrite: 0 }
    }

    /// Returns its file's name.
    pub(crate) fn name(self) -> String {
        let Self { number, rewrite } = self;
        if rewrite == 0 { format!("{number:08}{SUFFIX}") } else { format!("{number:08}-{rewrite:04}{SUFFIX}") }
    }

    /// Returns the segment that a file's name is the name of.
    pub(crate) fn of_name(file: &str) -> Option<Self> {
        let digits = file.strip_suffix(SUFFIX)?;
        let id = match digits.split_once('-') {
            None => Self::plain(digits.parse().ok()?),
            Some((number, rewrite)) => Self { number: number.parse().ok()?, rewrite: rewrite.parse().ok()? },
        };
        (id.name() == file).then_some(id)
    }

    /// Returns it as one number, in the order of segments.
    pub(crate) const fn to_u64(self) -> u64 {
        (self.number as u64) << 32 | self.rewrite as u64
    }

    /// Returns what [`Self::to_u64`] made a number of.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
    pub(crate) const fn from_u64(number: u64) -> Self {
        Self { number: (number >> 32) as u32, rewrite: number as u32 }
    }
}

/// What a segment tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Which segment it is.
    pub(crate) id: SegmentId,
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
        let version = if self.id.rewrite == 0 { PLAIN_VERSION } else { SEGMENT_VERSION };
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.id.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.previous);
        bytes[64..96].copy_from_slice(&self.key);
        let checksum = checksum(&bytes, self.id.rewrite);
        bytes[96..128].copy_from_slice(checksum.as_bytes());
        bytes
    }

    /// Reads the header of a file whose name says that it was rewritten so often.
    pub(crate) fn from_bytes(bytes: &HeaderBytes, rewrite: u32) -> Result<Self, HeaderError> {
        if bytes[..8] != MAGIC {
            return Err(HeaderError::Damaged("this is not the header of a segment"));
        }
        let version = u32_at(bytes, 8);
        if version > SEGMENT_VERSION {
            return Err(HeaderError::Newer(version));
        }
        let expected = if rewrite == 0 { PLAIN_VERSION } else { SEGMENT_VERSION };
        if checksum(bytes, rewrite) != bytes[96..128] || version != expected {
            return Err(HeaderError::Damaged("the header does not match its checksum"));
        }
        Ok(Self {
            id: SegmentId { number: u32_at(bytes, 12), rewrite },
            epoch: u64_at(bytes, 16),
            first_seq: u64_at(bytes, 24),
            previous: hash_at(bytes, 32),
            key: hash_at(bytes, 64),
        })
    }
}

/// Returns the checksum of a header. How often the segment was rewritten is in it and in the file's name, nowhere else.
fn checksum(bytes: &HeaderBytes, rewrite: u32) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..CHECKED_BYTES]);
    if rewrite > 0 {
        hasher.update(&rewrite.to_le_bytes());
    }
    hasher.finalize()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Location {
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) length: u32,
}

/// The end of a whole record, and with it of everything before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment that the record is in; number 0 before there is any.
    pub(crate) segment: SegmentId,
    /// Where the record starts; where it ends, when it was in a segment that was rewritten since.
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

    fn header(rewrite: u32) -> SegmentHeader {
        let id = SegmentId { number: 7, rewrite };
        SegmentHeader { id, epoch: 3, first_seq: 99, previous: [1; 32], key: [2; 32] }
    }

    #[test]
    fn headers_survive_their_bytes_and_notice_every_flipped_bit() {
        for rewrite in [0, 3] {
            let bytes = header(rewrite).to_bytes();
            assert_eq!(SegmentHeader::from_bytes(&bytes, rewrite), Ok(header(rewrite)));
            assert!(SegmentHeader::from_bytes(&bytes, rewrite + 1).is_err(), "the file has another name");
            for place in 0..bytes.len() * 8 {
                let mut flipped = bytes;
                flipped[place / 8] ^= 1 << (place % 8);
                assert!(SegmentHeader::from_bytes(&flipped, rewrite).is_err(), "bit {place}");
            }
        }
    }

    #[test]
    fn newer_versions_are_told_apart_from_damage() {
        let mut bytes = header(0).to_bytes();
        bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
        assert_eq!(SegmentHeader::from_bytes(&bytes, 0), Err(HeaderError::Newer(9)));
    }

    #[test]
    fn names_are_read_back_and_others_are_not_segments() {
        for id in [SegmentId::plain(42), SegmentId { number: 42, rewrite: 7 }] {
            assert_eq!(SegmentId::of_name(&id.name()), Some(id));
            assert_eq!(SegmentId::from_u64(id.to_u64()), id);
        }
        for other in [FILLING, "1.seg", "00000001.seg.tmp", "0000000a.seg", "+0000001.seg", "00000001-0000.seg"] {
            assert_eq!(SegmentId::of_name(other), None, "{other}");
        }
    }
}
