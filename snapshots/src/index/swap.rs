//! What a collection asks of the database: to look for nodes in a segment that was rewritten instead of the ones it came from.
//!
//! It is done in steps that each leave the database right: nodes move first, those that are gone are forgotten after, and
//! the last step says that it is done. Both generations of files are there until then, so a crash anywhere is a step to be
//! taken again.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Database, unsigned};
use crate::error::StoreError;
use crate::id::{EntryId, NodeId, SandboxId};
use crate::journal::disk::SegmentStore;
use crate::journal::reader::OpenedSegment;
use crate::journal::record::RecordKind;
use crate::journal::segment::{Location, Position, SegmentId};

/// How many rows one step changes.
const STEP_ROWS: usize = 4_000;

/// A segment that was rewritten, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) new: SegmentId,
    pub(crate) last_number: u32,
    pub(crate) old: Vec<SegmentId>,
}

impl Database {
    /// Returns the segments that the database knows to have been rewritten, with the last number of each.
    pub(crate) fn rewritten(&self) -> rusqlite::Result<HashSet<(SegmentId, u32)>> {
        let mut query = self.connection().prepare("SELECT number, rewrite, last_number FROM rewritten")?;
        let rows =
            query.query_map([], |row| Ok((SegmentId { number: row.get(0)?, rewrite: row.get(1)? }, row.get(2)?)))?;
        rows.collect()
    }

    /// Says where the whole journal is applied up to, and what of it was rewritten.
    pub(crate) fn settle(
        &mut self,
        position: Position,
        rewritten: impl IntoIterator<Item = (SegmentId, u32)>,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection_mut().transaction()?;
        if position.seq > 0 {
            super::database::set_applied(&transaction, position)?;
        }
        for (id, last_number) in rewritten {
            note(&transaction, id, last_number)?;
        }
        transaction.commit()
    }

    /// Moves what was in the old segments to where it is in the new one, durably.
    pub(crate) fn swap(&mut self, disk: &dyn SegmentStore, swap: &Swap) -> Result<(), StoreError> {
        let new = OpenedSegment::open(disk, swap.new)?;
        let old: HashSet<SegmentId> = swap.old.iter().copied().collect();
        let mut kept: HashSet<NodeId> = HashSet::new();
        let mut step = Vec::with_capacity(STEP_ROWS);
        let mut records = new.records(disk);
        while let Some(table) = records.next()? {
            if table.header.kind == RecordKind::Rewritten {
                continue;
            }
            for (id, location) in table.items {
                kept.insert(id);
                step.push((id, location));
                if step.len() >= STEP_ROWS {
                    self.move_nodes(&mut step, &old)?;
                }
            }
        }
        self.move_nodes(&mut step, &old)?;
        let mut gone = Vec::with_capacity(STEP_ROWS);
        for id in &swap.old {
            let segment = OpenedSegment::open(disk, *id)?;
            let mut records = segment.records(disk);
            while let Some(table) = records.next()? {
                gone.extend(table.items.iter().map(|(id, _)| *id).filter(|id| !kept.contains(id)));
                if gone.len() >= STEP_ROWS {
                    self.forget_nodes(&mut gone, &old)?;
                }
            }
        }
        self.forget_nodes(&mut gone, &old)?;
        // The old files go after this: it must not be lost.
        self.connection().pragma_update(None, "synchronous", "FULL")?;
        let transaction = self.connection_mut().transaction()?;
        transaction
            .prepare_cached("DELETE FROM rewritten WHERE number BETWEEN ? AND ?")?
            .execute(params![swap.new.number, swap.last_number])?;
        note(&transaction, swap.new, swap.last_number)?;
        transaction.commit()?;
        self.connection().pragma_update(None, "synchronous", "NORMAL")?;
        Ok(())
    }

    fn move_nodes(&mut self, step: &mut Vec<(NodeId, Location)>, old: &HashSet<SegmentId>) -> rusqlite::Result<()> {
        let transaction = self.connection_mut().transaction()?;
        {
            let mut update =
                transaction.prepare_cached("UPDATE nodes SET segment = ?, offset = ?, length = ? WHERE id = ?")?;
            for (id, location) in step.drain(..) {
                if is_in(&transaction, &id, old)? {
                    let Location { segment, offset, length } = location;
                    update.execute(params![
                        segment.to_u64().cast_signed(),
                        offset.cast_signed(),
                        length,
                        id.as_bytes()
                    ])?;
                }
            }
        }
        transaction.commit()
    }

    fn forget_nodes(&mut self, gone: &mut Vec<NodeId>, old: &HashSet<SegmentId>) -> rusqlite::Result<()> {
        let transaction = self.connection_mut().transaction()?;
        {
            let mut delete = transaction.prepare_cached("DELETE FROM nodes WHERE id = ?")?;
            for id in gone.drain(..) {
                if is_in(&transaction, &id, old)? {
                    delete.execute([id.as_bytes()])?;
                }
            }
        }
        transaction.commit()
    }

    /// Forgets sandboxes of which nothing is left.
    pub(crate) fn forget_purged(&mut self, sandboxes: &[SandboxId]) -> rusqlite::Result<()> {
        let transaction = self.connection_mut().transaction()?;
        for sandbox in sandboxes {
            transaction.prepare_cached("DELETE FROM purged WHERE sandbox = ?")?.execute([sandbox.0])?;
        }
        transaction.commit()
    }

    /// Moves everything to SQLite's file, durably: after that the database can't fall back behind it.
    pub(crate) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.connection().query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(()))
    }
}

/// Says whether a node is known to lie in one of these segments.
fn is_in(connection: &Connection, id: &NodeId, segments: &HashSet<SegmentId>) -> rusqlite::Result<bool> {
    let mut query = connection.prepare_cached("SELECT segment FROM nodes WHERE id = ?")?;
    let segment = query.query_row([id.as_bytes()], |row| unsigned(row, 0)).optional()?;
    Ok(segment.is_some_and(|segment| segments.contains(&SegmentId::from_u64(segment))))
}

fn note(connection: &Connection, id: SegmentId, last_number: u32) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO rewritten (number, rewrite, last_number) VALUES (?, ?, ?)")?
        .execute(params![id.number, id.rewrite, last_number])?;
    Ok(())
}

/// Returns the sandboxes that were purged and of which something may be left, with the entry that says so.
pub(crate) fn purged(connection: &Connection) -> rusqlite::Result<Vec<(SandboxId, EntryId)>> {
    let mut query = connection.prepare_cached("SELECT sandbox, entry FROM purged")?;
    let rows = query.query_map([], |row| Ok((SandboxId(row.get(0)?), EntryId(row.get(1)?))))?;
    rows.collect()
}

/// Returns the ranges of a log's entries that were given up, as far as the database knows.
pub(crate) fn expired(connection: &Connection, sandbox: SandboxId) -> rusqlite::Result<Vec<(u64, u64)>> {
    let mut query = connection.prepare_cached("SELECT first, last FROM expired WHERE sandbox = ?")?;
    let rows = query.query_map([sandbox.0], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
    rows.collect()
}

/// Returns the number of a log's newest entry of a kind that is its writer's.
pub(crate) fn newest_other(connection: &Connection, sandbox: SandboxId, kind: u16) -> rusqlite::Result<Option<u64>> {
    let query = "SELECT seq FROM entries WHERE sandbox = ? AND kind = ? ORDER BY seq DESC LIMIT 1";
    let kind = super::database::other_kind(kind);
    connection.prepare_cached(query)?.query_row(params![sandbox.0, kind], |row| unsigned(row, 0)).optional()
}
