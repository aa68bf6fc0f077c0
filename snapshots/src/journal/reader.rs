//! Reading a segment that nobody writes on any more, record by record, in memory that a record bounds.

use std::sync::Arc;

use super::disk::{SegmentFile, SegmentStore};
use super::record::{ALIGNMENT, FIXED_BYTES, NoRecord, RecordHeader, RecordKind, head_length, parse_head, table};
use super::recovery::{damaged, io_error};
use super::segment::{self, HEADER_BYTES, HeaderBytes, HeaderError, Placed, SegmentHeader, SegmentId};
use super::{segment::Location, segment::Position};
use crate::codec::{CodecError, Reader as Decoder, Writer as Encoder};
use crate::error::StoreError;
use crate::node::node_id;

/// The first byte of what a rewritten segment says of itself: no node begins with it.
const REWRITTEN: u8 = 0xf0;

/// What a segment that was rewritten stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// The last of the segments whose records are in it.
    pub(crate) last_number: u32,
    /// The newest record of those, whether it is still in it or not.
    pub(crate) last_seq: u64,
    /// Its epoch.
    pub(crate) last_epoch: u64,
    /// Its checksum, which the segment after it names.
    pub(crate) last_checksum: [u8; 32],
    /// How long the file is.
    pub(crate) length: u64,
}

impl Rewritten {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Encoder::with_kind(REWRITTEN);
        // Fixed widths: the length of the file does not depend on itself.
        out.raw(&self.last_number.to_le_bytes()).raw(&self.last_seq.to_le_bytes()).raw(&self.last_epoch.to_le_bytes());
        out.raw(&self.last_checksum).raw(&self.length.to_le_bytes());
        out.into_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Decoder::new(bytes);
        if input.u8()? != REWRITTEN {
            return Err(CodecError::Range("what a rewritten segment says of itself"));
        }
        let fixed = Self {
            last_number: segment::u32_at(input.raw(4)?, 0),
            last_seq: segment::u64_at(input.raw(8)?, 0),
            last_epoch: segment::u64_at(input.raw(8)?, 0),
            last_checksum: input.hash()?,
            length: segment::u64_at(input.raw(8)?, 0),
        };
        input.end()?;
        Ok(fixed)
    }
}

/// A segment that was opened for reading.
#[derive(Clone, Debug)]
pub(crate) struct OpenedSegment {
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn SegmentFile>,
    pub(crate) length: u64,
    /// What it stands for, if it was rewritten.
    pub(crate) rewritten: Option<Rewritten>,
}

impl OpenedSegment {
    /// Opens a segment and reads what it says of itself.
    pub(crate) fn open(disk: &dyn SegmentStore, id: SegmentId) -> Result<Self, StoreError> {
        let name = id.name();
        let file = disk.open(&name).map_err(|source| io_error(disk, "open", &name, source))?;
        let length = file.length().map_err(|source| io_error(disk, "measure", &name, source))?;
        if length < HEADER_BYTES {
            return Err(damaged(disk, id, length, "the segment ends within its header"));
        }
        let mut bytes: HeaderBytes = [0; 128];
        file.read_exact_at(&mut bytes, 0).map_err(|source| io_error(disk, "read", &name, source))?;
        let header = SegmentHeader::from_bytes(&bytes, id.rewrite).map_err(|error| match error {
            HeaderError::Damaged(reason) => damaged(disk, id, 0, reason),
            HeaderError::Newer(found) => {
                let what = disk.path(&name).display().to_string();
                StoreError::NewerFormat { what, found, known: segment::SEGMENT_VERSION }
            }
        })?;
        if header.id != id {
            return Err(damaged(disk, id, 12, "the header has another segment's number"));
        }
        let mut opened = Self { header, file, length, rewritten: None };
        if id.rewrite > 0 {
            opened.rewritten = Some(opened.read_rewritten(disk)?);
        }
        Ok(opened)
    }

    pub(crate) const fn id(&self) -> SegmentId {
        self.header.id
    }

    /// Returns the last segment number that it stands for.
    pub(crate) fn last_number(&self) -> u32 {
        self.rewritten.map_or(self.header.id.number, |rewritten| rewritten.last_number)
    }

    /// Returns the place after all that it stands for, if it was rewritten.
    pub(crate) fn end(&self) -> Option<Position> {
        self.rewritten.map(|rewritten| Position {
            segment: self.id(),
            start: rewritten.length,
            end: rewritten.length,
            seq: rewritten.last_seq,
            epoch: rewritten.last_epoch,
            checksum: rewritten.last_checksum,
        })
    }

    fn read_rewritten(&self, disk: &dyn SegmentStore) -> Result<Rewritten, StoreError> {
        let id = self.id();
        let refused = |reason: &str| damaged(disk, id, HEADER_BYTES, reason);
        let mut records = self.records(disk);
        let Some(Table { header: RecordHeader { kind: RecordKind::Rewritten, .. }, items, .. }) = records.next()?
        else {
            return Err(refused("the segment was rewritten and does not say for what it stands"));
        };
        let [(name, location)] = items[..] else { return Err(refused("the segment does not say for what it stands")) };
        let bytes = self.read(disk, location)?;
        let rewritten = Rewritten::from_bytes(&bytes).ok().filter(|_| node_id(&bytes) == name);
        let rewritten = rewritten.ok_or_else(|| refused("the segment does not say for what it stands"))?;
        if rewritten.length != self.length || rewritten.last_number < id.number {
            return Err(damaged(
                disk,
                id,
                self.length,
                "the segment does not have the length that it was written with",
            ));
        }
        Ok(rewritten)
    }

    /// Reads an item's bytes, unverified.
    pub(crate) fn read(&self, disk: &dyn SegmentStore, location: Location) -> Result<Vec<u8>, StoreError> {
        let mut bytes = vec![0; location.length as usize];
        let read = self.file.read_exact_at(&mut bytes, location.offset);
        read.map_err(|source| io_error(disk, "read", &self.id().name(), source))?;
        Ok(bytes)
    }

    /// Gives the heads of its records, in order.
    pub(crate) const fn records<'a>(&'a self, disk: &'a dyn SegmentStore) -> Records<'a> {
        Records { segment: self, disk, offset: HEADER_BYTES }
    }
}

/// A record without its payload: what is in it and where.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) header: RecordHeader,
    pub(crate) checksum: [u8; 32],
    /// Entries first.
    pub(crate) items: Vec<Placed>,
}

/// The heads of a segment's records.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    segment: &'a OpenedSegment,
    disk: &'a dyn SegmentStore,
    pub(crate) offset: u64,
}

impl Records<'_> {
    /// Returns the next head; none at the end, where zeros or nothing follow.
    ///
    /// # Errors
    /// [`StoreError::DamagedFile`] where no record begins and zeros do not either.
    pub(crate) fn next(&mut self) -> Result<Option<Table>, StoreError> {
        self.try_next()?.map_or(Ok(None), |table| {
            table.map(Some).map_err(|NoRecord(reason)| damaged(self.disk, self.segment.id(), self.offset, reason))
        })
    }

    /// As [`Self::next`], but tells a damaged head from a failing disk and stays in front of it.
    pub(crate) fn try_next(&mut self) -> Result<Option<Result<Table, NoRecord>>, StoreError> {
        let left = self.segment.length.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let mut fixed = [0; FIXED_BYTES];
        let there = fixed.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.read(&mut fixed[..there])?;
        if fixed.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let head_bytes = match head_length(&fixed, self.offset, left) {
            Ok(length) => length,
            Err(failure) => return Ok(Some(Err(failure))),
        };
        let mut head = vec![0; head_bytes];
        self.read(&mut head)?;
        let key = &self.segment.header.key;
        let (header, checksum) = match parse_head(&head, key, self.offset) {
            Ok(parsed) => parsed,
            Err(failure) => return Ok(Some(Err(failure))),
        };
        let mut offset = self.offset + head_bytes as u64;
        let items = table(&head).map(|(id, length)| {
            let location = Location { segment: self.segment.id(), offset, length };
            offset += u64::from(length);
            (id, location)
        });
        let items = items.collect();
        self.offset += header.length;
        Ok(Some(Ok(Table { header, checksum, items })))
    }

    /// Looks for the next place where a record begins after a damaged one.
    pub(crate) fn resync(&mut self) -> Result<bool, StoreError> {
        const STEP: usize = 1 << 20;
        let mut at = self.offset + ALIGNMENT as u64;
        while at < self.segment.length {
            let left = usize::try_from(self.segment.length - at).unwrap_or(STEP);
            let mut bytes = vec![0; left.min(STEP)];
            let from = std::mem::replace(&mut self.offset, at);
            let read = self.read(&mut bytes);
            self.offset = from;
            read?;
            let magic = super::record::MAGIC;
            for place in (0..bytes.len()).step_by(ALIGNMENT).filter(|place| bytes[*place..].starts_with(&magic)) {
                let candidate = at + place as u64;
                let mut probe = Records { segment: self.segment, disk: self.disk, offset: candidate };
                if matches!(probe.try_next()?, Some(Ok(_))) {
                    self.offset = candidate;
                    return Ok(true);
                }
            }
            at += bytes.len() as u64;
        }
        Ok(false)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<(), StoreError> {
        let read = self.segment.file.read_exact_at(buffer, self.offset);
        read.map_err(|source| io_error(self.disk, "read", &self.segment.id().name(), source))
    }
}
