//! The index's SQLite file: its tables, what is written to them, what is asked of them.
//!
//! Numbers are SQLite's signed 64 bits, with the bits of ours.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::Written;
use crate::error::StoreError;
use crate::id::{CallId, EntryId, NodeId, SandboxId, StateId, Timestamp};
use crate::journal::segment::{Location, Position, SegmentId};
use crate::log::{Entry, EntryBody, Head, Life, OperationKind, Tip};

/// The version of the tables; any other is rebuilt.
const INDEX_VERSION: i64 = 2;
/// From which size on SQLite's log is moved to its file; it begins anew then, and is cut to this size.
const LOG_BYTES: u64 = 8 << 20;

const TABLES: &str = "
    CREATE TABLE nodes (
        id BLOB PRIMARY KEY, segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE entries (
        sandbox BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL,
        kind INTEGER NOT NULL, after BLOB, time INTEGER NOT NULL,
        PRIMARY KEY (sandbox, seq)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE expired (
        sandbox BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (sandbox, first, last)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE purged (sandbox BLOB PRIMARY KEY, entry BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE rewritten (
        number INTEGER PRIMARY KEY, rewrite INTEGER NOT NULL, last_number INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE calls (
        sandbox BLOB NOT NULL, call BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (sandbox, call)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE heads (
        sandbox BLOB PRIMARY KEY, entry BLOB NOT NULL, seq INTEGER NOT NULL, state BLOB NOT NULL,
        generation INTEGER NOT NULL, deleted INTEGER, operation INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE checkpoints (
        sandbox BLOB NOT NULL, name TEXT NOT NULL, state BLOB, seq INTEGER NOT NULL, time INTEGER NOT NULL,
        PRIMARY KEY (sandbox, name)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE applied (
        one INTEGER PRIMARY KEY CHECK (one = 1), segment INTEGER NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL,
        seq INTEGER NOT NULL, epoch INTEGER NOT NULL, checksum BLOB NOT NULL
    ) STRICT;
";

/// A named checkpoint: name, state, number of its entry, time.
pub(crate) type Checkpoint = (String, StateId, u64, Timestamp);

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    path: PathBuf,
}

impl Database {
    /// Opens the database, making a new one when there is none, or one that is damaged or of another version.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let is_marked = damage_mark(path).exists();
        if path.exists() && !is_marked {
            match Self::open_existing(path) {
                Ok(Some(database)) => return Ok(database),
                Ok(None) => tracing::info!(path = %path.display(), "the index is of another version; rebuilding it"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "the index is damaged; rebuilding it"),
            }
        }
        Self::create(path)
    }

    fn open_existing(path: &Path) -> rusqlite::Result<Option<Self>> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != INDEX_VERSION {
            return Ok(None);
        }
        let mut database = Self { connection, path: path.to_owned() };
        database.configure("NORMAL")?;
        database.applied()?;
        database.tips()?;
        database.checkpoint_if_large();
        Ok(Some(database))
    }

    /// Makes an empty database in place of whatever is there.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        remove_database(path)?;
        // SQLite gives its other files the mode of this one.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        made.map_err(|source| StoreError::Io { action: "create", path: path.to_owned(), source })?;
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut database = Self { connection, path: path.to_owned() };
        // Losing an index that is being made costs making it again.
        database.configure("OFF")?;
        let begun = database.connection.unchecked_transaction()?;
        begun.execute_batch(TABLES)?;
        begun.pragma_update(None, "user_version", INDEX_VERSION)?;
        begun.commit()?;
        database.connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(database)
    }

    fn configure(&mut self, synchronous: &str) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", synchronous)?;
        self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        self.connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        let limit = i64::try_from(LOG_BYTES).unwrap_or(i64::MAX);
        self.connection.pragma_update_and_check(None, "journal_size_limit", limit, |_| Ok(()))?;
        self.connection.pragma_update(None, "cache_size", -16_384)?;
        self.connection.pragma_update(None, "temp_store", "MEMORY")?;
        self.connection.set_prepared_statement_cache_capacity(32);
        #[cfg(test)]
        faults::install(&mut self.connection);
        Ok(())
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) const fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Returns the last record that was applied.
    pub(crate) fn applied(&self) -> rusqlite::Result<Option<Position>> {
        let mut query =
            self.connection.prepare_cached("SELECT segment, start, end, seq, epoch, checksum FROM applied")?;
        let row = query.query_row([], |row| {
            Ok(Position {
                segment: SegmentId::from_u64(unsigned(row, 0)?),
                start: unsigned(row, 1)?,
                end: unsigned(row, 2)?,
                seq: unsigned(row, 3)?,
                epoch: unsigned(row, 4)?,
                checksum: row.get(5)?,
            })
        });
        row.optional()
    }

    /// Returns where every log stands.
    pub(crate) fn tips(&self) -> rusqlite::Result<BTreeMap<SandboxId, Tip>> {
        let mut query =
            self.connection.prepare("SELECT sandbox, entry, seq, state, generation, deleted, operation FROM heads")?;
        let rows = query.query_map([], |row| {
            let head = Head {
                entry: EntryId(row.get(1)?),
                seq: unsigned(row, 2)?,
                state: StateId(row.get(3)?),
                generation: unsigned(row, 4)?,
            };
            let deleted: Option<i64> = row.get(5)?;
            let life = deleted.map_or(Life::Live, |time| Life::Deleted(Timestamp(time)));
            Ok((SandboxId(row.get(0)?), Tip { head, life, operation: unsigned(row, 6)? }))
        })?;
        rows.collect()
    }

    /// Applies records, in their order, all or none.
    pub(crate) fn apply<'a>(&mut self, records: impl IntoIterator<Item = &'a Written>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let mut last = None;
        {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO nodes (id, segment, offset, length) VALUES (?, ?, ?, ?)")?;
            for record in records {
                for (id, Location { segment, offset, length }) in &record.placed {
                    let segment = segment.to_u64().cast_signed();
                    insert.execute(params![id.as_bytes(), segment, offset.cast_signed(), length])?;
                }
                for entry in &record.entries {
                    apply_entry(&transaction, entry)?;
                }
                last = Some(record.position);
            }
        }
        if let Some(position) = last {
            set_applied(&transaction, position)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Moves pages from SQLite's log to its file when the log is large, without keeping anybody from reading.
    ///
    /// The log outlives a killed process, so it is the file that counts and not what this process wrote.
    pub(crate) fn checkpoint_if_large(&self) {
        if fs::metadata(with_suffix(&self.path, "-wal")).map_or(0, |log| log.len()) < LOG_BYTES {
            return;
        }
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(1));
        if let Err(error) = moved {
            tracing::warn!(%error, "moving the index's log into its file");
        }
    }
}

pub(super) fn set_applied(connection: &Connection, position: Position) -> rusqlite::Result<()> {
    let Position { segment, start, end, seq, epoch, checksum } = position;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO applied (one, segment, start, end, seq, epoch, checksum) VALUES (1, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            segment.to_u64().cast_signed(),
            start.cast_signed(),
            end.cast_signed(),
            seq.cast_signed(),
            epoch.cast_signed(),
            checksum
        ])?;
    Ok(())
}

/// Returns what stands for a kind of entry that is its writer's.
pub(super) fn other_kind(kind: u16) -> i64 {
    0x1_0000 + i64::from(kind)
}

fn apply_entry(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let (kind, after) = match &entry.body {
        EntryBody::Operation(operation) => (i64::from(operation.kind as u8), Some(operation.after.0)),
        EntryBody::Checkpoint { state, .. } => (256, Some(state.0)),
        EntryBody::CheckpointDeleted { .. } => (257, None),
        EntryBody::Policy { .. } => (258, None),
        EntryBody::Other { kind, .. } => (other_kind(*kind), None),
        EntryBody::Expired { .. } => (259, None),
        EntryBody::Purged => (260, None),
    };
    let sandbox = &entry.sandbox.0;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO entries (sandbox, seq, id, kind, after, time) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![sandbox, entry.seq.cast_signed(), entry.id.as_bytes(), kind, after, entry.time.0])?;
    // An entry that a repair brought back is told again after the ones that follow it: the larger number counts.
    match &entry.body {
        EntryBody::Operation(operation) => {
            connection
                .prepare_cached(
                    "INSERT INTO heads (sandbox, entry, seq, state, generation, deleted, operation)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?3)
                     ON CONFLICT (sandbox) DO UPDATE SET
                         state = excluded.state, generation = excluded.generation, deleted = excluded.deleted,
                         operation = excluded.operation
                     WHERE excluded.operation > heads.operation",
                )?
                .execute(params![
                    sandbox,
                    entry.id.as_bytes(),
                    entry.seq.cast_signed(),
                    operation.after.as_bytes(),
                    operation.generation.cast_signed(),
                    (operation.kind == OperationKind::Delete).then_some(entry.time.0)
                ])?;
            if let Some(call) = &operation.call {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO calls (sandbox, call, seq) VALUES (?, ?, ?)")?
                    .execute(params![sandbox, call.id.0, entry.seq.cast_signed()])?;
            }
        }
        EntryBody::Checkpoint { name, state } => name_state(connection, entry, name, Some(state))?,
        EntryBody::CheckpointDeleted { name } => name_state(connection, entry, name, None)?,
        EntryBody::Expired { ranges } => {
            let mut insert =
                connection.prepare_cached("INSERT OR IGNORE INTO expired (sandbox, first, last) VALUES (?, ?, ?)")?;
            for (first, last) in ranges {
                insert.execute(params![sandbox, first.cast_signed(), last.cast_signed()])?;
            }
        }
        EntryBody::Purged => {
            for table in ["entries", "calls", "heads", "checkpoints", "expired"] {
                connection.prepare_cached(&format!("DELETE FROM {table} WHERE sandbox = ?"))?.execute([sandbox])?;
            }
            connection
                .prepare_cached("INSERT OR REPLACE INTO purged (sandbox, entry) VALUES (?, ?)")?
                .execute(params![sandbox, entry.id.as_bytes()])?;
            return Ok(());
        }
        EntryBody::Policy { .. } | EntryBody::Other { .. } => {}
    }
    connection
        .prepare_cached("UPDATE heads SET entry = ?1, seq = ?2 WHERE sandbox = ?3 AND seq < ?2")?
        .execute(params![entry.id.as_bytes(), entry.seq.cast_signed(), sandbox])?;
    Ok(())
}

/// Notes what a name means from an entry on: a state, or nothing.
fn name_state(connection: &Connection, entry: &Entry, name: &str, state: Option<&StateId>) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO checkpoints (sandbox, name, state, seq, time) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (sandbox, name) DO UPDATE SET state = excluded.state, seq = excluded.seq, time = excluded.time
             WHERE excluded.seq > checkpoints.seq",
        )?
        .execute(params![entry.sandbox.0, name, state.map(StateId::as_bytes), entry.seq.cast_signed(), entry.time.0])?;
    Ok(())
}

/// Opens a connection that only reads.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update_and_check(None, "mmap_size", 1i64 << 30, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(connection)
}

/// Returns where a node lies.
pub(crate) fn locate(connection: &Connection, id: &NodeId) -> rusqlite::Result<Option<Location>> {
    let mut query = connection.prepare_cached("SELECT segment, offset, length FROM nodes WHERE id = ?")?;
    query.query_row([id.as_bytes()], |row| location(row, 0)).optional()
}

/// Keeps the nodes that the database does not have where they count.
pub(crate) fn retain_missing(
    connection: &Connection,
    nodes: &mut Vec<(NodeId, Bytes)>,
    counts: &dyn Fn(&NodeId, SegmentId) -> bool,
) -> rusqlite::Result<()> {
    let snapshot = connection.unchecked_transaction()?;
    let mut failed = None;
    {
        let mut query = snapshot.prepare_cached("SELECT segment FROM nodes WHERE id = ?")?;
        nodes.retain(|(id, _)| {
            let found = query.query_row([id.as_bytes()], |row| unsigned(row, 0)).optional();
            found.map_or_else(
                |error| {
                    failed.get_or_insert(error);
                    true
                },
                |segment| segment.is_none_or(|segment| !counts(id, SegmentId::from_u64(segment))),
            )
        });
    }
    failed.map_or_else(|| snapshot.commit(), Err)
}

/// Returns number, id and place of the entries after `seq`, oldest first.
pub(crate) fn entries_after(
    connection: &Connection,
    sandbox: SandboxId,
    seq: u64,
    limit: usize,
) -> rusqlite::Result<Vec<(u64, EntryId, Location)>> {
    let query = "SELECT e.seq, e.id, n.segment, n.offset, n.length FROM entries e JOIN nodes n ON n.id = e.id
         WHERE e.sandbox = ? AND e.seq > ? ORDER BY e.seq LIMIT ?";
    entries(connection, query, sandbox, seq, limit)
}

/// Returns the number of the entry that records a call.
pub(crate) fn call_seq(connection: &Connection, sandbox: SandboxId, call: CallId) -> rusqlite::Result<Option<u64>> {
    connection
        .prepare_cached("SELECT seq FROM calls WHERE sandbox = ? AND call = ?")?
        .query_row(params![sandbox.0, call.0], |row| row.get::<_, i64>(0))
        .optional()
        .map(|seq| seq.map(i64::cast_unsigned))
}

/// Says whether an operation of a log led to a state. Reads the log's rows, none of its entries.
pub(crate) fn has_state(connection: &Connection, sandbox: SandboxId, state: StateId) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM entries WHERE sandbox = ? AND after = ?)")?
        .query_row(params![sandbox.0, state.0], |row| row.get(0))
}

/// Returns number, id and place of the entries before `seq`, newest first.
pub(crate) fn entries_before(
    connection: &Connection,
    sandbox: SandboxId,
    seq: u64,
    limit: usize,
) -> rusqlite::Result<Vec<(u64, EntryId, Location)>> {
    let query = "SELECT e.seq, e.id, n.segment, n.offset, n.length FROM entries e JOIN nodes n ON n.id = e.id
         WHERE e.sandbox = ? AND e.seq < ? ORDER BY e.seq DESC LIMIT ?";
    entries(connection, query, sandbox, seq, limit)
}

fn entries(
    connection: &Connection,
    query: &str,
    sandbox: SandboxId,
    seq: u64,
    limit: usize,
) -> rusqlite::Result<Vec<(u64, EntryId, Location)>> {
    // No log is longer than a signed number counts.
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut query = connection.prepare_cached(query)?;
    let rows = query.query_map(params![sandbox.0, seq, limit], |row| {
        Ok((unsigned(row, 0)?, EntryId(row.get(1)?), location(row, 2)?))
    })?;
    rows.collect()
}

/// Returns up to which entry a log is applied, and the checkpoints named so far.
pub(crate) fn checkpoints(connection: &Connection, sandbox: SandboxId) -> rusqlite::Result<(u64, Vec<Checkpoint>)> {
    let snapshot = connection.unchecked_transaction()?;
    let applied = snapshot
        .prepare_cached("SELECT seq FROM heads WHERE sandbox = ?")?
        .query_row([sandbox.0], |row| unsigned(row, 0))
        .optional()?
        .unwrap_or(0);
    let rows = snapshot
        .prepare_cached("SELECT name, state, seq, time FROM checkpoints WHERE sandbox = ? AND state IS NOT NULL")?
        .query_map([sandbox.0], |row| {
            Ok((row.get(0)?, StateId(row.get(1)?), unsigned(row, 2)?, Timestamp(row.get(3)?)))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    snapshot.commit()?;
    Ok((applied, rows))
}

fn location(row: &Row<'_>, first: usize) -> rusqlite::Result<Location> {
    let segment = SegmentId::from_u64(unsigned(row, first)?);
    Ok(Location { segment, offset: unsigned(row, first + 1)?, length: row.get(first + 2)? })
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

const DAMAGE_SUFFIX: &str = "-damaged";

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn damage_mark(path: &Path) -> PathBuf {
    with_suffix(path, DAMAGE_SUFFIX)
}

/// Removes a database with everything that belongs to it.
pub(crate) fn remove_database(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal", DAMAGE_SUFFIX] {
        let file = with_suffix(path, suffix);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Io { action: "remove", path: file, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Leaves a mark by which the next opening rebuilds the database.
pub(crate) fn mark_damaged(path: &Path) {
    let marked = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(damage_mark(path));
    tracing::error!(path = %path.display(), is_marked = marked.is_ok(), "the index is damaged; the next opening rebuilds it");
}

/// Leaves that mark when SQLite finds its file damaged.
pub(crate) fn mark_if_damaged(path: &Path, error: &rusqlite::Error) {
    if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) {
        mark_damaged(path);
    }
}

/// Commits of a database that fail on purpose.
#[cfg(test)]
pub(crate) mod faults {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    use rusqlite::Connection;

    use crate::journal::lock;

    /// How many commits each database did, and which of them fails.
    static COMMITS: Mutex<Option<HashMap<PathBuf, (u64, u64)>>> = Mutex::new(None);

    /// Lets only the `commit`-th commit from now of a database fail.
    pub(crate) fn fail_at(path: &Path, commit: u64) {
        lock(&COMMITS).get_or_insert_default().insert(path.to_owned(), (0, commit));
    }

    /// Returns how many commits a database did since [`fail_at`].
    pub(crate) fn commits(path: &Path) -> u64 {
        lock(&COMMITS).as_ref().and_then(|all| all.get(path)).map_or(0, |(done, _)| *done)
    }

    pub(super) fn install(connection: &mut Connection) {
        let Some(path) = connection.path().map(PathBuf::from) else { return };
        let hook = move || {
            let mut all = lock(&COMMITS);
            let Some((done, fails)) = all.as_mut().and_then(|all| all.get_mut(&path)) else { return false };
            *done += 1;
            *done == *fails
        };
        connection.commit_hook(Some(hook)).unwrap();
    }
}
