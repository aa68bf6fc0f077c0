//! The store: nodes and logs under one directory.
//!
//! It is made of a *journal* (`journal.rs`: segments of records, the one thing that must not be lost), an *index* (`index.rs`:
//! where everything lies, derived from the journal) and a *cache* of nodes (`store/nodes.rs`). Writing goes to the journal,
//! which publishes to the index; reading asks the cache, then the index, then a segment.

mod hold;
mod images;
mod logs;
mod nodes;
mod opening;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the numbers of these tests are small")]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

pub use self::hold::Hold;
use self::hold::Holds;
pub use self::images::ImageSize;
pub(crate) use self::nodes::StoredNodes;
use crate::closure::{Roots, roots_of};
use crate::collect::barrier::{Barrier, Phase};
use crate::diff::{Diff, diff_with};
use crate::error::StoreError;
use crate::history::{Touch, touched_with};
use crate::id::{EntryId, NodeId, SandboxId, StateId};
use crate::index::Index;
use crate::journal::disk::{LocalDisk, SegmentStore, make_private_directory};
use crate::journal::segment::Position;
use crate::journal::{Append, Journal, Settings};
use crate::log::{Draft, Entry, Head, Tip};
use crate::node::{NodeBatch, NodeKind, NodeSource};
use crate::state::State;
use crate::survey::{self, Survey, SurveyProgress};
use crate::transaction::{Quota, Transaction, read_blob};
use crate::tree::{DirectoryCache, Nodes};

/// The largest node, in bytes.
pub(crate) const NODE_LIMIT: usize = 128 << 20;
/// How many bytes of nodes go into one record; more are written ahead of the record that needs them.
const RECORD_BYTES: usize = 8 << 20;

/// When an append is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is handed to the operating system: it survives the end of this process, and up to 50 ms are lost when the
    /// machine loses power.
    Process,
    /// When it is on the disk: it survives everything that the disk survives.
    #[default]
    Disk,
}

/// How a store is opened.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// When an append is answered.
    pub durability: Durability,
    /// How large a segment file gets, in bytes; the first ones of a store are smaller.
    pub segment_bytes: u64,
    /// How many bytes are set aside for deleting and collecting on a full disk.
    pub reserve_bytes: u64,
    /// How many bytes of nodes are kept in memory.
    pub cache_bytes: u64,
    /// Random bytes that make a segment's checksums unpredictable to whoever chooses what is stored; no secret is kept by it.
    pub salt: [u8; 16],
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Disk,
            segment_bytes: 64 << 20,
            reserve_bytes: 4 << 20,
            cache_bytes: 256 << 20,
            salt: [0; 16],
        }
    }
}

/// What a store did since it was opened, in numbers that do not depend on time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Segment files.
    pub segments: u64,
    /// Records written.
    pub records: u64,
    /// Log entries written.
    pub entries: u64,
    /// Nodes written, without entries.
    pub nodes: u64,
    /// Nodes that were given and in the store already.
    pub nodes_known: u64,
    /// Bytes of records written.
    pub bytes_written: u64,
    /// Syncs of segments.
    pub syncs: u64,
    /// Nodes found in the cache.
    pub cache_hits: u64,
    /// Nodes read from a segment.
    pub cache_misses: u64,
    /// Bytes of nodes in the cache.
    pub cache_bytes: u64,
    /// Nodes that the index holds in memory until its database has them.
    pub index_pending: u64,
    /// Records that opening the store read back because the index lacked them.
    pub replayed_records: u64,
    /// Bytes of a torn tail that opening the store cut.
    pub cut_bytes: u64,
}

/// A store of nodes and logs. Clones share it; when the last is dropped everything written is synced.
#[derive(Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// The parts; the journal closes first, the lock goes last.
pub(crate) struct Inner {
    pub(crate) journal: Journal,
    pub(crate) index: Arc<Index>,
    pub(crate) nodes: StoredNodes,
    pub(crate) disk: Arc<dyn SegmentStore>,
    pub(crate) segment_bytes: u64,
    pub(crate) reserve_bytes: u64,
    /// Where writers and a collection meet.
    /// The store was opened only to look at it: its index knows everything, and it can't change.
    pub(crate) is_look: bool,
    pub(crate) barrier: Arc<Barrier>,
    /// Held by the one collection that may run.
    pub(crate) collecting: Mutex<()>,
    /// Decoded directory nodes, shared by all transactions.
    directories: Arc<DirectoryCache>,
    pub(crate) holds: Arc<Holds>,
    nodes_known: AtomicU64,
    replayed_records: u64,
    cut_bytes: u64,
    pub(crate) directory: PathBuf,
    _lock: Option<Arc<File>>,
}

impl Store {
    /// Opens the store in a directory, making it when there is none.
    ///
    /// Records that the index lacks are read back from the journal, and a torn tail is cut.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process or another `Store` has it open, [`StoreError::DamagedFile`] when
    /// something that was durable is gone, [`StoreError::NewerFormat`], or what the operating system answered.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let made = make_private_directory(directory);
        made.map_err(|source| StoreError::Io { action: "make", path: directory.to_owned(), source })?;
        let lock = take_lock(&directory.join("lock"))?;
        let segments = directory.join("segments");
        let disk = LocalDisk::open(&segments);
        let disk = disk.map_err(|source| StoreError::Io { action: "make", path: segments, source })?;
        Self::open_on(Arc::new(disk), directory, &options, lock)
    }

    fn open_on(
        disk: Arc<dyn SegmentStore>,
        directory: &Path,
        options: &StoreOptions,
        lock: File,
    ) -> Result<Self, StoreError> {
        let lock = Arc::new(lock);
        let inner = Inner::open(Arc::clone(&disk), directory, options, Arc::clone(&lock))?;
        if let Err(error) = inner.check_tips() {
            // The index says what no entry says. It was marked, so that this makes a new one.
            tracing::warn!(%error, "rebuilding the index");
            drop(inner);
            let inner = Inner::open(disk, directory, options, lock)?;
            inner.check_tips()?;
            return Ok(Self { inner: Arc::new(inner) });
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Opens the store of a directory to look at it, whatever its state and whoever else has it open: nothing in it is
    /// changed, and nothing can be appended. What is damaged is left out and told in the [`Survey`].
    ///
    /// `scratch` is an empty directory for an index of its own; it can be removed once the store is dropped.
    ///
    /// # Errors
    /// There is no store, or what reading it met.
    pub fn look(
        directory: &Path,
        scratch: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(SurveyProgress),
    ) -> Result<(Self, Survey), StoreError> {
        let segments = directory.join("segments");
        if !segments.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(StoreError::Io { action: "find a store in", path: directory.to_owned(), source });
        }
        Self::look_on(Arc::new(LocalDisk::read_only(&segments)), directory, scratch, options, progress)
    }

    pub(crate) fn look_on(
        disk: Arc<dyn SegmentStore>,
        directory: &Path,
        scratch: &Path,
        options: &StoreOptions,
        progress: &mut dyn FnMut(SurveyProgress),
    ) -> Result<(Self, Survey), StoreError> {
        let path = scratch.join("index.db");
        let (database, survey) = survey::index_what_is_whole(&*disk, &path, progress)?;
        let index = Arc::new(Index::start(&path, database, Position::default())?);
        let journal = Journal::closed(Arc::clone(&disk), Arc::clone(&index), "the store was opened only to look at it");
        let parts = Parts { disk, directory, options, replayed_records: 0, cut_bytes: 0, lock: None };
        Ok((Self { inner: Arc::new(parts.assemble(journal, index)) }, survey))
    }

    /// Returns writable work on top of a state. It keeps the store open for as long as it lives.
    ///
    /// # Errors
    /// [`StoreError::MissingNode`] when the state is not in the store, or what reading it met.
    pub fn begin(&self, state: StateId, quota: Quota) -> Result<Transaction, StoreError> {
        let hold = self.hold_state(state)?;
        Transaction::open(self.source(), Arc::clone(&self.inner.directories), state, quota, hold)
    }

    /// Returns writable work on an empty root directory, with guests pinned by tool name and module hash.
    #[must_use]
    pub fn begin_empty(&self, guests: Vec<(String, [u8; 32])>, quota: Quota) -> Transaction {
        Transaction::empty(self.source(), Arc::clone(&self.inner.directories), guests, quota, self.hold())
    }

    /// Returns the guests that a state pins, by tool name and module hash.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn guests(&self, state: StateId) -> Result<Vec<(String, [u8; 32])>, StoreError> {
        Ok(State::load(self, state)?.guests)
    }

    /// Returns the bytes that [`NodeBatch::put_blob`] put.
    ///
    /// # Errors
    /// [`StoreError::MissingNode`], [`StoreError::DamagedNode`], also when it is no blob.
    pub fn blob(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        read_blob(self, id)
    }

    /// Returns what differs between two states, with at most `limit` changes listed.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn diff(&self, from: StateId, to: StateId, limit: usize) -> Result<Diff, StoreError> {
        diff_with(self, Arc::clone(&self.inner.directories), from, to, limit)
    }

    /// Returns what the step from one state to the next did to a path; see [`crate::touched`].
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn touched(&self, from: Option<StateId>, to: StateId, path: &[&[u8]]) -> Result<Option<Touch>, StoreError> {
        touched_with(self, Arc::clone(&self.inner.directories), from, to, path)
    }

    fn source(&self) -> Arc<dyn NodeSource> {
        Arc::clone(&self.inner) as Arc<dyn NodeSource>
    }

    /// Returns the directory that the store is in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Returns the end of a sandbox's log.
    ///
    /// # Errors
    /// [`StoreError::UnknownSandbox`], also after a delete.
    pub fn head(&self, sandbox: SandboxId) -> Result<Head, StoreError> {
        let tip = self.inner.index.tip(sandbox).filter(Tip::is_live);
        tip.map(|tip| tip.head).ok_or(StoreError::UnknownSandbox(sandbox))
    }

    /// Returns all sandboxes that are not deleted with their heads, by id.
    #[must_use]
    pub fn sandboxes(&self) -> Vec<(SandboxId, Head)> {
        self.inner.index.heads()
    }

    /// Appends entries to a sandbox's log, with the nodes that they need: the durable moment of everything.
    ///
    /// `expected` is the head that the caller saw last; `None` begins a new log. All of it is durable, or nothing; the
    /// call returns when it is, as the store's [`Durability`] says. Nodes that the store has are not written again.
    ///
    /// # Errors
    /// [`StoreError::StaleHead`] when somebody else appended first, [`StoreError::UnknownSandbox`] after a delete,
    /// [`StoreError::NoFirstOperation`], [`StoreError::TooLarge`], [`StoreError::Stopped`] after a failed write.
    pub fn append(
        &self,
        sandbox: SandboxId,
        expected: Option<EntryId>,
        entries: Vec<Draft>,
        nodes: NodeBatch,
    ) -> Result<Vec<Entry>, StoreError> {
        entries.iter().try_for_each(|draft| draft.body.check())?;
        let found = self.inner.index.tip(sandbox).map(|tip| tip.head.entry);
        if found != expected {
            return Err(StoreError::StaleHead { sandbox, expected, found });
        }
        // A collection waits until all of this is in the log.
        let phase = self.inner.barrier.enter();
        let mut roots = Vec::new();
        for draft in &entries {
            let Roots { states, blobs } = roots_of(&draft.body);
            roots.extend(states.into_iter().map(|state| (NodeId::from(state), false)));
            roots.extend(blobs.into_iter().map(|blob| (blob, true)));
        }
        for (id, _) in &roots {
            if nodes.get(id).is_none() && !self.inner.has(id, &phase)? {
                return Err(StoreError::MissingNode(*id));
            }
        }
        let mut missing = self.missing(&nodes, &phase)?;
        while let Some(first) = first_part(&mut missing) {
            self.inner.journal.put(first)?;
        }
        let appended = self.inner.journal.append(Append { sandbox, expected, drafts: entries, nodes: missing })?;
        // A collection may have read this log already, and what was held may be let go now.
        phase.reach(roots);
        drop(phase);
        self.inner.nodes.keep(nodes.into_nodes());
        Ok(appended)
    }

    /// Writes nodes that are held, and returns how many of them were not there.
    fn put_held(&self, nodes: NodeBatch) -> Result<u64, StoreError> {
        let phase = self.inner.barrier.enter();
        let mut missing = self.missing(&nodes, &phase)?;
        let written = missing.len() as u64;
        while let Some(first) = first_part(&mut missing) {
            self.inner.journal.put(first)?;
        }
        if !missing.is_empty() {
            self.inner.journal.put(missing)?;
        }
        drop(phase);
        // Contents come by the gigabyte and are rarely read next; what leads to them is.
        let is_blob = |bytes: &Bytes| bytes.first() == Some(&(NodeKind::Blob as u8));
        self.inner.nodes.keep(nodes.into_nodes().filter(|(_, bytes)| !is_blob(bytes)));
        Ok(written)
    }

    /// Returns when everything appended and put before is on the disk, whatever the store's [`Durability`].
    ///
    /// # Errors
    /// [`StoreError::Stopped`].
    pub fn sync(&self) -> Result<(), StoreError> {
        self.inner.journal.sync()
    }

    fn missing(&self, nodes: &NodeBatch, phase: &Phase) -> Result<Vec<(NodeId, Bytes)>, StoreError> {
        if let Some((_, large)) = nodes.iter().find(|(_, bytes)| bytes.len() > NODE_LIMIT) {
            let (bytes, limit) = (large.len() as u64, NODE_LIMIT as u64);
            return Err(StoreError::TooLarge { what: "a node", bytes, limit });
        }
        self.inner.index.wait_for_room()?;
        let missing = self.inner.index.missing(nodes, &|id, segment| phase.counts(id, segment))?;
        if let Phase::Marking(_) = phase {
            let new: HashSet<NodeId> = missing.iter().map(|(id, _)| *id).collect();
            phase.reach(nodes.reached().filter(|(id, _)| !new.contains(id)));
        }
        self.inner.nodes_known.fetch_add((nodes.len() - missing.len()) as u64, Ordering::Relaxed);
        Ok(missing)
    }

    /// Returns why nothing is written any more, once a write or a sync has failed.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.inner.journal.stopped()
    }

    /// Keeps collections from running for as long as the answer lives.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while one runs.
    pub fn pause_collecting(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        match self.inner.collecting.try_lock() {
            Ok(turn) => Ok(turn),
            Err(std::sync::TryLockError::Poisoned(turn)) => Ok(turn.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => Err(StoreError::Busy("a collection is running")),
        }
    }

    /// Says whether a state is in the store.
    #[must_use]
    pub fn contains_state(&self, state: StateId) -> bool {
        let id = NodeId::from(state);
        let is_kept = self.inner.has(&id, &self.inner.barrier.enter()).unwrap_or(false);
        is_kept && self.inner.nodes.node(&id).is_ok_and(|bytes| bytes.first() == Some(&(NodeKind::State as u8)))
    }

    /// Returns what the store did since it was opened.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Inner { journal, index, nodes, nodes_known, replayed_records, cut_bytes, .. } = &*self.inner;
        let counters = journal.counters();
        StoreStats {
            segments: count(&counters.segments),
            records: count(&counters.records),
            entries: count(&counters.entries),
            nodes: count(&counters.nodes),
            nodes_known: count(nodes_known),
            bytes_written: count(&counters.bytes),
            syncs: count(&counters.syncs),
            cache_hits: count(&nodes.hits),
            cache_misses: count(&nodes.misses),
            cache_bytes: nodes.cached_bytes(),
            index_pending: index.pending_nodes(),
            replayed_records: *replayed_records,
            cut_bytes: *cut_bytes,
        }
    }
}

/// What a store is assembled from beside its journal and index.
struct Parts<'a> {
    disk: Arc<dyn SegmentStore>,
    directory: &'a Path,
    options: &'a StoreOptions,
    replayed_records: u64,
    cut_bytes: u64,
    lock: Option<Arc<File>>,
}

impl Parts<'_> {
    fn assemble(self, journal: Journal, index: Arc<Index>) -> Inner {
        let Self { disk, directory, options, replayed_records, cut_bytes, lock } = self;
        let barrier = Arc::new(Barrier::default());
        Inner {
            journal,
            nodes: StoredNodes::new(Arc::clone(&disk), Arc::clone(&index), options.cache_bytes),
            index,
            disk,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            holds: Arc::new(Holds::new(Arc::clone(&barrier))),
            is_look: lock.is_none(),
            barrier,
            collecting: Mutex::default(),
            directories: Nodes::cache(),
            nodes_known: AtomicU64::new(0),
            replayed_records,
            cut_bytes,
            directory: directory.to_owned(),
            _lock: lock,
        }
    }
}

impl Inner {
    fn open(
        disk: Arc<dyn SegmentStore>,
        directory: &Path,
        options: &StoreOptions,
        lock: Arc<File>,
    ) -> Result<Self, StoreError> {
        let path = directory.join("index.db");
        let opened = opening::open(&*disk, &path)?;
        let (replayed_records, cut_bytes) = (opened.replayed_records, opened.recovered.cut_bytes);
        let index = Arc::new(Index::start(&path, opened.database, opened.recovered.last)?);
        let settings = Settings {
            sync_appends: options.durability == Durability::Disk,
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            salt: options.salt,
        };
        let journal = Journal::start(Arc::clone(&disk), Arc::clone(&index), settings, opened.recovered)?;
        let parts = Parts { disk, directory, options, replayed_records, cut_bytes, lock: Some(lock) };
        Ok(parts.assemble(journal, index))
    }

    /// Says whether a node is there to stay.
    fn has(&self, id: &NodeId, phase: &Phase) -> Result<bool, StoreError> {
        Ok(self.index.locate(id)?.is_some_and(|location| phase.counts(id, location.segment)))
    }
}

impl NodeSource for Inner {
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        self.nodes.node(id)
    }
}

impl NodeSource for Store {
    fn node(&self, id: &NodeId) -> Result<Bytes, StoreError> {
        self.inner.node(id)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Store").field("directory", &self.inner.directory).finish_non_exhaustive()
    }
}

/// Takes the nodes of one full record from the front; none when what is left fits into the last.
fn first_part(nodes: &mut Vec<(NodeId, Bytes)>) -> Option<Vec<(NodeId, Bytes)>> {
    let mut bytes = 0usize;
    let full = nodes.iter().position(|(_, node)| {
        bytes = bytes.saturating_add(node.len());
        bytes > RECORD_BYTES
    })?;
    let rest = nodes.split_off(full.max(1));
    (!rest.is_empty()).then(|| std::mem::replace(nodes, rest))
}

/// Takes the lock that keeps other processes out; it goes with the file, and so with the process.
pub(crate) fn take_lock(path: &Path) -> Result<File, StoreError> {
    let failed = |action| move |source| StoreError::Io { action, path: path.to_owned(), source };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = options.map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => {
            // For the message that others get; that it can't be written is no reason not to go on.
            drop(file.set_len(0).and_then(|()| file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
            Err(StoreError::Locked { path: path.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}
