//! The store: nodes and logs under one directory.
//!
//! It is made of a *journal* (`journal.rs`: segments of records, the one thing that must not be lost), an *index* (`index.rs`:
//! where everything lies, derived from the journal) and a *cache* of nodes (`store/nodes.rs`). Writing goes to the journal,
//! which publishes to the index; reading asks the cache, then the index, then a segment.

mod hold;
mod nodes;
#[cfg(test)]
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the numbers of these tests are small")]
mod tests;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use self::hold::Hold;
use self::hold::Holds;
use self::nodes::StoredNodes;
use crate::diff::{Diff, diff_with};
use crate::error::StoreError;
use crate::id::{CallId, EntryId, NodeId, SandboxId, StateId, Timestamp};
use crate::index::database::Database;
use crate::index::{Found, Index, Written};
use crate::journal::disk::{Disk, LocalDisk, make_private_directory};
use crate::journal::recovery::{Recovered, recover};
use crate::journal::{Append, Journal, Settings};
use crate::log::{self, Draft, Entry, Head};
use crate::node::{NodeBatch, NodeKind, NodeSource};
use crate::state::State;
use crate::transaction::{Quota, Transaction, read_blob};
use crate::tree::{DirectoryCache, Nodes};

/// The largest node, in bytes.
pub(crate) const NODE_LIMIT: usize = 128 << 20;
/// How many bytes of nodes go into one record; more are written ahead of the record that needs them.
const RECORD_BYTES: usize = 8 << 20;
/// How many nodes of a journal that is read back are applied to the index at a time.
const REPLAY_NODES: usize = 50_000;

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
    /// How many bytes of nodes are kept in memory.
    pub cache_bytes: u64,
    /// Random bytes that make a segment's checksums unpredictable to whoever chooses what is stored; no secret is kept by it.
    pub salt: [u8; 16],
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { durability: Durability::Disk, segment_bytes: 64 << 20, cache_bytes: 256 << 20, salt: [0; 16] }
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
    inner: Arc<Inner>,
}

/// The parts; the journal closes first, the lock goes last.
struct Inner {
    journal: Journal,
    index: Arc<Index>,
    nodes: StoredNodes,
    /// Decoded directory nodes, shared by all transactions.
    directories: Arc<DirectoryCache>,
    holds: Arc<Holds>,
    nodes_known: AtomicU64,
    replayed_records: u64,
    cut_bytes: u64,
    directory: PathBuf,
    _lock: File,
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

    fn open_on(disk: Arc<dyn Disk>, directory: &Path, options: &StoreOptions, lock: File) -> Result<Self, StoreError> {
        let path = directory.join("index.db");
        let mut database = Database::open(&path)?;
        let (recovered, replayed_records) = replay(&*disk, &mut database)?;
        let cut_bytes = recovered.cut_bytes;
        let index = Arc::new(Index::start(&path, database, recovered.last)?);
        let settings = Settings {
            sync_appends: options.durability == Durability::Disk,
            segment_bytes: options.segment_bytes,
            salt: options.salt,
        };
        let journal = Journal::start(Arc::clone(&disk), Arc::clone(&index), settings, recovered)?;
        let inner = Inner {
            journal,
            nodes: StoredNodes::new(disk, Arc::clone(&index), options.cache_bytes),
            index,
            directories: Nodes::cache(),
            holds: Arc::default(),
            nodes_known: AtomicU64::new(0),
            replayed_records,
            cut_bytes,
            directory: directory.to_owned(),
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
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
        let tip = self.inner.index.tip(sandbox).filter(|tip| !tip.is_deleted);
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
        let mut missing = self.missing(&nodes)?;
        while let Some(first) = first_part(&mut missing) {
            self.inner.journal.put(first)?;
        }
        let appended = self.inner.journal.append(Append { sandbox, expected, drafts: entries, nodes: missing })?;
        self.inner.nodes.keep(nodes.into_nodes());
        Ok(appended)
    }

    /// Writes nodes that are held, and returns how many of them were not there.
    fn put_held(&self, nodes: NodeBatch) -> Result<u64, StoreError> {
        let mut missing = self.missing(&nodes)?;
        let written = missing.len() as u64;
        while let Some(first) = first_part(&mut missing) {
            self.inner.journal.put(first)?;
        }
        if !missing.is_empty() {
            self.inner.journal.put(missing)?;
        }
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

    fn missing(&self, nodes: &NodeBatch) -> Result<Vec<(NodeId, Bytes)>, StoreError> {
        if let Some((_, large)) = nodes.iter().find(|(_, bytes)| bytes.len() > NODE_LIMIT) {
            let (bytes, limit) = (large.len() as u64, NODE_LIMIT as u64);
            return Err(StoreError::TooLarge { what: "a node", bytes, limit });
        }
        self.inner.index.wait_for_room()?;
        let missing = self.inner.index.missing(nodes)?;
        self.inner.nodes_known.fetch_add((nodes.len() - missing.len()) as u64, Ordering::Relaxed);
        Ok(missing)
    }

    /// Returns the entries of a log after `after_seq` (0 for all), oldest first, at most `limit`.
    ///
    /// The log of a deleted sandbox can still be read.
    ///
    /// # Errors
    /// [`StoreError::UnknownSandbox`], or what reading met.
    pub fn entries(&self, sandbox: SandboxId, after_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.log_exists(sandbox)?;
        self.load(self.inner.index.entries(sandbox, after_seq, limit)?)
    }

    /// Returns the entries of a log before `before_seq` (`u64::MAX` for all), newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn entries_before(&self, sandbox: SandboxId, before_seq: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.log_exists(sandbox)?;
        self.load(self.inner.index.entries_before(sandbox, before_seq, limit)?)
    }

    /// Returns the number of the entry that records a call, if the sandbox's log has one.
    ///
    /// # Errors
    /// What reading met.
    pub fn call_seq(&self, sandbox: SandboxId, call: CallId) -> Result<Option<u64>, StoreError> {
        self.inner.index.call_seq(sandbox, call)
    }

    /// Returns why nothing is written any more, once a write or a sync has failed.
    #[must_use]
    pub fn stopped(&self) -> Option<String> {
        self.inner.journal.stopped()
    }

    /// Returns one entry of a log.
    ///
    /// # Errors
    /// [`StoreError::UnknownEntry`], and as [`Self::entries`].
    pub fn entry(&self, sandbox: SandboxId, seq: u64) -> Result<Entry, StoreError> {
        let unknown = || StoreError::UnknownEntry { sandbox, seq };
        let found = self.entries(sandbox, seq.checked_sub(1).ok_or_else(unknown)?, 1)?;
        found.into_iter().next().ok_or_else(unknown)
    }

    /// Returns a sandbox's named checkpoints: name, state, number of the entry that named it, and when; oldest first.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn checkpoints(&self, sandbox: SandboxId) -> Result<Vec<(String, StateId, u64, Timestamp)>, StoreError> {
        self.log_exists(sandbox)?;
        self.inner.index.checkpoints(sandbox)
    }

    fn log_exists(&self, sandbox: SandboxId) -> Result<(), StoreError> {
        self.inner.index.tip(sandbox).map(drop).ok_or(StoreError::UnknownSandbox(sandbox))
    }

    fn load(&self, found: Vec<Found>) -> Result<Vec<Entry>, StoreError> {
        let load = |found| match found {
            Found::Pending(entry) => Ok(*entry),
            Found::Stored(id, location) => log::decode(id, &self.inner.nodes.at(&NodeId(id.0), location)?),
        };
        found.into_iter().map(load).collect()
    }

    /// Says whether a state is in the store.
    #[must_use]
    pub fn contains_state(&self, state: StateId) -> bool {
        let node = self.inner.nodes.node(&state.into());
        node.is_ok_and(|bytes| bytes.first() == Some(&(NodeKind::State as u8)))
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

/// Applies the records that the index lacks; returns where the journal ends and how many there were.
fn replay(disk: &dyn Disk, database: &mut Database) -> Result<(Recovered, u64), StoreError> {
    let from = database.applied()?;
    let mut batch: Vec<Written> = Vec::new();
    let (mut nodes, mut records) = (0, 0);
    let recovered = recover(disk, from, &mut |record, position| {
        let written = Written::from_record(record, position)?;
        nodes += written.placed.len();
        records += 1;
        batch.push(written);
        if nodes >= REPLAY_NODES {
            database.apply(&batch)?;
            batch.clear();
            nodes = 0;
        }
        Ok(())
    })?;
    database.apply(&batch)?;
    Ok((recovered, records))
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
fn take_lock(path: &Path) -> Result<File, StoreError> {
    let failed = |action| move |source| StoreError::Io { action, path: path.to_owned(), source };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = options.map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}
