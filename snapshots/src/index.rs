//! The index: where nodes lie, what a log holds, where its head is. All of it is derived from the journal.
//!
//! What is published is readable at once from memory (`Pending`); a thread applies it to SQLite (`database.rs`) in batches,
//! off the commit path, and only once it is durable in the journal, so that the database is never ahead of the segments.
//! Readers ask memory first and the database after: what leaves the one is already in the other.

mod applier;
pub(crate) mod database;
mod heads;
pub(crate) mod swap;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use bytes::Bytes;
use rusqlite::Connection;

use self::applier::Applier;
use self::database::{Checkpoint, Database};
use self::heads::{HeadStore, MemoryHeads};
use crate::error::StoreError;
use crate::id::{CallId, EntryId, NodeId, SandboxId, StateId, Timestamp};
use crate::journal::lock;
use crate::journal::record::Record;
use crate::journal::segment::{Location, Placed, Position, SegmentId};
use crate::log::{self, Entry, EntryBody, Head, Tip};
use crate::node::NodeBatch;

/// How many nodes may wait in memory for the database before callers wait too.
const PENDING_LIMIT: usize = 400_000;
/// How many idle read connections are kept.
const IDLE_READERS: usize = 8;

/// Says that the index is damaged, and has the next opening rebuild it.
pub(crate) fn damaged_index(path: &Path, reason: &str) -> StoreError {
    database::mark_damaged(path);
    let reason = format!("{reason}; it will be rebuilt when the store is opened again");
    StoreError::DamagedFile { path: path.to_owned(), offset: 0, reason }
}

/// A record as the index needs it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) position: Position,
    pub(crate) entries: Vec<Entry>,
    /// Where the entries and then the nodes lie.
    pub(crate) placed: Vec<Placed>,
}

impl Written {
    /// Reads a verified record back.
    pub(crate) fn from_record(record: &Record<'_>, position: Position) -> Result<Self, StoreError> {
        let mut entries = Vec::with_capacity(record.header.entries as usize);
        let mut placed = Vec::new();
        for (item, ((id, location), bytes)) in record.placed(position.segment).enumerate() {
            if item < record.header.entries as usize {
                entries.push(log::decode(EntryId(id.0), bytes)?);
            }
            placed.push((id, location));
        }
        Ok(Self { position, entries, placed })
    }
}

/// An entry that was found: in memory, or at a place in a segment.
#[derive(Debug)]
pub(crate) enum Found {
    Pending(Box<Entry>),
    Stored(EntryId, Location),
}

/// What is published and not yet in the database.
#[derive(Debug, Default)]
struct Pending {
    nodes: HashMap<NodeId, Location>,
    /// Which entry of which record, oldest first.
    entries: HashMap<SandboxId, VecDeque<(Arc<Written>, usize)>>,
}

/// Work on the database that only its thread can do.
type Job = Box<dyn FnOnce(&mut Database) -> Result<(), StoreError> + Send>;

/// What waits for the applier.
#[derive(Default)]
struct Todo {
    waiting: VecDeque<Arc<Written>>,
    jobs: VecDeque<(Job, SyncSender<Result<(), StoreError>>)>,
    synced: u64,
    is_closed: bool,
    failed: Option<String>,
}

struct Shared {
    path: PathBuf,
    heads: MemoryHeads,
    pending: RwLock<Pending>,
    todo: Mutex<Todo>,
    /// The applier waits for work on it.
    work: Condvar,
    /// Callers wait for the applier on it.
    room: Condvar,
    readers: Mutex<Vec<Connection>>,
}

/// The open index. Dropping it applies what is durable and ends its thread.
pub(crate) struct Index {
    shared: Arc<Shared>,
    applier: Option<JoinHandle<()>>,
}

impl Index {
    /// Serves `database`, to which everything in the journal has been applied.
    pub(crate) fn start(path: &Path, database: Database, last: Position) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            heads: MemoryHeads::new(database.tips()?),
            pending: RwLock::default(),
            todo: Mutex::new(Todo { synced: last.seq, ..Todo::default() }),
            work: Condvar::new(),
            room: Condvar::new(),
            readers: Mutex::default(),
        });
        let applier = Applier::new(Arc::clone(&shared), database);
        let thread = std::thread::Builder::new().name("sandglass-index".to_owned()).spawn(move || applier.run());
        let thread =
            thread.map_err(|source| StoreError::Io { action: "start a thread for", path: path.to_owned(), source })?;
        Ok(Self { shared, applier: Some(thread) })
    }

    /// Makes written records visible to readers.
    pub(crate) fn publish(&self, records: Vec<Written>) {
        if records.is_empty() {
            return;
        }
        let records: Vec<Arc<Written>> = records.into_iter().map(Arc::new).collect();
        {
            let mut pending = self.shared.pending.write().unwrap_or_else(PoisonError::into_inner);
            for record in &records {
                pending.nodes.extend(record.placed.iter().copied());
                for (item, entry) in record.entries.iter().enumerate() {
                    pending.entries.entry(entry.sandbox).or_default().push_back((Arc::clone(record), item));
                }
            }
        }
        let entries: Vec<&Entry> = records.iter().flat_map(|record| &record.entries).collect();
        if let Some(last) = records.last()
            && let Err(error) = self.shared.heads.advance(last.position.epoch, &entries)
        {
            // The journal has one writer with one epoch: whoever is older was ended long ago.
            tracing::error!(%error, "moving heads");
        }
        lock(&self.shared.todo).waiting.extend(records);
        self.shared.work.notify_one();
    }

    /// Says that all records up to `seq` are durable.
    pub(crate) fn synced(&self, seq: u64) {
        let mut todo = lock(&self.shared.todo);
        todo.synced = todo.synced.max(seq);
        self.shared.work.notify_one();
    }

    /// Waits while too much of what was published is not in the database.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the database can't take it.
    pub(crate) fn wait_for_room(&self) -> Result<(), StoreError> {
        let is_full = || self.shared.pending.read().unwrap_or_else(PoisonError::into_inner).nodes.len() > PENDING_LIMIT;
        if !is_full() {
            return Ok(());
        }
        let mut todo = lock(&self.shared.todo);
        while is_full() {
            if let Some(reason) = &todo.failed {
                return Err(StoreError::Stopped(format!("the index can't follow: {reason}")));
            }
            todo = self.shared.room.wait(todo).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Returns the database's file.
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    pub(crate) fn tip(&self, sandbox: SandboxId) -> Option<Tip> {
        self.shared.heads.tip(sandbox)
    }

    /// Returns the heads of all logs that no delete ended, by id.
    pub(crate) fn heads(&self) -> Vec<(SandboxId, Head)> {
        let logs = self.logs().into_iter();
        logs.filter(|(_, tip)| tip.is_live()).map(|(sandbox, tip)| (sandbox, tip.head)).collect()
    }

    /// Returns all logs that were not purged, by id.
    pub(crate) fn logs(&self) -> Vec<(SandboxId, Tip)> {
        self.shared.heads.logs()
    }

    /// Returns how many published nodes are not in the database yet.
    pub(crate) fn pending_nodes(&self) -> u64 {
        self.shared.pending.read().unwrap_or_else(PoisonError::into_inner).nodes.len() as u64
    }

    /// Returns where a node lies.
    pub(crate) fn locate(&self, id: &NodeId) -> Result<Option<Location>, StoreError> {
        let pending = self.shared.pending.read().unwrap_or_else(PoisonError::into_inner).nodes.get(id).copied();
        match pending {
            Some(location) => Ok(Some(location)),
            None => self.read(|connection| database::locate(connection, id)),
        }
    }

    /// Returns the nodes of a batch that are not in the store where they count, in their order.
    pub(crate) fn missing(
        &self,
        nodes: &NodeBatch,
        counts: &dyn Fn(&NodeId, SegmentId) -> bool,
    ) -> Result<Vec<(NodeId, Bytes)>, StoreError> {
        let mut candidates: Vec<(NodeId, Bytes)> = {
            let pending = self.shared.pending.read().unwrap_or_else(PoisonError::into_inner);
            let is_known = |id: &NodeId| pending.nodes.get(id).is_some_and(|location| counts(id, location.segment));
            let unknown = nodes.iter().filter(|(id, _)| !is_known(id));
            unknown.map(|(id, bytes)| (*id, bytes.clone())).collect()
        };
        if !candidates.is_empty() {
            self.read(|connection| database::retain_missing(connection, &mut candidates, counts))?;
        }
        Ok(candidates)
    }

    /// Finds the entries after `after_seq`, oldest first.
    pub(crate) fn entries(&self, sandbox: SandboxId, after_seq: u64, limit: usize) -> Result<Vec<Found>, StoreError> {
        let pending = self.pending_entries(sandbox, |seq| seq > after_seq, limit);
        let mut found = Vec::new();
        let mut last = after_seq;
        if pending.first().is_none_or(|entry| entry.seq > after_seq.saturating_add(1)) {
            let rows = self.read(|connection| database::entries_after(connection, sandbox, after_seq, limit))?;
            for (seq, id, location) in rows {
                last = seq;
                found.push(Found::Stored(id, location));
            }
        }
        let rest = limit.saturating_sub(found.len());
        found.extend(
            pending
                .into_iter()
                .filter(|entry| entry.seq > last)
                .take(rest)
                .map(|entry| Found::Pending(Box::new(entry))),
        );
        Ok(found)
    }

    /// Finds the number of the entry that records a call.
    pub(crate) fn call_seq(&self, sandbox: SandboxId, call: CallId) -> Result<Option<u64>, StoreError> {
        let is_it = |entry: &Entry| match &entry.body {
            EntryBody::Operation(operation) => operation.call.as_ref().is_some_and(|record| record.id == call),
            _ => false,
        };
        // Newest first: the database is asked before what is pending could have moved there.
        let pending = self.pending_entries(sandbox, |_| true, usize::MAX);
        match pending.iter().rev().find(|entry| is_it(entry)) {
            Some(entry) => Ok(Some(entry.seq)),
            None => self.read(|connection| database::call_seq(connection, sandbox, call)),
        }
    }

    /// Finds the number of the newest entry of a kind that is its writer's.
    pub(crate) fn newest_other(&self, sandbox: SandboxId, kind: u16) -> Result<Option<u64>, StoreError> {
        let is_it = |entry: &Entry| matches!(&entry.body, EntryBody::Other { kind: found, .. } if *found == kind);
        let pending = self.pending_entries(sandbox, |_| true, usize::MAX);
        match pending.iter().rev().find(|entry| is_it(entry)) {
            Some(entry) => Ok(Some(entry.seq)),
            None => self.read(|connection| swap::newest_other(connection, sandbox, kind)),
        }
    }

    /// Says whether an operation of a log led to a state.
    pub(crate) fn has_state(&self, sandbox: SandboxId, state: StateId) -> Result<bool, StoreError> {
        let led_there =
            |entry: &Entry| matches!(&entry.body, EntryBody::Operation(operation) if operation.after == state);
        // Memory first, as for calls: what leaves it is in the database by then.
        if self.pending_entries(sandbox, |_| true, usize::MAX).iter().any(led_there) {
            return Ok(true);
        }
        self.read(|connection| database::has_state(connection, sandbox, state))
    }

    /// Finds the entries before `before_seq`, newest first.
    pub(crate) fn entries_before(
        &self,
        sandbox: SandboxId,
        before_seq: u64,
        limit: usize,
    ) -> Result<Vec<Found>, StoreError> {
        let mut pending = self.pending_entries(sandbox, |seq| seq < before_seq, usize::MAX);
        pending.reverse();
        pending.truncate(limit);
        let below = pending.last().map_or(before_seq, |entry| entry.seq);
        let rest = limit.saturating_sub(pending.len());
        let mut found: Vec<Found> = pending.into_iter().map(|entry| Found::Pending(Box::new(entry))).collect();
        if rest > 0 && below > 1 {
            let rows = self.read(|connection| database::entries_before(connection, sandbox, below, rest))?;
            found.extend(rows.into_iter().map(|(_, id, location)| Found::Stored(id, location)));
        }
        Ok(found)
    }

    /// Returns a sandbox's named checkpoints, oldest first.
    pub(crate) fn checkpoints(&self, sandbox: SandboxId) -> Result<Vec<Checkpoint>, StoreError> {
        let pending = self.pending_entries(sandbox, |_| true, usize::MAX);
        let (applied, rows) = self.read(|connection| database::checkpoints(connection, sandbox))?;
        let mut named: HashMap<String, (StateId, u64, Timestamp)> =
            rows.into_iter().map(|(name, state, seq, time)| (name, (state, seq, time))).collect();
        for entry in pending.into_iter().filter(|entry| entry.seq > applied) {
            match entry.body {
                EntryBody::Checkpoint { name, state } => {
                    named.insert(name, (state, entry.seq, entry.time));
                }
                EntryBody::CheckpointDeleted { name } => {
                    named.remove(&name);
                }
                EntryBody::Operation(_)
                | EntryBody::Policy { .. }
                | EntryBody::Other { .. }
                | EntryBody::Expired { .. }
                | EntryBody::Purged => {}
            }
        }
        let mut all: Vec<_> = named.into_iter().map(|(name, (state, seq, time))| (name, state, seq, time)).collect();
        all.sort_unstable_by_key(|(_, _, seq, _)| *seq);
        Ok(all)
    }

    /// Returns the ranges of a log's entries that were given up, in order and apart from one another.
    pub(crate) fn expired(&self, sandbox: SandboxId) -> Result<Vec<(u64, u64)>, StoreError> {
        let pending = self.pending_entries(sandbox, |_| true, usize::MAX);
        let mut ranges = self.read(|connection| swap::expired(connection, sandbox))?;
        ranges.extend(pending.into_iter().flat_map(|entry| match entry.body {
            EntryBody::Expired { ranges } => ranges,
            _ => Vec::new(),
        }));
        Ok(log::joined(ranges))
    }

    /// Returns the sandboxes that were purged and of which something may be left.
    pub(crate) fn purged(&self) -> Result<Vec<(SandboxId, EntryId)>, StoreError> {
        self.read(swap::purged)
    }

    /// Lets the database's thread do something, after everything that was durable before.
    pub(crate) fn with_database(
        &self,
        job: impl FnOnce(&mut Database) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (answer, answered) = sync_channel(1);
        lock(&self.shared.todo).jobs.push_back((Box::new(job), answer));
        self.shared.work.notify_one();
        answered.recv().unwrap_or_else(|_| Err(StoreError::Stopped("the index is closed".to_owned())))
    }

    fn pending_entries(&self, sandbox: SandboxId, wanted: impl Fn(u64) -> bool, limit: usize) -> Vec<Entry> {
        let pending = self.shared.pending.read().unwrap_or_else(PoisonError::into_inner);
        let entries = pending.entries.get(&sandbox).into_iter().flatten();
        let entries = entries.filter_map(|(record, item)| record.entries.get(*item));
        entries.filter(|entry| wanted(entry.seq)).take(limit).cloned().collect()
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = lock(&self.shared.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => database::open_reader(&self.shared.path)?,
        };
        let outcome = query(&connection).inspect_err(|error| database::mark_if_damaged(&self.shared.path, error))?;
        let mut idle = lock(&self.shared.readers);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
        Ok(outcome)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Index").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        lock(&self.shared.todo).is_closed = true;
        self.shared.work.notify_all();
        if self.applier.take().is_some_and(|applier| applier.join().is_err()) {
            tracing::error!("the index's thread died; what it missed is read from the journal at the next opening");
        }
    }
}
