//! Surveying: reading every byte of the segments, whatever is wrong with them, and telling what is.
//!
//! A store that is opened to be served from is whole or not opened. This is the other way in: what verifies is indexed,
//! what does not is listed, so that one can see which states are still whole and repair the rest.

use std::path::{Path, PathBuf};

use crate::error::StoreError;
use crate::id::NodeId;
use crate::index::Written;
use crate::index::database::Database;
use crate::journal::disk::SegmentStore;
use crate::journal::reader::{OpenedSegment, Table};
use crate::journal::record::{NoRecord, RecordKind};
use crate::journal::recovery::io_error;
use crate::journal::segment::{FILLING, PLAIN, Placed, Position, REWRITING, SegmentId};
use crate::log;
use crate::node::node_id;

/// How many nodes go into the index at a time.
const BATCH_NODES: usize = 50_000;

/// A place that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPlace {
    /// In which file.
    pub path: PathBuf,
    /// From which byte on.
    pub offset: u64,
    /// What was found.
    pub reason: String,
    /// The node or entry that lay there, when its name could still be read.
    pub node: Option<NodeId>,
}

/// What reading all segments found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Segment files.
    pub segments: u64,
    /// Records whose heads verify.
    pub records: u64,
    /// Nodes and entries that match their names.
    pub nodes: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes after the last record that are neither zeros nor a record: what nobody was ever answered.
    pub torn_bytes: u64,
    /// Files that a crash left over; the next opening removes them.
    pub leftovers: u64,
    /// What is damaged.
    pub damaged: Vec<DamagedPlace>,
}

/// How far a survey is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SurveyProgress {
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes there are.
    pub bytes_total: u64,
}

/// The segments that are there, in order, whatever is missing between them.
pub(crate) struct Found {
    /// Those that count and could be opened.
    pub(crate) segments: Vec<OpenedSegment>,
    /// Numbers without a segment, and segments that can't be read at all.
    pub(crate) lost: Vec<(SegmentId, DamagedPlace)>,
    pub(crate) leftovers: Vec<SegmentId>,
}

/// Finds the segments.
pub(crate) fn find(disk: &dyn SegmentStore) -> Result<Found, StoreError> {
    let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
    let mut ids: Vec<SegmentId> = names.iter().filter_map(|name| SegmentId::of_name(name)).collect();
    ids.sort_unstable();
    let mut found = Found { segments: Vec::new(), lost: Vec::new(), leftovers: Vec::new() };
    let mut covered = 0u32;
    for (place, id) in ids.iter().enumerate() {
        let is_newest = ids.get(place + 1).is_none_or(|next| next.number != id.number);
        if !is_newest || id.number <= covered {
            found.leftovers.push(*id);
            continue;
        }
        for number in covered.saturating_add(1)..id.number {
            let missing = SegmentId::plain(number);
            let path = disk.path(&missing.name());
            let reason = "the segment is gone".to_owned();
            found.lost.push((missing, DamagedPlace { path, offset: 0, reason, node: None }));
        }
        covered = id.number;
        match OpenedSegment::open(disk, *id) {
            Ok(segment) => {
                covered = segment.last_number();
                found.segments.push(segment);
            }
            Err(StoreError::DamagedFile { path, offset, reason }) => {
                found.lost.push((*id, DamagedPlace { path, offset, reason, node: None }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Something in a segment, as it is met.
pub(crate) enum Met<'a> {
    /// A record whose head verifies, its items that match their names, and their bytes if it has entries.
    Record(Table, Vec<Placed>, &'a [Vec<u8>]),
    /// Bytes that are not what was written there.
    Damage(u64, &'a str, Option<NodeId>),
    /// The rest was never durable.
    Torn(u64),
}

/// Reads a whole segment. `is_active` says that it is the newest, the end of which may be torn.
pub(crate) fn read_all(
    disk: &dyn SegmentStore,
    segment: &OpenedSegment,
    is_active: bool,
    visit: &mut dyn FnMut(Met<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut records = segment.records(disk);
    let mut previous = segment.header.previous;
    let mut expected = segment.header.first_seq;
    loop {
        let start = records.offset;
        let table = match records.try_next()? {
            None => break,
            Some(Ok(table)) => table,
            Some(Err(NoRecord(reason))) => {
                let found = records.resync()?;
                let was_durable = found && {
                    let mut later = segment.records(disk);
                    later.offset = records.offset;
                    later.try_next()?.is_some_and(|next| {
                        next.is_ok_and(|next| next.header.seq > expected && next.header.synced >= expected)
                    })
                };
                if is_active && !was_durable {
                    visit(Met::Torn(start))?;
                    return Ok(());
                }
                visit(Met::Damage(start, reason, None))?;
                if !found {
                    return Ok(());
                }
                // The next record names one that can't be read: its word is taken.
                let mut probe = segment.records(disk);
                probe.offset = records.offset;
                if let Some(Ok(next)) = probe.try_next()? {
                    previous = next.header.previous;
                    expected = next.header.seq;
                }
                continue;
            }
        };
        let follows =
            if segment.rewritten.is_some() { table.header.seq >= expected } else { table.header.seq == expected };
        if !follows || table.header.previous != previous {
            visit(Met::Damage(start, "records are missing before it", None))?;
        }
        previous = table.checksum;
        expected = table.header.seq + u64::from(table.header.kind != RecordKind::Rewritten);
        let mut whole = Vec::with_capacity(table.items.len());
        let mut entries = Vec::new();
        let mut end = start;
        for (place, (id, location)) in table.items.iter().enumerate() {
            let bytes = segment.read(disk, *location)?;
            end = location.offset + u64::from(location.length);
            if node_id(&bytes) != *id {
                visit(Met::Damage(location.offset, "its bytes do not match its name", Some(*id)))?;
                continue;
            }
            if place < table.header.entries as usize {
                entries.push(bytes);
            }
            whole.push((*id, *location));
        }
        let mut padding = vec![0; usize::try_from(records.offset.saturating_sub(end)).unwrap_or(0)];
        if !table.items.is_empty() {
            let read = segment.file.read_exact_at(&mut padding, end);
            read.map_err(|source| io_error(disk, "read", &segment.id().name(), source))?;
        }
        if padding.iter().any(|&byte| byte != 0) && !table.items.is_empty() {
            visit(Met::Damage(end, "the record's padding is not zeros", None))?;
        }
        visit(Met::Record(table, whole, &entries))?;
    }
    let rest = segment.length.saturating_sub(records.offset);
    if rest > 0 && !is_zero_from(disk, segment, records.offset)? {
        let met = if is_active {
            Met::Torn(records.offset)
        } else {
            Met::Damage(records.offset, "no record begins here", None)
        };
        visit(met)?;
    }
    Ok(())
}

fn is_zero_from(disk: &dyn SegmentStore, segment: &OpenedSegment, from: u64) -> Result<bool, StoreError> {
    let mut buffer = vec![0; 1 << 20];
    let mut offset = from;
    while offset < segment.length {
        let step = buffer.len().min(usize::try_from(segment.length - offset).unwrap_or(usize::MAX));
        let read = segment.file.read_exact_at(&mut buffer[..step], offset);
        read.map_err(|source| io_error(disk, "read", &segment.id().name(), source))?;
        if buffer[..step].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        offset += step as u64;
    }
    Ok(true)
}

/// Makes an index of everything that is whole.
pub(crate) fn index_what_is_whole(
    disk: &dyn SegmentStore,
    path: &Path,
    progress: &mut dyn FnMut(SurveyProgress),
) -> Result<(Database, Survey), StoreError> {
    let mut database = Database::create(path)?;
    let found = find(disk)?;
    let mut survey = Survey {
        segments: found.segments.len() as u64,
        bytes: found.segments.iter().map(|segment| segment.length).sum(),
        leftovers: found.leftovers.len() as u64,
        damaged: found.lost.iter().map(|(_, place)| place.clone()).collect(),
        ..Survey::default()
    };
    let names = disk.list().map_err(|source| io_error(disk, "list", "", source))?;
    survey.leftovers += names.iter().filter(|name| [FILLING, PLAIN, REWRITING].contains(&name.as_str())).count() as u64;
    let newest = found.segments.iter().map(OpenedSegment::last_number).max();
    let mut before: Option<(u64, [u8; 32])> = found.lost.is_empty().then_some((0, [0; 32]));
    let mut batch: Vec<Written> = Vec::new();
    let (mut waiting, mut read) = (0, 0);
    for segment in &found.segments {
        let header = &segment.header;
        if let Some((seq, checksum)) = before
            && (header.first_seq, header.previous) != (seq + 1, checksum)
        {
            let reason = "the segment does not follow the one before it: records are missing".to_owned();
            let path = disk.path(&segment.id().name());
            survey.damaged.push(DamagedPlace { path, offset: 0, reason, node: None });
        }
        let mut last = (header.first_seq - 1, header.previous);
        let is_active = Some(segment.id().number) == newest;
        let damaged_before = survey.damaged.len();
        read_all(disk, segment, is_active, &mut |met| {
            match met {
                Met::Torn(offset) => survey.torn_bytes += segment.length - offset,
                Met::Damage(offset, reason, node) => survey.damaged.push(DamagedPlace {
                    path: disk.path(&segment.id().name()),
                    offset,
                    reason: reason.to_owned(),
                    node,
                }),
                Met::Record(table, whole, entries) => {
                    last = (table.header.seq, table.checksum);
                    survey.records += 1;
                    if table.header.kind == RecordKind::Rewritten {
                        return Ok(());
                    }
                    survey.nodes += whole.len() as u64;
                    waiting += whole.len();
                    let names = whole.iter().map(|(id, _)| crate::id::EntryId(id.0));
                    let entries = names.zip(entries).map(|(id, bytes)| log::decode(id, bytes));
                    let entries = entries.collect::<Result<Vec<_>, StoreError>>()?;
                    batch.push(Written { position: position_of(segment, &table), entries, placed: whole });
                    if waiting >= BATCH_NODES {
                        database.apply(&batch)?;
                        batch.clear();
                        waiting = 0;
                    }
                }
            }
            Ok(())
        })?;
        before = (survey.damaged.len() == damaged_before).then_some(last);
        if let Some(end) = segment.end() {
            before = Some((end.seq, end.checksum));
        }
        read += segment.length;
        progress(SurveyProgress { bytes: read, bytes_total: survey.bytes });
    }
    database.apply(&batch)?;
    Ok((database, survey))
}

fn position_of(segment: &OpenedSegment, table: &Table) -> Position {
    let header = &table.header;
    let (start, end) = (header.offset, header.offset + header.length);
    Position { segment: segment.id(), start, end, seq: header.seq, epoch: header.epoch, checksum: table.checksum }
}
