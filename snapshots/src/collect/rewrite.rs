//! Rewriting segments without what nobody needs.
//!
//! Some segments in a row become one that stands for all of them: the records that are left, in their order, chained anew,
//! after one that says what was last in the originals, so that the segment after them still follows. It is whole and durable
//! before it gets its name; the originals go when the index knows where everything is.

use std::sync::Arc;

use crate::error::StoreError;
use crate::id::NodeId;
use crate::journal::disk::{Disk, SegmentFile};
use crate::journal::reader::{OpenedSegment, Rewritten, Table};
use crate::journal::record::{RecordHeader, RecordKind, encode, encoded_length};
use crate::journal::recovery::{damaged, io_error};
use crate::journal::segment::{HEADER_BYTES, Placed, REWRITING, SegmentHeader, SegmentId};
use crate::node::node_id;

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// Who stays, of the nodes and entries of a segment.
pub(super) type Stays<'a> = &'a dyn Fn(&NodeId) -> bool;

/// Writes what stays of some segments in a row to one new segment and gives it its name.
///
/// `pause` is called after every mebibyte; an error of it ends the work with nothing changed.
///
/// # Errors
/// [`StoreError::DamagedNode`] when something that stays does not match its name: nothing is changed then.
pub(super) fn rewrite(
    disk: &dyn Disk,
    segments: &[OpenedSegment],
    stays: Stays<'_>,
    pause: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<Rewrite, StoreError> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(Rewrite::default()) };
    let rewrite = segments.iter().map(|segment| segment.id().rewrite).max().unwrap_or(0).saturating_add(1);
    let id = SegmentId { number: first.id().number, rewrite };
    let plan = Plan::of(disk, segments, stays)?;
    let mut hasher = blake3::Hasher::new_derive_key("sandglass 2026 rewritten segment key");
    hasher.update(&first.header.key).update(&rewrite.to_le_bytes());
    let SegmentHeader { epoch, first_seq, previous, .. } = first.header;
    let header = SegmentHeader { id, epoch, first_seq, previous, key: *hasher.finalize().as_bytes() };
    let stands_for = Rewritten { last_number: last.last_number(), length: plan.length, ..plan.last };
    let failed = |action| move |source| io_error(disk, action, REWRITING, source);
    let file = disk.create(REWRITING).map_err(failed("create"))?;
    let mut output = Output { disk, file, id, key: header.key, buffer: Vec::new(), offset: 0, previous };
    output.buffer.extend_from_slice(&header.to_bytes());
    let written = output.segment(segments, stays, &header, stands_for, pause);
    let length = written.inspect_err(|_| drop(disk.remove(REWRITING)))?;
    if length != plan.length {
        return Err(damaged(disk, first.id(), 0, "the segment changed while it was rewritten"));
    }
    disk.rename(REWRITING, &id.name()).map_err(failed("name"))?;
    let before = segments.iter().map(|segment| segment.length).sum();
    Ok(Rewrite { id, last_number: last.last_number(), bytes_before: before, bytes_after: length })
}

/// What a rewriting did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rewrite {
    pub(super) id: SegmentId,
    pub(super) last_number: u32,
    pub(super) bytes_before: u64,
    pub(super) bytes_after: u64,
}

/// What has to be known before the first byte is written.
struct Plan {
    length: u64,
    last: Rewritten,
}

impl Plan {
    fn of(disk: &dyn Disk, segments: &[OpenedSegment], stays: Stays<'_>) -> Result<Self, StoreError> {
        let mut last = Rewritten { last_number: 0, last_seq: 0, last_epoch: 0, last_checksum: [0; 32], length: 0 };
        let mut length = HEADER_BYTES + encoded_length(1, last.to_bytes().len() as u64);
        for segment in segments {
            let SegmentHeader { first_seq, epoch, previous, .. } = segment.header;
            (last.last_seq, last.last_epoch, last.last_checksum) = (first_seq - 1, epoch, previous);
            let mut records = segment.records(disk);
            while let Some(table) = records.next()? {
                (last.last_seq, last.last_epoch) = (table.header.seq, table.header.epoch);
                last.last_checksum = table.checksum;
                let left = staying(&table, stays);
                if !left.is_empty() {
                    let payload = left.iter().map(|(_, location)| u64::from(location.length)).sum();
                    length += encoded_length(left.len(), payload);
                }
            }
            if let Some(end) = segment.end() {
                (last.last_seq, last.last_epoch, last.last_checksum) = (end.seq, end.epoch, end.checksum);
            }
        }
        Ok(Self { length, last })
    }
}

fn staying(table: &Table, stays: Stays<'_>) -> Vec<Placed> {
    if table.header.kind == RecordKind::Rewritten {
        return Vec::new();
    }
    table.items.iter().filter(|(id, _)| stays(id)).copied().collect()
}

struct Output<'a> {
    disk: &'a dyn Disk,
    file: Arc<dyn SegmentFile>,
    id: SegmentId,
    key: [u8; 32],
    buffer: Vec<u8>,
    /// How much is in the file already.
    offset: u64,
    previous: [u8; 32],
}

impl Output<'_> {
    fn segment(
        &mut self,
        segments: &[OpenedSegment],
        stays: Stays<'_>,
        header: &SegmentHeader,
        stands_for: Rewritten,
        pause: &mut dyn FnMut() -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let about = stands_for.to_bytes();
        let first = RecordHeader {
            kind: RecordKind::Rewritten,
            entries: 0,
            nodes: 1,
            length: 0,
            seq: header.first_seq,
            epoch: header.epoch,
            synced: 0,
            offset: 0,
            sandbox: crate::id::SandboxId([0; 16]),
            previous: [0; 32],
        };
        self.record(first, 0, &[(node_id(&about), &about)])?;
        for segment in segments {
            let mut records = segment.records(self.disk);
            while let Some(table) = records.next()? {
                let left = staying(&table, stays);
                if left.is_empty() {
                    continue;
                }
                let entry_names = &table.items[..table.header.entries as usize];
                let entries = left.iter().filter(|kept| entry_names.contains(kept)).count();
                let payloads = left.iter().map(|(id, location)| {
                    let bytes = segment.read(self.disk, *location)?;
                    // Damage is found here, and not carried on under a new checksum.
                    if node_id(&bytes) == *id {
                        return Ok(bytes);
                    }
                    let path = self.disk.path(&segment.id().name());
                    let reason =
                        format!("its bytes do not match its name ({}, byte {})", path.display(), location.offset);
                    Err(StoreError::DamagedNode { node: *id, reason })
                });
                let payloads = payloads.collect::<Result<Vec<_>, StoreError>>()?;
                let items: Vec<_> = left.iter().zip(&payloads).map(|((id, _), bytes)| (*id, &bytes[..])).collect();
                self.record(table.header, entries, &items)?;
                if self.buffer.len() >= WRITE_BYTES {
                    self.flush()?;
                    pause()?;
                }
            }
        }
        self.flush()?;
        self.file.sync_data().map_err(|source| io_error(self.disk, "sync", REWRITING, source))?;
        Ok(self.offset)
    }

    /// Adds a record like another one with these items.
    fn record(&mut self, like: RecordHeader, entries: usize, items: &[(NodeId, &[u8])]) -> Result<(), StoreError> {
        let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let payload = items.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let header = RecordHeader {
            entries: count(entries),
            nodes: count(items.len() - entries),
            length: encoded_length(items.len(), payload),
            offset: self.offset + self.buffer.len() as u64,
            previous: self.previous,
            ..like
        };
        let (checksum, _) = encode(&mut self.buffer, &self.key, self.id, &header, items);
        self.previous = checksum;
        if self.buffer.len() >= 8 * WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let written = self.file.write_all_at(&self.buffer, self.offset);
        written.map_err(|source| io_error(self.disk, "write", REWRITING, source))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
