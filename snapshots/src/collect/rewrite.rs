//! Rewriting segments without what nobody needs.
//!
//! Some segments in a row become one that stands for all of them: the records that are left, in their order, chained anew,
//! after one that says what was last in the originals, so that the segment after them still follows. It is whole and durable
//! before it gets its name; the originals go when the index knows where everything is.

use std::sync::Arc;

use crate::error::StoreError;
use crate::id::NodeId;
use crate::journal::disk::{SegmentFile, SegmentStore};
use crate::journal::reader::{OpenedSegment, Rewritten, Table};
use crate::journal::record::{RecordHeader, RecordKind, encode, encoded_length};
use crate::journal::recovery::{damaged, io_error};
use crate::journal::segment::{HEADER_BYTES, Placed, REWRITING, SegmentHeader, SegmentId};
use crate::node::node_id;

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// Who stays, of the nodes and entries of a segment.
pub(crate) type Stays<'a> = &'a dyn Fn(&Placed) -> bool;

/// Shows the records of a segment, in order; all of them, or those that are whole.
pub(crate) type Show<'a> =
    &'a dyn Fn(&OpenedSegment, &mut dyn FnMut(Table) -> Result<(), StoreError>) -> Result<(), StoreError>;

/// Shows all records; any that is not whole is an error.
pub(crate) fn every_record(
    disk: &dyn SegmentStore,
    segment: &OpenedSegment,
    visit: &mut dyn FnMut(Table) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut records = segment.records(disk);
    while let Some(table) = records.next()? {
        visit(table)?;
    }
    Ok(())
}

/// What a segment stands for and where in the journal it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) first: SegmentHeader,
    pub(crate) last_number: u32,
    /// The last record of the originals: number, epoch and checksum.
    pub(crate) last: (u64, u64, [u8; 32]),
}

impl Place {
    /// Returns the place of whole segments in a row.
    pub(crate) fn of(disk: &dyn SegmentStore, segments: &[OpenedSegment]) -> Result<Option<Self>, StoreError> {
        let (Some(first), Some(newest)) = (segments.first(), segments.last()) else { return Ok(None) };
        let mut last = (newest.header.first_seq - 1, newest.header.epoch, newest.header.previous);
        match newest.end() {
            Some(end) => last = (end.seq, end.epoch, end.checksum),
            None => every_record(disk, newest, &mut |table| {
                last = (table.header.seq, table.header.epoch, table.checksum);
                Ok(())
            })?,
        }
        Ok(Some(Self { first: first.header.clone(), last_number: newest.last_number(), last }))
    }
}

/// Writes what stays of some segments in a row to one new segment and gives it its name.
///
/// `pause` is called after every mebibyte; an error of it ends the work with nothing changed.
///
/// # Errors
/// [`StoreError::DamagedNode`] when something that stays does not match its name: nothing is changed then.
pub(crate) fn rewrite(
    disk: &dyn SegmentStore,
    place: &Place,
    segments: &[OpenedSegment],
    show: Show<'_>,
    stays: Stays<'_>,
    pause: &mut dyn FnMut() -> Result<(), StoreError>,
) -> Result<Rewrite, StoreError> {
    let rewrites = segments.iter().map(|segment| segment.id().rewrite);
    let rewrite = rewrites.chain([place.first.id.rewrite]).max().unwrap_or(0).saturating_add(1);
    let id = SegmentId { number: place.first.id.number, rewrite };
    let (last_seq, last_epoch, last_checksum) = place.last;
    let mut stands_for = Rewritten { last_number: place.last_number, last_seq, last_epoch, last_checksum, length: 0 };
    stands_for.length = HEADER_BYTES + encoded_length(1, stands_for.to_bytes().len() as u64);
    for segment in segments {
        show(segment, &mut |table| {
            let left = staying(&table, stays);
            if !left.is_empty() {
                let payload = left.iter().map(|(_, location)| u64::from(location.length)).sum();
                stands_for.length += encoded_length(left.len(), payload);
            }
            Ok(())
        })?;
    }
    let mut hasher = blake3::Hasher::new_derive_key("sandglass 2026 rewritten segment key");
    hasher.update(&place.first.key).update(&rewrite.to_le_bytes());
    let header = SegmentHeader { id, key: *hasher.finalize().as_bytes(), ..place.first.clone() };
    let failed = |action| move |source| io_error(disk, action, REWRITING, source);
    let file = disk.create(REWRITING).map_err(failed("create"))?;
    let previous = header.previous;
    let mut output = Output { disk, file, id, key: header.key, buffer: Vec::new(), offset: 0, previous };
    output.buffer.extend_from_slice(&header.to_bytes());
    let written = output.write(segments, show, stays, &header, stands_for, pause);
    let length = written.inspect_err(|_| drop(disk.remove(REWRITING)))?;
    if length != stands_for.length {
        return Err(damaged(disk, place.first.id, 0, "the segment changed while it was rewritten"));
    }
    disk.rename(REWRITING, &id.name()).map_err(failed("name"))?;
    let before = segments.iter().map(|segment| segment.length).sum();
    Ok(Rewrite { id, last_number: place.last_number, bytes_before: before, bytes_after: length })
}

/// What a rewriting did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rewrite {
    pub(crate) id: SegmentId,
    pub(crate) last_number: u32,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

fn staying(table: &Table, stays: Stays<'_>) -> Vec<Placed> {
    if table.header.kind == RecordKind::Rewritten {
        return Vec::new();
    }
    table.items.iter().filter(|placed| stays(placed)).copied().collect()
}

struct Output<'a> {
    disk: &'a dyn SegmentStore,
    file: Arc<dyn SegmentFile>,
    id: SegmentId,
    key: [u8; 32],
    buffer: Vec<u8>,
    /// How much is in the file already.
    offset: u64,
    previous: [u8; 32],
}

impl Output<'_> {
    fn write(
        &mut self,
        segments: &[OpenedSegment],
        show: Show<'_>,
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
            show(segment, &mut |table| {
                let left = staying(&table, stays);
                if left.is_empty() {
                    return Ok(());
                }
                let entry_names = &table.items[..table.header.entries as usize];
                let entries = left.iter().filter(|kept| entry_names.contains(kept)).count();
                let payloads = left.iter().map(|placed| self.payload(segment, placed));
                let payloads = payloads.collect::<Result<Vec<_>, StoreError>>()?;
                let items: Vec<_> = left.iter().zip(&payloads).map(|((id, _), bytes)| (*id, &bytes[..])).collect();
                self.record(table.header, entries, &items)?;
                if self.buffer.len() >= WRITE_BYTES {
                    self.flush()?;
                    pause()?;
                }
                Ok(())
            })?;
        }
        self.flush()?;
        self.file.sync_data().map_err(|source| io_error(self.disk, "sync", REWRITING, source))?;
        Ok(self.offset)
    }

    /// Reads what stays. Damage is found here, and not carried on under a new checksum.
    fn payload(&self, segment: &OpenedSegment, (id, location): &Placed) -> Result<Vec<u8>, StoreError> {
        let bytes = segment.read(self.disk, *location)?;
        if node_id(&bytes) == *id {
            return Ok(bytes);
        }
        let path = self.disk.path(&segment.id().name());
        let reason = format!("its bytes do not match its name ({}, byte {})", path.display(), location.offset);
        Err(StoreError::DamagedNode { node: *id, reason })
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
