//! What an opening store does with the segments it finds: read every record after a known position, tell a torn tail (cut)
//! from damage (reported), and leave the last segment ready to be written on.
//!
//! A record that does not verify is a torn tail only if nothing after it shows that it was durable once: every record
//! says up to which record the journal was synced when it was written.

use std::sync::Arc;

use super::disk::{SegmentFile, SegmentStore};
use super::layout::Layout;
use super::reader::OpenedSegment;
use super::record::{ALIGNMENT, NoRecord, Record, RecordHeader, RecordKind};
use super::segment::{HEADER_BYTES, Position, SegmentId};
use crate::error::StoreError;

/// A segment that can be written on.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) id: SegmentId,
    pub(crate) file: Arc<dyn SegmentFile>,
    pub(crate) key: [u8; 32],
    /// Where the next record begins.
    pub(crate) offset: u64,
    /// Where the zeros end that records are written over; `offset` when there are none.
    pub(crate) filled: u64,
}

/// What recovery found.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The last whole record.
    pub(crate) last: Position,
    /// The last segment; none in a new store, and when the last was rewritten.
    pub(crate) active: Option<OpenSegment>,
    /// The number of the segment after the last.
    pub(crate) next_number: u32,
    /// How many segments there are.
    pub(crate) segments: u64,
    /// How many bytes of a torn tail there were.
    pub(crate) cut_bytes: u64,
}

/// Reads all whole records after `from`, in order, and cuts a torn tail. `None` says that `from` is the middle of a segment
/// that was rewritten since: then only a new index can be right.
///
/// # Errors
/// [`StoreError::DamagedFile`] when a record that was durable does not verify or is gone.
pub(crate) fn recover(
    disk: &dyn SegmentStore,
    layout: &Layout,
    from: Option<Position>,
    on_record: &mut dyn FnMut(&Record<'_>, Position) -> Result<(), StoreError>,
) -> Result<Option<Recovered>, StoreError> {
    let segments = layout.segments.len() as u64;
    let mut last = from.unwrap_or_default();
    let next_number = layout.segments.last().map_or(1, |(_, last)| last.saturating_add(1));
    let mut recovered = Recovered { last, active: None, next_number, segments, cut_bytes: 0 };
    let Some(&(newest, _)) = layout.segments.last() else {
        return match from {
            Some(_) => Err(damaged(disk, last.segment, last.start, "the segment is gone")),
            None => Ok(Some(recovered)),
        };
    };
    let first = layout.of_number(last.segment.number.max(1));
    let first = first.ok_or_else(|| damaged(disk, last.segment, last.start, "the segment is gone"))?;
    for &(id, _) in layout.segments.iter().filter(|(id, _)| *id >= first) {
        let found = OpenedSegment::open(disk, id)?;
        let is_first = from.is_some() && id == first;
        if let (true, Some(end)) = (is_first, found.end()) {
            if (end.seq, end.checksum) != (last.seq, last.checksum) {
                return Ok(None);
            }
            last = end;
            continue;
        }
        if id == newest {
            // What is read back now may never have been synced by whoever wrote it.
            found.file.sync_data().map_err(|source| io_error(disk, "sync", &id.name(), source))?;
        }
        let start = if is_first { last.start } else { HEADER_BYTES };
        let bytes = read_from(disk, &found, start)?;
        let mut scan = Scan { disk, found: &found, bytes: &bytes, start, offset: start };
        if is_first {
            scan.expect_last(last)?;
        } else if (found.header.previous, found.header.first_seq) != (last.checksum, last.seq + 1) {
            return Err(damaged(disk, id, 0, "the segment does not follow the one before it: records are missing"));
        }
        let failure = scan.records(&mut last, on_record)?;
        let end = scan.offset;
        let torn = match failure {
            None => 0,
            Some(NoRecord(reason)) => {
                if id != newest || scan.was_synced(last.seq + 1) {
                    return Err(damaged(disk, id, end, reason));
                }
                scan.torn_bytes()
            }
        };
        if let Some(whole) = found.end() {
            if end != whole.end {
                return Err(damaged(disk, id, end, "records are missing at its end"));
            }
            last = whole;
        } else if id == newest {
            recovered.cut_bytes = torn;
            recovered.active = Some(cut(disk, &found, end, torn)?);
        }
    }
    recovered.last = last;
    Ok(Some(recovered))
}

fn read_from(disk: &dyn SegmentStore, found: &OpenedSegment, start: u64) -> Result<Vec<u8>, StoreError> {
    let length = found.length.checked_sub(start).and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| damaged(disk, found.id(), found.length, "records are missing at its end"))?;
    let mut bytes = vec![0; length];
    found.file.read_exact_at(&mut bytes, start).map_err(|source| io_error(disk, "read", &found.id().name(), source))?;
    Ok(bytes)
}

/// One segment's bytes from `start` on, and how far they were read.
struct Scan<'a> {
    disk: &'a dyn SegmentStore,
    found: &'a OpenedSegment,
    bytes: &'a [u8],
    start: u64,
    offset: u64,
}

impl<'a> Scan<'a> {
    fn at(&self, offset: u64) -> &'a [u8] {
        usize::try_from(offset - self.start).ok().and_then(|from| self.bytes.get(from..)).unwrap_or_default()
    }

    fn parse(&self, offset: u64) -> Result<Record<'a>, NoRecord> {
        Record::parse(self.at(offset), &self.found.header.key, offset)
    }

    /// Steps over the record that the index saw last, making sure that it is still there.
    fn expect_last(&mut self, last: Position) -> Result<(), StoreError> {
        let is_last = |record: &Record<'_>| {
            let RecordHeader { seq, epoch, length, .. } = record.header;
            let ends = last.start.checked_add(length) == Some(last.end);
            ends && (seq, epoch, record.checksum) == (last.seq, last.epoch, last.checksum) && record.verify().is_ok()
        };
        if self.parse(last.start).is_ok_and(|record| is_last(&record)) {
            self.offset = last.end;
            return Ok(());
        }
        let reason =
            "the index has seen a record here that is damaged or gone; remove the index to go on with what is left";
        Err(damaged(self.disk, last.segment, last.start, reason))
    }

    /// Reads records until one does not verify (returned) or the rest is zeros.
    fn records(
        &mut self,
        last: &mut Position,
        on_record: &mut dyn FnMut(&Record<'_>, Position) -> Result<(), StoreError>,
    ) -> Result<Option<NoRecord>, StoreError> {
        let is_rewritten = self.found.rewritten.is_some();
        // In a segment that was rewritten records are missing, and each names the one before it that is left.
        let mut before = last.checksum;
        loop {
            let rest = self.at(self.offset);
            if rest.first().is_none_or(|&byte| byte == 0) && is_zero(rest) {
                return Ok(None);
            }
            let record = match self.parse(self.offset).and_then(|record| record.verify().map(|()| record)) {
                Ok(record) => record,
                Err(failure) => return Ok(Some(failure)),
            };
            let RecordHeader { seq, epoch, previous, length, .. } = record.header;
            let follows = if is_rewritten { seq >= last.seq } else { seq == last.seq + 1 };
            if !follows || previous != before || epoch < last.epoch {
                return Ok(Some(NoRecord("the record does not follow the one before it")));
            }
            let (start, end) = (self.offset, self.offset + length);
            before = record.checksum;
            *last = Position { segment: self.found.id(), start, end, seq, epoch, checksum: record.checksum };
            if record.header.kind != RecordKind::Rewritten {
                on_record(&record, *last)?;
            }
            self.offset = end;
        }
    }

    /// Says whether a record further on knew record `seq` to be durable.
    fn was_synced(&self, seq: u64) -> bool {
        let step = ALIGNMENT as u64;
        let end = self.start + self.bytes.len() as u64;
        let mut offset = self.offset + step;
        while offset < end {
            if self.parse(offset).is_ok_and(|record| record.header.seq > seq && record.header.synced >= seq) {
                return true;
            }
            offset += step;
        }
        false
    }

    /// Returns how many bytes there are up to the last that is not zero.
    fn torn_bytes(&self) -> u64 {
        let rest = self.at(self.offset);
        rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
    }
}

/// Makes the torn tail zeros again, durably, so that nothing of it can ever be taken for a record.
fn cut(disk: &dyn SegmentStore, found: &OpenedSegment, end: u64, torn: u64) -> Result<OpenSegment, StoreError> {
    const STEP: usize = 1 << 20;
    let name = found.id().name();
    let failed = |source| io_error(disk, "cut the torn tail of", &name, source);
    if torn > 0 {
        tracing::warn!(segment = %name, at = end, bytes = torn, "cutting a torn tail");
        let zeros = vec![0; STEP.min(usize::try_from(torn).unwrap_or(STEP))];
        let mut offset = end;
        while offset < end + torn {
            let step = (end + torn - offset).min(zeros.len() as u64);
            found.file.write_all_at(&zeros[..usize::try_from(step).unwrap_or(0)], offset).map_err(failed)?;
            offset += step;
        }
        found.file.sync_data().map_err(failed)?;
    }
    let (id, file, key) = (found.id(), Arc::clone(&found.file), found.header.key);
    Ok(OpenSegment { id, file, key, offset: end, filled: found.length.max(end) })
}

/// Says whether all bytes are zero.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && tail.iter().all(|&byte| byte == 0)
}

pub(crate) fn damaged(disk: &dyn SegmentStore, segment: SegmentId, offset: u64, reason: &str) -> StoreError {
    StoreError::DamagedFile { path: disk.path(&segment.name()), offset, reason: reason.to_owned() }
}

pub(crate) fn io_error(
    disk: &dyn SegmentStore,
    action: &'static str,
    name: &str,
    source: std::io::Error,
) -> StoreError {
    StoreError::Io { action, path: disk.path(name), source }
}
