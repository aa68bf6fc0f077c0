//! What an opening store does with the segments it finds: read every record after a known position, tell a torn tail (cut)
//! from damage (reported), and leave the last segment ready to be written on.
//!
//! A record that does not verify is a torn tail only if nothing after it shows that it was durable once: every record
//! says up to which record the journal was synced when it was written.

use std::sync::Arc;

use super::disk::{Disk, SegmentFile};
use super::record::{ALIGNMENT, NoRecord, Record, RecordHeader};
use super::segment::{self, FILLING, HEADER_BYTES, HeaderBytes, HeaderError, PLAIN, Position, SegmentHeader};
use crate::error::StoreError;

/// A segment that can be written on.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) number: u32,
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
    /// The last segment; none in a new store.
    pub(crate) active: Option<OpenSegment>,
    /// How many segments there are.
    pub(crate) segments: u64,
    /// How many bytes of a torn tail were cut.
    pub(crate) cut_bytes: u64,
}

/// Reads all whole records after `from`, in order, and cuts a torn tail.
///
/// # Errors
/// [`StoreError::DamagedFile`] when a record that was durable does not verify or is gone.
pub(crate) fn recover(
    disk: &dyn Disk,
    from: Option<Position>,
    on_record: &mut dyn FnMut(&Record<'_>, Position) -> Result<(), StoreError>,
) -> Result<Recovered, StoreError> {
    let numbers = segment_numbers(disk)?;
    let segments = numbers.len() as u64;
    let mut last = from.unwrap_or_default();
    let Some(&newest) = numbers.last() else {
        return match from {
            Some(_) => Err(damaged(disk, last.segment, last.start, "the segment is gone")),
            None => Ok(Recovered { last, active: None, segments, cut_bytes: 0 }),
        };
    };
    if from.is_some() && !(1..=newest).contains(&last.segment) {
        return Err(damaged(disk, last.segment, last.start, "the segment is gone"));
    }
    let mut recovered = Recovered { last, active: None, segments, cut_bytes: 0 };
    for number in last.segment.max(1)..=newest {
        let found = open_segment(disk, number)?;
        if number == newest {
            // What is read back now may never have been synced by whoever wrote it.
            let name = segment::name(number);
            found.file.sync_data().map_err(|source| io_error(disk, "sync", &name, source))?;
        }
        let start = if number == last.segment { last.start } else { HEADER_BYTES };
        let bytes = read_from(disk, &found, start)?;
        let mut scan = Scan { disk, found: &found, bytes: &bytes, start, offset: start };
        if number == last.segment {
            scan.expect_last(last)?;
        } else if (found.header.previous, found.header.first_seq) != (last.checksum, last.seq + 1) {
            return Err(damaged(disk, number, 0, "the segment does not follow the one before it: records are missing"));
        }
        let failure = scan.records(&mut last, on_record)?;
        let end = scan.offset;
        let torn = match failure {
            None => 0,
            Some(NoRecord(reason)) => {
                if number != newest || scan.was_synced(last.seq + 1) {
                    return Err(damaged(disk, number, end, reason));
                }
                scan.torn_bytes()
            }
        };
        if number == newest {
            recovered.cut_bytes = torn;
            recovered.active = Some(cut(disk, &found, end, torn)?);
        }
    }
    recovered.last = last;
    Ok(recovered)
}

struct Found {
    number: u32,
    file: Arc<dyn SegmentFile>,
    header: SegmentHeader,
    length: u64,
}

fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u32>, StoreError> {
    let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
    for unnamed in names.iter().filter(|name| *name == FILLING || *name == PLAIN) {
        disk.remove(unnamed).map_err(|source| io_error(disk, "remove", unnamed, source))?;
    }
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    match numbers.iter().zip(1u32..).find(|(number, expected)| *number != expected) {
        Some((_, missing)) => Err(damaged(disk, missing, 0, "the segment is gone")),
        None => Ok(numbers),
    }
}

fn open_segment(disk: &dyn Disk, number: u32) -> Result<Found, StoreError> {
    let name = segment::name(number);
    let file = disk.open(&name).map_err(|source| io_error(disk, "open", &name, source))?;
    let length = file.length().map_err(|source| io_error(disk, "measure", &name, source))?;
    if length < HEADER_BYTES {
        return Err(damaged(disk, number, length, "the segment ends within its header"));
    }
    let mut bytes: HeaderBytes = [0; 128];
    file.read_exact_at(&mut bytes, 0).map_err(|source| io_error(disk, "read", &name, source))?;
    let header = SegmentHeader::from_bytes(&bytes).map_err(|error| match error {
        HeaderError::Damaged(reason) => damaged(disk, number, 0, reason),
        HeaderError::Newer(found) => {
            let what = disk.path(&name).display().to_string();
            StoreError::NewerFormat { what, found, known: segment::SEGMENT_VERSION }
        }
    })?;
    if header.number != number {
        return Err(damaged(disk, number, 12, "the header has another segment's number"));
    }
    Ok(Found { number, file, header, length })
}

fn read_from(disk: &dyn Disk, found: &Found, start: u64) -> Result<Vec<u8>, StoreError> {
    let length = found.length.checked_sub(start).and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or_else(|| damaged(disk, found.number, found.length, "records are missing at its end"))?;
    let mut bytes = vec![0; length];
    found
        .file
        .read_exact_at(&mut bytes, start)
        .map_err(|source| io_error(disk, "read", &segment::name(found.number), source))?;
    Ok(bytes)
}

/// One segment's bytes from `start` on, and how far they were read.
struct Scan<'a> {
    disk: &'a dyn Disk,
    found: &'a Found,
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
            if seq != last.seq + 1 || previous != last.checksum || epoch < last.epoch {
                return Ok(Some(NoRecord("the record does not follow the one before it")));
            }
            let (start, end) = (self.offset, self.offset + length);
            *last = Position { segment: self.found.number, start, end, seq, epoch, checksum: record.checksum };
            on_record(&record, *last)?;
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
fn cut(disk: &dyn Disk, found: &Found, end: u64, torn: u64) -> Result<OpenSegment, StoreError> {
    const STEP: usize = 1 << 20;
    let name = segment::name(found.number);
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
    let (number, file, key) = (found.number, Arc::clone(&found.file), found.header.key);
    Ok(OpenSegment { number, file, key, offset: end, filled: found.length.max(end) })
}

/// Says whether all bytes are zero.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, tail) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && tail.iter().all(|&byte| byte == 0)
}

pub(crate) fn damaged(disk: &dyn Disk, number: u32, offset: u64, reason: &str) -> StoreError {
    StoreError::DamagedFile { path: disk.path(&segment::name(number)), offset, reason: reason.to_owned() }
}

pub(crate) fn io_error(disk: &dyn Disk, action: &'static str, name: &str, source: std::io::Error) -> StoreError {
    StoreError::Io { action, path: disk.path(name), source }
}
