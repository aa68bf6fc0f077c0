//! The writer thread: one group of waiting work becomes one write, one sync, one publication, and then the answers.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use bytes::Bytes;

use super::disk::{SegmentFile, SegmentStore};
use super::record::{RecordHeader, RecordKind, encode, encoded_length};
use super::recovery::{OpenSegment, io_error};
use super::segment::{FILLING, HEADER_BYTES, PLAIN, Position, SegmentHeader, SegmentId};
use super::{Answer, Append, Request, Settings, Shared, Work, lock};
use crate::error::StoreError;
use crate::id::{NodeId, SandboxId};
use crate::index::Written;
use crate::log::{Entry, Tip};

/// How large the first segment of a store is; every further one is four times its predecessor, up to the setting.
const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// From how many bytes on a record is better off without zeros below it: writing them costs more than the sync of metadata.
const LARGE_RECORD_BYTES: u64 = 1 << 20;
/// How much is gathered before it is written.
const WRITE_BYTES: usize = 8 << 20;

/// The one who writes.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    segment: OpenSegment,
    /// Where the segment ends: at its zeros' end, or for one without zeros wherever it has its size.
    limit: u64,
    /// Records are written over zeros here, so that a sync needs no metadata.
    is_filled: bool,
    last: Position,
    /// The last record before this group.
    before: Position,
    epoch: u64,
    group: Group,
}

/// The work of one write and one sync.
#[derive(Debug, Default)]
struct Group {
    /// Records not yet written.
    buffer: Vec<u8>,
    /// Where they belong.
    start: u64,
    written: Vec<Written>,
    tips: HashMap<SandboxId, Tip>,
    /// Who waits, for what, and how many of the records must have been written for it.
    answers: Vec<(SyncSender<Answer>, Vec<Entry>, usize)>,
    /// How many of the records the operating system has.
    flushed: usize,
    /// The position after those, and the file that was full for the ones after.
    full: Option<PathBuf>,
    appends: bool,
    /// Some records would have been faster over zeros and found none.
    lacked_zeros: bool,
    syncs: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, segment: OpenSegment, last: Position, epoch: u64) -> Self {
        let is_filled = segment.filled > segment.offset;
        let limit = if is_filled { segment.filled } else { shared.settings.segment_bytes };
        let group = Group { start: segment.offset, ..Group::default() };
        Self { shared, segment, limit, is_filled, last, before: last, epoch, group }
    }

    pub(super) fn run(mut self) {
        let _closing = Closing(Arc::clone(&self.shared));
        while let Some(requests) = self.shared.take_work() {
            self.commit(requests);
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        self.before = self.last;
        for Request { work, answer } in requests {
            match self.shared.check().and_then(|()| self.place(work)) {
                Ok(entries) => {
                    let records = self.group.written.len();
                    self.group.answers.push((answer, entries, records));
                }
                // Whoever asked may have gone away.
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        let outcome = self.shared.check().and_then(|()| self.finish());
        let Group { written, answers, lacked_zeros, full, .. } =
            std::mem::replace(&mut self.group, Group { start: self.segment.offset, ..Group::default() });
        let records = written.len();
        if outcome.is_ok() {
            self.shared.index.publish(written);
            self.want_next(lacked_zeros);
        }
        for (answer, entries, needed) in answers {
            let refused = full.as_ref().filter(|_| needed > records);
            let answered = match refused {
                Some(path) => Err(StoreError::NoSpace { path: path.clone() }),
                None => self.shared.check().map(|()| entries),
            };
            drop(answer.send(answered));
        }
    }

    /// Writes what is gathered and makes it as durable as somebody needs.
    fn finish(&mut self) -> Result<(), StoreError> {
        match self.flush() {
            // What was written before is as durable as it should be.
            Ok(()) | Err(StoreError::NoSpace { .. }) => {}
            Err(error) => return Err(error),
        }
        if self.group.syncs || (self.group.appends && self.shared.settings.sync_appends) {
            return self.shared.sync();
        }
        Ok(())
    }

    fn place(&mut self, work: Work) -> Result<Vec<Entry>, StoreError> {
        match work {
            Work::Append(append) => self.place_append(&append),
            Work::Nodes(nodes) => {
                self.place_record(RecordKind::Nodes, SandboxId([0; 16]), &[], &nodes)?;
                Ok(Vec::new())
            }
            Work::History(sandbox, entries) => {
                let items: Vec<_> = entries.iter().map(|(entry, bytes)| (NodeId(entry.id.0), bytes.clone())).collect();
                self.place_record(RecordKind::Append, sandbox, &items, &[])?;
                if let Some(written) = self.group.written.last_mut() {
                    written.entries = entries.into_iter().map(|(entry, _)| entry).collect();
                }
                Ok(Vec::new())
            }
            Work::Sync => {
                self.group.syncs = true;
                Ok(Vec::new())
            }
        }
    }

    /// Places an append; one that gives something up may use what was set aside for a full disk.
    fn place_append(&mut self, append: &Append) -> Result<Vec<Entry>, StoreError> {
        let placed = self.place_entries(append);
        let gives_up = append.drafts.iter().all(|draft| draft.body.gives_up());
        if matches!(placed, Err(StoreError::NoSpace { .. })) && gives_up && self.shared.use_reserve() {
            return self.place_entries(append);
        }
        placed
    }

    fn place_entries(&mut self, append: &Append) -> Result<Vec<Entry>, StoreError> {
        let Append { sandbox, expected, drafts, nodes } = append;
        let (sandbox, expected) = (*sandbox, *expected);
        let found = match self.group.tips.entry(sandbox) {
            Place::Occupied(tip) => Some(*tip.get()),
            Place::Vacant(_) => self.shared.index.tip(sandbox),
        };
        if found.map(|tip| tip.head.entry) != expected {
            return Err(StoreError::StaleHead { sandbox, expected, found: found.map(|tip| tip.head.entry) });
        }
        if found.is_some_and(|tip| !tip.admits(drafts.first().map(|draft| &draft.body))) {
            return Err(StoreError::UnknownSandbox(sandbox));
        }
        let mut tip = found;
        let mut entries = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let head = tip.map(|tip| tip.head);
            let seq = head.map_or(0, |head| head.seq).saturating_add(1);
            let made = Entry::new(sandbox, seq, head.map(|head| head.entry), draft.time, draft.body.clone());
            tip = Some(Tip::after(tip, &made.0).ok_or(StoreError::NoFirstOperation(sandbox))?);
            entries.push(made);
        }
        let (entries, bytes): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let items: Vec<_> =
            entries.iter().zip(bytes).map(|(entry, bytes)| (NodeId(entry.id.0), Bytes::from(bytes))).collect();
        self.place_record(RecordKind::Append, sandbox, &items, nodes)?;
        if let Some(written) = self.group.written.last_mut() {
            written.entries.clone_from(&entries);
        }
        if let Some(tip) = tip {
            self.group.tips.insert(sandbox, tip);
        }
        self.group.appends = true;
        Ok(entries)
    }

    /// Puts one record behind the others of this group, in a new segment if it needs one.
    fn place_record(
        &mut self,
        kind: RecordKind,
        sandbox: SandboxId,
        entries: &[(NodeId, Bytes)],
        nodes: &[(NodeId, Bytes)],
    ) -> Result<(), StoreError> {
        let items: Vec<(NodeId, &[u8])> = entries.iter().chain(nodes).map(|(id, bytes)| (*id, &bytes[..])).collect();
        let payload = items.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let length = encoded_length(items.len(), payload);
        self.make_room(kind, length)?;
        let count = |items: usize| u32::try_from(items).unwrap_or(u32::MAX);
        let start = self.segment.offset;
        let header = RecordHeader {
            kind,
            entries: count(entries.len()),
            nodes: count(nodes.len()),
            length,
            seq: self.last.seq + 1,
            epoch: self.epoch,
            synced: self.shared.synced.load(Ordering::Acquire),
            offset: start,
            sandbox,
            previous: self.last.checksum,
        };
        let (checksum, placed) = encode(&mut self.group.buffer, &self.segment.key, self.segment.id, &header, &items);
        self.segment.offset += length;
        let (segment, end) = (self.segment.id, self.segment.offset);
        self.last = Position { segment, start, end, seq: header.seq, epoch: self.epoch, checksum };
        self.group.written.push(Written { position: self.last, entries: Vec::new(), placed });
        let counters = &self.shared.counters;
        counters.records.fetch_add(1, Ordering::Relaxed);
        counters.entries.fetch_add(entries.len() as u64, Ordering::Relaxed);
        counters.nodes.fetch_add(nodes.len() as u64, Ordering::Relaxed);
        if self.group.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands the gathered records to the operating system.
    fn flush(&mut self) -> Result<(), StoreError> {
        let Group { buffer, start, .. } = &mut self.group;
        if buffer.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.segment.file.write_all_at(buffer, *start) {
            let error = self.shared.fail("write", &self.segment.id.name(), &source);
            return Err(if matches!(error, StoreError::NoSpace { .. }) { self.take_back(error) } else { error });
        }
        let bytes = buffer.len() as u64;
        *start += bytes;
        buffer.clear();
        self.group.flushed = self.group.written.len();
        self.shared.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.written.store(self.last.seq, Ordering::Release);
        if !(self.group.appends && self.shared.settings.sync_appends) {
            lock(&self.shared.duties).unsynced(bytes, &self.shared.duty);
        }
        Ok(())
    }

    /// Makes the journal what it was before the records that the full disk did not take.
    fn take_back(&mut self, error: StoreError) -> StoreError {
        let group = &mut self.group;
        if let Err(source) = self.segment.file.truncate(group.start) {
            return self.shared.stop(format!("cutting what a full disk took half of: {source}"));
        }
        group.buffer.clear();
        self.segment.offset = group.start;
        self.segment.filled = group.start;
        self.is_filled = false;
        group.written.truncate(group.flushed);
        self.last = group.written.last().map_or(self.before, |written| written.position);
        group.tips.clear();
        for entry in group.written.iter().flat_map(|written| &written.entries) {
            let tip = group.tips.get(&entry.sandbox).copied().or_else(|| self.shared.index.tip(entry.sandbox));
            if let Some(tip) = Tip::after(tip, entry) {
                group.tips.insert(entry.sandbox, tip);
            }
        }
        if let StoreError::NoSpace { path } = &error {
            group.full = Some(path.clone());
        }
        error
    }

    /// Goes to a new segment when a record of this length does not fit, or when one with zeros is there for an append.
    fn make_room(&mut self, kind: RecordKind, length: u64) -> Result<(), StoreError> {
        let fits = self.segment.offset.checked_add(length).is_some_and(|end| end <= self.limit);
        let mut ready = None;
        if kind == RecordKind::Append && length <= LARGE_RECORD_BYTES && !(fits && self.is_filled) {
            ready = lock(&self.shared.duties).take_ready(HEADER_BYTES.saturating_add(length));
            self.group.lacked_zeros |= ready.is_none();
        }
        if fits && ready.is_none() {
            return Ok(());
        }
        self.flush()?;
        // A segment is wholly durable before there is another: only the last one can have a torn tail.
        self.shared.sync()?;
        let number = self.segment.id.number.checked_add(1);
        let number = number.ok_or_else(|| self.shared.stop("there are no more segment numbers".to_owned()))?;
        let header = self.header_of(number);
        let id = header.id;
        let shared = Arc::clone(&self.shared);
        let failed = |action: &str, source: std::io::Error| shared.fail(action, &id.name(), &source);
        let (file, temporary) = match &ready {
            Some((file, _)) => (Arc::clone(file), FILLING),
            None => (shared.disk.create(PLAIN).map_err(|source| failed("create", source))?, PLAIN),
        };
        if let Err(source) = begin(&*shared.disk, &*file, temporary, &header) {
            drop(shared.disk.remove(temporary));
            return Err(failed("begin", source));
        }
        *lock(&shared.active) = Some((id, Arc::clone(&file)));
        shared.counters.segments.fetch_add(1, Ordering::Relaxed);
        if self.segment.filled > self.segment.offset {
            // The zeros left behind are of no more use; keeping them would do no harm.
            if let Err(error) = self.segment.file.truncate(self.segment.offset) {
                tracing::debug!(%error, "cutting a full segment to its length");
            }
        }
        let filled = ready.as_ref().map_or(HEADER_BYTES, |(_, bytes)| *bytes);
        self.is_filled = ready.is_some();
        self.limit = match ready {
            Some((_, bytes)) => bytes,
            None => shared.settings.segment_bytes.max(HEADER_BYTES.saturating_add(length)),
        };
        self.segment = OpenSegment { id, file, key: header.key, offset: HEADER_BYTES, filled };
        self.group.start = HEADER_BYTES;
        Ok(())
    }

    fn header_of(&self, number: u32) -> SegmentHeader {
        new_header(number, self.epoch, self.last.seq + 1, self.last.checksum, &self.shared.settings.salt)
    }

    /// Asks for a segment with zeros in time: when a quarter of this one is used, or when records have to do without.
    fn want_next(&self, lacked_zeros: bool) {
        let wants = if self.is_filled { self.segment.offset > self.limit / 4 } else { lacked_zeros };
        if wants {
            let bytes = self.segment.filled.saturating_mul(4).max(FIRST_SEGMENT_BYTES);
            let bytes = bytes.min(self.shared.settings.segment_bytes);
            lock(&self.shared.duties).want(bytes, &self.shared.duty);
        }
    }
}

/// Lets nobody wait for a writer that ended, however it did.
struct Closing(Arc<Shared>);

impl Drop for Closing {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.is_closed = true;
        queue.waiting.clear();
    }
}

fn new_header(number: u32, epoch: u64, first_seq: u64, previous: [u8; 32], salt: &[u8; 16]) -> SegmentHeader {
    let mut hasher = blake3::Hasher::new_derive_key("sandglass 2026 segment key");
    hasher.update(salt).update(&number.to_le_bytes()).update(&epoch.to_le_bytes()).update(&previous);
    SegmentHeader { id: SegmentId::plain(number), epoch, first_seq, previous, key: *hasher.finalize().as_bytes() }
}

/// Writes a segment's header and gives the file its name, both durably.
fn begin(
    disk: &dyn SegmentStore,
    file: &dyn SegmentFile,
    temporary: &str,
    header: &SegmentHeader,
) -> std::io::Result<()> {
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(temporary, &header.id.name())
}

/// Makes a segment to go on in: the first of a new store, or one after a segment that was rewritten.
pub(super) fn begin_segment(
    disk: &dyn SegmentStore,
    settings: &Settings,
    number: u32,
    epoch: u64,
    last: Position,
) -> Result<OpenSegment, StoreError> {
    let failed = |source| io_error(disk, "make", PLAIN, source);
    let filled = FIRST_SEGMENT_BYTES.min(settings.segment_bytes).max(HEADER_BYTES);
    let header = new_header(number, epoch, last.seq + 1, last.checksum, &settings.salt);
    let file = disk.create(PLAIN).map_err(failed)?;
    let zeros = vec![0; usize::try_from(filled).unwrap_or(0)];
    file.write_all_at(&zeros, 0).map_err(failed)?;
    begin(disk, &*file, PLAIN, &header).map_err(failed)?;
    Ok(OpenSegment { id: header.id, file, key: header.key, offset: HEADER_BYTES, filled })
}
