//! The control plane on disk: what must survive a crash and is no part of any sandbox. `DATA/control.db`, SQLite.
//!
//! Idempotency keys are here, tokens in `control/tokens.rs`. Every change is synced before it is relied on
//! (`synchronous=FULL`), since a key that is lost is an operation done twice, and a revocation that is lost an open door.

pub(crate) mod tokens;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

/// The name of the database in the data directory.
pub(crate) const FILE: &str = "control.db";
/// 1: idempotency keys. 2: tokens too.
const VERSION: i32 = 2;
/// How long a key is kept.
const KEPT_FOR_MS: i64 = 24 * 60 * 60 * 1000;
/// Most keys that are kept; the oldest go first. Without it a client could fill the disk.
const KEYS_MAX: i64 = 100_000;
/// Most bytes of answers that are kept.
const ANSWERS_BYTES_MAX: i64 = 128 * 1024 * 1024;
/// New keys between two cleanings.
const CLEAN_EVERY: u32 = 1000;

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The hash of the body that came with it.
    pub(crate) digest: [u8; 32],
    /// The call that was started for it.
    pub(crate) call: Option<String>,
    /// The answer that was given.
    pub(crate) answer: Option<Answer>,
}

/// An answer as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The database. Its methods block on the disk.
pub(crate) struct Control {
    database: Mutex<Database>,
}

struct Database {
    connection: Connection,
    entered: u32,
}

impl Control {
    /// Opens or makes the database of a data directory, which nobody else has open.
    pub(crate) fn open(data: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(data.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
            let message = format!("{FILE} has version {version}, and this program knows {VERSION}");
            return Err(rusqlite::Error::SqliteFailure(code, Some(message)));
        }
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS idempotency (
                name BLOB PRIMARY KEY, digest BLOB NOT NULL, created_ms INTEGER NOT NULL,
                call TEXT, status INTEGER, headers TEXT, body BLOB
            ) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS idempotency_created ON idempotency (created_ms);",
        )?;
        connection.execute_batch(tokens::TABLE)?;
        // Last, so that a start that was cut off is done again.
        connection.pragma_update(None, "user_version", VERSION)?;
        clean(&connection)?;
        tokens::clean(&connection)?;
        Ok(Self { database: Mutex::new(Database { connection, entered: 0 }) })
    }

    fn lock(&self) -> MutexGuard<'_, Database> {
        // Every statement is a transaction of its own, so a panic leaves nothing half-done.
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is known of a key, or records it as new and returns nothing.
    pub(crate) fn enter(
        &self,
        name: &[u8; 32],
        digest: &[u8; 32],
        call: Option<&str>,
    ) -> rusqlite::Result<Option<Known>> {
        let mut database = self.lock();
        if let Some(known) = find(&database.connection, name)? {
            return Ok(Some(known));
        }
        database.entered += 1;
        if database.entered >= CLEAN_EVERY {
            database.entered = 0;
            clean(&database.connection)?;
        }
        let mut statement = database.connection.prepare_cached(
            "INSERT OR REPLACE INTO idempotency (name, digest, created_ms, call) VALUES (?1, ?2, ?3, ?4)",
        )?;
        statement.execute(params![name, digest, now_ms(), call])?;
        Ok(None)
    }

    pub(crate) fn set_call(&self, name: &[u8; 32], call: &str) -> rusqlite::Result<()> {
        let database = self.lock();
        let mut statement = database.connection.prepare_cached("UPDATE idempotency SET call = ?2 WHERE name = ?1")?;
        statement.execute(params![name, call]).map(drop)
    }

    pub(crate) fn answer(&self, name: &[u8; 32], answer: &Answer) -> rusqlite::Result<()> {
        let database = self.lock();
        let mut statement = database
            .connection
            .prepare_cached("UPDATE idempotency SET status = ?2, headers = ?3, body = ?4 WHERE name = ?1")?;
        let headers = serde_json::to_string(&answer.headers).unwrap_or_default();
        statement.execute(params![name, answer.status, headers, answer.body]).map(drop)
    }

    pub(crate) fn forget(&self, name: &[u8; 32]) -> rusqlite::Result<()> {
        let database = self.lock();
        let mut statement = database.connection.prepare_cached("DELETE FROM idempotency WHERE name = ?1")?;
        statement.execute([name]).map(drop)
    }
}

fn find(connection: &Connection, name: &[u8; 32]) -> rusqlite::Result<Option<Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT digest, call, status, headers, body FROM idempotency WHERE name = ?1 AND created_ms > ?2",
    )?;
    let known = statement.query_row(params![name, now_ms() - KEPT_FOR_MS], |row| {
        let status: Option<u16> = row.get(2)?;
        let answer = match status {
            None => None,
            Some(status) => {
                let headers: String = row.get(3)?;
                let headers = serde_json::from_str(&headers).unwrap_or_default();
                Some(Answer { status, headers, body: row.get(4)? })
            }
        };
        Ok(Known { digest: row.get(0)?, call: row.get(1)?, answer })
    });
    known.optional()
}

/// Removes what is too old, and the oldest of what is too much.
fn clean(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM idempotency WHERE created_ms <= ?1", [now_ms() - KEPT_FOR_MS])?;
    connection.execute(
        "DELETE FROM idempotency WHERE name IN (
            SELECT name FROM (
                SELECT name, row_number() OVER newest AS place, sum(coalesce(length(body), 0)) OVER newest AS bytes
                FROM idempotency WINDOW newest AS (ORDER BY created_ms DESC, name)
            ) WHERE place > ?1 OR bytes > ?2)",
        [KEYS_MAX, ANSWERS_BYTES_MAX],
    )?;
    Ok(())
}

/// Returns the time, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_answered_survives() {
        let data = tempfile::tempdir().unwrap();
        let answer = Answer {
            status: 201,
            headers: vec![("location".to_owned(), "/v1/x".to_owned())],
            body: b"{\"a\":1}".to_vec(),
        };
        let control = Control::open(data.path()).unwrap();
        assert_eq!(control.enter(&[1; 32], &[9; 32], None).unwrap(), None);
        assert_eq!(control.enter(&[2; 32], &[8; 32], Some("call_1")).unwrap(), None);
        control.answer(&[1; 32], &answer).unwrap();
        drop(control);
        let control = Control::open(data.path()).unwrap();
        let known = control.enter(&[1; 32], &[7; 32], None).unwrap().unwrap();
        assert_eq!(known, Known { digest: [9; 32], call: None, answer: Some(answer) });
        let known = control.enter(&[2; 32], &[8; 32], Some("call_2")).unwrap().unwrap();
        assert_eq!((known.call.as_deref(), known.answer), (Some("call_1"), None));
        control.set_call(&[2; 32], "call_3").unwrap();
        assert_eq!(control.enter(&[2; 32], &[8; 32], None).unwrap().unwrap().call.as_deref(), Some("call_3"));
        control.forget(&[2; 32]).unwrap();
        assert_eq!(control.enter(&[2; 32], &[8; 32], None).unwrap(), None);
    }

    #[test]
    fn old_keys_and_too_many_go() {
        let data = tempfile::tempdir().unwrap();
        let control = Control::open(data.path()).unwrap();
        for number in 0..4u8 {
            control.enter(&[number; 32], &[0; 32], None).unwrap();
            let database = control.lock();
            let age = if number == 0 { KEPT_FOR_MS + 1 } else { 1000 - i64::from(number) };
            let sql = "UPDATE idempotency SET created_ms = ?2, body = zeroblob(?3) WHERE name = ?1";
            database.connection.execute(sql, params![[number; 32], now_ms() - age, ANSWERS_BYTES_MAX / 2]).unwrap();
        }
        assert_eq!(control.enter(&[0; 32], &[5; 32], None).unwrap(), None);
        clean(&control.lock().connection).unwrap();
        let left = |number: u8| find(&control.lock().connection, &[number; 32]).unwrap().is_some();
        assert_eq!([left(1), left(2), left(3)], [false, true, true]);
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        drop(Control::open(data.path()).unwrap());
        let connection = Connection::open(data.path().join(FILE)).unwrap();
        connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(connection);
        assert!(Control::open(data.path()).is_err());
    }
}
