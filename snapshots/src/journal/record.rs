//! A record: the unit that is durable whole or not at all.
//!
//! A fixed header, a table of (id, length) for each entry and node, a keyed checksum over both, then the entries' and nodes'
//! bytes, padded to eight. The bytes are covered by the ids in the table, so nothing is hashed twice.

use super::segment::{Location, Placed, SegmentId, hash_at, u32_at, u64_at};
use crate::id::{NodeId, SandboxId};
use crate::node::node_id;

/// Where records begin: multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// The bytes of a record before its table.
pub(crate) const FIXED_BYTES: usize = 112;

/// The first bytes of every record.
pub(crate) const MAGIC: [u8; 8] = *b"sgrecord";
const ITEM_BYTES: usize = 36;
const CHECKSUM_BYTES: usize = 32;

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum RecordKind {
    /// Entries of one sandbox, with the nodes they need.
    Append = 1,
    /// Nodes ahead of the entries that need them.
    Nodes = 2,
    /// The first of a segment that was rewritten: what it stands for.
    Rewritten = 3,
}

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    pub(crate) kind: RecordKind,
    /// How many entries lead the table.
    pub(crate) entries: u32,
    /// How many nodes follow them.
    pub(crate) nodes: u32,
    /// The whole record, padding too, in bytes.
    pub(crate) length: u64,
    /// The record's number in the journal, from 1, without gaps.
    pub(crate) seq: u64,
    /// Which opening of the store wrote it.
    pub(crate) epoch: u64,
    /// The newest record that was durable when this one was written.
    pub(crate) synced: u64,
    /// Where it lies in its segment.
    pub(crate) offset: u64,
    /// Whose entries; zeros when there are none.
    pub(crate) sandbox: SandboxId,
    /// The checksum of the record before; zeros before the first.
    pub(crate) previous: [u8; 32],
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRecord(pub(crate) &'static str);

/// A record whose header and table are verified.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) header: RecordHeader,
    pub(crate) checksum: [u8; 32],
    bytes: &'a [u8],
}

/// Returns how long a record of items of these lengths is.
pub(crate) fn encoded_length(items: usize, payload_bytes: u64) -> u64 {
    let table = (FIXED_BYTES + items * ITEM_BYTES + CHECKSUM_BYTES) as u64;
    (table + payload_bytes).next_multiple_of(ALIGNMENT as u64)
}

/// Appends a record to `out` and returns its checksum and where its items lie.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    key: &[u8; 32],
    segment: SegmentId,
    header: &RecordHeader,
    items: &[(NodeId, &[u8])],
) -> ([u8; 32], Vec<Placed>) {
    let start = out.len();
    let fields: [&[u8]; 10] = [
        &MAGIC,
        &(header.kind as u32).to_le_bytes(),
        &header.entries.to_le_bytes(),
        &header.nodes.to_le_bytes(),
        &[0; 4],
        &header.length.to_le_bytes(),
        &header.seq.to_le_bytes(),
        &header.epoch.to_le_bytes(),
        &header.synced.to_le_bytes(),
        &header.offset.to_le_bytes(),
    ];
    fields.iter().for_each(|field| out.extend_from_slice(field));
    out.extend_from_slice(&header.sandbox.0);
    out.extend_from_slice(&header.previous);
    debug_assert_eq!(out.len() - start, FIXED_BYTES);
    let mut placed = Vec::with_capacity(items.len());
    let mut offset = header.offset + (FIXED_BYTES + items.len() * ITEM_BYTES + CHECKSUM_BYTES) as u64;
    for (id, bytes) in items {
        // The caller has checked every item against the largest node.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        placed.push((*id, Location { segment, offset, length }));
        offset += u64::from(length);
    }
    let checksum = *blake3::keyed_hash(key, &out[start..]).as_bytes();
    out.extend_from_slice(&checksum);
    items.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
    out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
    debug_assert_eq!((out.len() - start) as u64, header.length);
    (checksum, placed)
}

/// Returns how long the head (fixed part, table and checksum) of a record is, of which at most `available` bytes are there.
pub(crate) fn head_length(fixed: &[u8], offset: u64, available: u64) -> Result<usize, NoRecord> {
    if fixed.len() < FIXED_BYTES || fixed[..8] != MAGIC {
        return Err(NoRecord("no record begins here"));
    }
    if u64_at(fixed, 56) != offset {
        return Err(NoRecord("the record was written for another place"));
    }
    let length = u64_at(fixed, 24);
    if length > available {
        return Err(NoRecord("the file ends within a record"));
    }
    let items = u64::from(u32_at(fixed, 12)) + u64::from(u32_at(fixed, 16));
    let head = items * ITEM_BYTES as u64 + (FIXED_BYTES + CHECKSUM_BYTES) as u64;
    let fits = (head <= length).then(|| usize::try_from(head).ok()).flatten();
    fits.ok_or(NoRecord("the record's table does not fit into it"))
}

/// Reads a record's whole head; returns its header and checksum.
pub(crate) fn parse_head(head: &[u8], key: &[u8; 32], offset: u64) -> Result<(RecordHeader, [u8; 32]), NoRecord> {
    let checked = head.len().saturating_sub(CHECKSUM_BYTES);
    let kind = match u32_at(head, 8) {
        1 => RecordKind::Append,
        2 => RecordKind::Nodes,
        3 => RecordKind::Rewritten,
        _ => return Err(NoRecord("the record is of an unknown kind")),
    };
    let checksum = hash_at(head, checked);
    if blake3::keyed_hash(key, &head[..checked]) != checksum {
        return Err(NoRecord("the record does not match its checksum"));
    }
    let header = RecordHeader {
        kind,
        entries: u32_at(head, 12),
        nodes: u32_at(head, 16),
        length: u64_at(head, 24),
        seq: u64_at(head, 32),
        epoch: u64_at(head, 40),
        synced: u64_at(head, 48),
        offset,
        sandbox: SandboxId(sandbox_at(head, 64)),
        previous: hash_at(head, 80),
    };
    let payload: u64 = table(head).map(|(_, length)| u64::from(length)).sum();
    if encoded_length(table(head).count(), payload) != header.length {
        return Err(NoRecord("the record's length does not match its table"));
    }
    Ok((header, checksum))
}

/// Gives the ids and lengths of a head's items, entries first.
pub(crate) fn table(head: &[u8]) -> impl Iterator<Item = (NodeId, u32)> {
    let rows = head.len().saturating_sub(FIXED_BYTES + CHECKSUM_BYTES) / ITEM_BYTES;
    let row = move |item| FIXED_BYTES + item * ITEM_BYTES;
    (0..rows).map(move |item| (NodeId(hash_at(head, row(item))), u32_at(head, row(item) + 32)))
}

impl<'a> Record<'a> {
    /// Reads the record that `bytes` begin with, which lie at `offset` of a segment: its header and table, not its payload.
    pub(crate) fn parse(bytes: &'a [u8], key: &[u8; 32], offset: u64) -> Result<Self, NoRecord> {
        let fixed = bytes.get(..FIXED_BYTES).ok_or(NoRecord("the file ends within a record"))?;
        let head_bytes = head_length(fixed, offset, bytes.len() as u64)?;
        let (header, checksum) = parse_head(&bytes[..head_bytes], key, offset)?;
        // The head was checked against how many bytes there are, and the length against the head.
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        Ok(Self { header, checksum, bytes: &bytes[..length] })
    }

    fn items(&self) -> usize {
        self.header.entries as usize + self.header.nodes as usize
    }

    /// Gives each item with where it lies in the segment and its bytes: entries first.
    pub(crate) fn placed(&self, segment: SegmentId) -> impl Iterator<Item = (Placed, &'a [u8])> {
        let bytes = self.bytes;
        let base = self.header.offset;
        let mut within = FIXED_BYTES + self.items() * ITEM_BYTES + CHECKSUM_BYTES;
        (0..self.items()).map(move |item| {
            let row = FIXED_BYTES + item * ITEM_BYTES;
            let length = u32_at(bytes, row + 32);
            let payload = &bytes[within..within + length as usize];
            let location = Location { segment, offset: base + within as u64, length };
            within += length as usize;
            ((NodeId(hash_at(bytes, row)), location), payload)
        })
    }

    /// Verifies every item against its id, and that the padding is zeros.
    pub(crate) fn verify(&self) -> Result<(), NoRecord> {
        let mut end = FIXED_BYTES + self.items() * ITEM_BYTES + CHECKSUM_BYTES;
        for ((id, _), bytes) in self.placed(SegmentId::default()) {
            if node_id(bytes) != id {
                return Err(NoRecord("a node of the record does not match its name"));
            }
            end += bytes.len();
        }
        if self.bytes[end..].iter().any(|&byte| byte != 0) {
            return Err(NoRecord("the record's padding is not zeros"));
        }
        Ok(())
    }
}

fn sandbox_at(bytes: &[u8], offset: usize) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[offset..offset + 16]);
    id
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 32] = [5; 32];

    fn record(nodes: &[&[u8]]) -> Vec<u8> {
        let items: Vec<_> = nodes.iter().map(|bytes| (node_id(bytes), *bytes)).collect();
        let header = RecordHeader {
            kind: RecordKind::Nodes,
            entries: 0,
            nodes: items.len() as u32,
            length: encoded_length(items.len(), nodes.iter().map(|bytes| bytes.len() as u64).sum()),
            seq: 3,
            epoch: 2,
            synced: 1,
            offset: 128,
            sandbox: SandboxId([9; 16]),
            previous: [8; 32],
        };
        let mut out = Vec::new();
        let (_, placed) = encode(&mut out, &KEY, SegmentId::plain(1), &header, &items);
        let parsed = Record::parse(&out, &KEY, 128).unwrap();
        assert_eq!(parsed.header, header);
        parsed.verify().unwrap();
        assert_eq!(parsed.placed(SegmentId::plain(1)).map(|(placed, _)| placed).collect::<Vec<_>>(), placed);
        out
    }

    fn is_whole(bytes: &[u8]) -> bool {
        Record::parse(bytes, &KEY, 128).is_ok_and(|record| record.verify().is_ok())
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = record(&[b"\x04abc", b"", b"\x04hello"]);
        for place in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[place / 8] ^= 1 << (place % 8);
            assert!(!is_whole(&flipped), "bit {place}");
        }
        (0..bytes.len()).for_each(|length| assert!(!is_whole(&bytes[..length]), "cut at {length}"));
    }

    #[test]
    fn a_record_of_another_segment_or_place_is_none_here() {
        let bytes = record(&[b"\x04x"]);
        assert!(Record::parse(&bytes, &[6; 32], 128).is_err());
        assert!(Record::parse(&bytes, &KEY, 256).is_err());
    }

    proptest! {
        /// Whatever a record's fixed part and table say, with a checksum that matches, reading it ends in an answer.
        #[test]
        fn numbers_that_lie_are_refused(counts: [u32; 2], length: u64, table: Vec<u8>, small: bool) {
            let mut bytes = record(&[b"\x04abc", b"\x04d"]);
            let (counts, length) = if small { (counts.map(|count| count % 5), length % 400) } else { (counts, length) };
            bytes[12..16].copy_from_slice(&counts[0].to_le_bytes());
            bytes[16..20].copy_from_slice(&counts[1].to_le_bytes());
            bytes[24..32].copy_from_slice(&length.to_le_bytes());
            bytes.splice(FIXED_BYTES.., table);
            bytes.resize(bytes.len().max(400), 0);
            let checked = (counts[0] as usize).saturating_add(counts[1] as usize).saturating_mul(ITEM_BYTES);
            let checked = checked.saturating_add(FIXED_BYTES);
            if checked + CHECKSUM_BYTES <= bytes.len() {
                let checksum = blake3::keyed_hash(&KEY, &bytes[..checked]);
                bytes[checked..checked + CHECKSUM_BYTES].copy_from_slice(checksum.as_bytes());
            }
            if let Ok(record) = Record::parse(&bytes, &KEY, 128) {
                prop_assert_eq!(record.placed(SegmentId::plain(1)).count(), (counts[0] + counts[1]) as usize);
            }
        }
    }

    #[test]
    fn a_record_may_be_empty() {
        assert_eq!(record(&[]).len(), encoded_length(0, 0) as usize);
    }
}
