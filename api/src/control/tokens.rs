//! The tokens on disk: who they are for and what they may do, and of their secrets the hashes alone.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use sandglass_runtime::SandboxId;

use super::{Control, now_ms};
use crate::http::types::Scope;

pub(super) const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS tokens (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, scopes TEXT NOT NULL, sandbox TEXT,
        created_ms INTEGER NOT NULL, expires_ms INTEGER, revoked_ms INTEGER
    ) WITHOUT ROWID;";
/// How long tokens are listed that do not open anything any more.
const ENDED_KEPT_FOR_MS: i64 = 30 * 24 * 60 * 60 * 1000;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) name: String,
    /// The BLAKE3 hash of the secret.
    pub(crate) hash: [u8; 32],
    pub(crate) scopes: Vec<Scope>,
    pub(crate) sandbox: Option<SandboxId>,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: Option<i64>,
    pub(crate) revoked_ms: Option<i64>,
}

impl Control {
    /// Returns all tokens, also those that have ended.
    pub(crate) fn tokens(&self) -> rusqlite::Result<Vec<Row>> {
        let database = self.lock();
        let mut statement = database.connection.prepare_cached(
            "SELECT id, name, hash, scopes, sandbox, created_ms, expires_ms, revoked_ms FROM tokens ORDER BY id",
        )?;
        let rows = statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(rows.into_iter().flatten().collect())
    }

    pub(crate) fn add_token(&self, row: &Row) -> rusqlite::Result<()> {
        let database = self.lock();
        let mut statement = database.connection.prepare_cached(
            "INSERT INTO tokens (id, name, hash, scopes, sandbox, created_ms, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let scopes = Scope::join(&row.scopes);
        let sandbox = row.sandbox.map(|sandbox| sandbox.to_string());
        statement
            .execute(params![row.id, row.name, row.hash, scopes, sandbox, row.created_ms, row.expires_ms])
            .map(drop)
    }

    /// Removes the tokens that have ended.
    pub(crate) fn forget_ended_tokens(&self) -> rusqlite::Result<()> {
        remove_ended(&self.lock().connection, 0)
    }

    /// Ends a token, and returns when it ended: the first time, if that was before. Nothing when there is no such token.
    pub(crate) fn revoke_token(&self, id: &str) -> rusqlite::Result<Option<i64>> {
        let database = self.lock();
        let mut statement = database.connection.prepare_cached(
            "UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?2) WHERE id = ?1 RETURNING revoked_ms",
        )?;
        statement.query_row(params![id, now_ms()], |row| row.get(0)).optional()
    }
}

/// Removes tokens that ended at least so long ago.
fn remove_ended(connection: &Connection, ago_ms: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM tokens WHERE revoked_ms <= ?1 OR expires_ms <= ?1", [now_ms() - ago_ms]).map(drop)
}

/// Reads a row; one that this program does not understand opens nothing, rather than too much.
fn read(row: &SqlRow<'_>) -> rusqlite::Result<Option<Row>> {
    let id: String = row.get(0)?;
    let scopes: String = row.get(3)?;
    let sandbox: Option<String> = row.get(4)?;
    let sandbox = sandbox.map(|sandbox| sandbox.parse::<SandboxId>()).transpose();
    let scopes = scopes.split(',').map(str::parse::<Scope>).collect::<Result<Vec<_>, _>>();
    let (Ok(sandbox), Ok(scopes)) = (sandbox, scopes) else {
        tracing::warn!(token.id = id, "a token is not understood and opens nothing");
        return Ok(None);
    };
    let (name, hash) = (row.get(1)?, row.get(2)?);
    let (created_ms, expires_ms, revoked_ms) = (row.get(5)?, row.get(6)?, row.get(7)?);
    Ok(Some(Row { id, name, hash, scopes, sandbox, created_ms, expires_ms, revoked_ms }))
}

/// Removes what ended long ago.
pub(super) fn clean(connection: &Connection) -> rusqlite::Result<()> {
    remove_ended(connection, ENDED_KEPT_FOR_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{FILE, VERSION};

    fn row(id: &str, byte: u8) -> Row {
        Row {
            id: id.to_owned(),
            name: "agent".to_owned(),
            hash: [byte; 32],
            scopes: vec![Scope::Read, Scope::Undo],
            sandbox: Some(SandboxId::new(1, [byte; 10])),
            created_ms: 5,
            expires_ms: None,
            revoked_ms: None,
        }
    }

    #[test]
    fn tokens_survive_and_end_once() {
        let data = tempfile::tempdir().unwrap();
        let control = Control::open(data.path()).unwrap();
        let (bound, mut free) = (row("tok_1", 1), row("tok_2", 2));
        free.sandbox = None;
        free.expires_ms = Some(now_ms() + 1000);
        control.add_token(&bound).unwrap();
        control.add_token(&free).unwrap();
        assert!(control.add_token(&row("tok_3", 1)).is_err(), "one secret is one token");
        drop(control);
        let control = Control::open(data.path()).unwrap();
        assert_eq!(control.tokens().unwrap(), [bound, free]);
        let ended = control.revoke_token("tok_1").unwrap();
        assert!(ended.is_some());
        assert_eq!(control.revoke_token("tok_1").unwrap(), ended);
        assert_eq!(control.revoke_token("tok_9").unwrap(), None);
        assert_eq!(control.tokens().unwrap()[0].revoked_ms, ended);
    }

    #[test]
    fn what_ended_long_ago_goes_and_what_is_not_understood_opens_nothing() {
        let data = tempfile::tempdir().unwrap();
        let control = Control::open(data.path()).unwrap();
        for (number, id) in [(1, "tok_1"), (2, "tok_2"), (3, "tok_3"), (4, "tok_4")] {
            control.add_token(&row(id, number)).unwrap();
        }
        let long_ago = now_ms() - ENDED_KEPT_FOR_MS - 1;
        let run = |sql: &str, value: i64| control.lock().connection.execute(sql, [value]).unwrap();
        run("UPDATE tokens SET revoked_ms = ?1 WHERE id = 'tok_1'", long_ago);
        run("UPDATE tokens SET scopes = 'read,' || ?1 WHERE id = 'tok_2'", 7);
        run("UPDATE tokens SET sandbox = ?1 WHERE id = 'tok_3'", 0);
        drop(control);
        let control = Control::open(data.path()).unwrap();
        let left: Vec<_> = control.tokens().unwrap().into_iter().map(|row| row.id).collect();
        assert_eq!(left, ["tok_4"]);
        let count: i64 =
            control.lock().connection.query_row("SELECT count(*) FROM tokens", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 3);
    }

    #[test]
    fn a_database_without_tokens_gets_them_also_when_that_was_cut_off() {
        for cut_off in [false, true] {
            let data = tempfile::tempdir().unwrap();
            let connection = Connection::open(data.path().join(FILE)).unwrap();
            let old = "CREATE TABLE idempotency (
                    name BLOB PRIMARY KEY, digest BLOB NOT NULL, created_ms INTEGER NOT NULL,
                    call TEXT, status INTEGER, headers TEXT, body BLOB
                ) WITHOUT ROWID;
                PRAGMA user_version = 1;";
            connection.execute_batch(old).unwrap();
            let known = "INSERT INTO idempotency (name, digest, created_ms, call) VALUES (?1, ?2, ?3, 'call_1')";
            connection.execute(known, params![[1u8; 32], [2u8; 32], now_ms()]).unwrap();
            if cut_off {
                connection.execute_batch(TABLE).unwrap();
            }
            drop(connection);
            let control = Control::open(data.path()).unwrap();
            control.add_token(&row("tok_1", 1)).unwrap();
            let known = control.enter(&[1; 32], &[2; 32], None).unwrap().unwrap();
            assert_eq!(known.call.as_deref(), Some("call_1"));
            let version: i32 =
                control.lock().connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(version, VERSION);
        }
    }
}
