//! Opening: from the files that are there to a journal that can go on and an index that knows all of it.

use std::path::Path;

use crate::error::StoreError;
use crate::index::Written;
use crate::index::database::Database;
use crate::index::swap::Swap;
use crate::journal::disk::SegmentStore;
use crate::journal::layout::Layout;
use crate::journal::reader::OpenedSegment;
use crate::journal::recovery::{Recovered, io_error, recover};
use crate::journal::segment::SegmentId;

/// How many nodes of a journal that is read back are applied to the index at a time.
const REPLAY_NODES: usize = 50_000;

/// What opening found.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) recovered: Recovered,
    /// Records that the index lacked.
    pub(super) replayed_records: u64,
}

/// Opens the journal on a disk and the index at a path, and brings the index up to date.
pub(super) fn open(disk: &dyn SegmentStore, path: &Path) -> Result<Opened, StoreError> {
    let layout = Layout::read(disk)?;
    for name in &layout.unnamed {
        disk.remove(name).map_err(|source| io_error(disk, "remove", name, source))?;
    }
    let mut database = Database::open(path)?;
    if !follow_rewriting(disk, &layout, &mut database)? {
        tracing::warn!("the index does not know what became of segments that were rewritten; rebuilding it");
        database = Database::create(path)?;
    }
    let (recovered, replayed_records) = match replay(disk, &layout, &mut database)? {
        Some(replayed) => replayed,
        None => {
            tracing::warn!("the index is behind a segment that was rewritten; rebuilding it");
            database = Database::create(path)?;
            let replayed = replay(disk, &layout, &mut database)?;
            replayed.ok_or_else(|| StoreError::Stopped("a new index is behind the journal".to_owned()))?
        }
    };
    database.settle(recovered.last, layout.rewritten())?;
    if !layout.leftovers.is_empty() {
        database.checkpoint()?;
    }
    for id in &layout.leftovers {
        let name = id.name();
        disk.remove(&name).map_err(|source| io_error(disk, "remove", &name, source))?;
    }
    Ok(Opened { database, recovered, replayed_records })
}

/// Ends what a collection that was killed had begun; false when only a new index can be right.
fn follow_rewriting(disk: &dyn SegmentStore, layout: &Layout, database: &mut Database) -> Result<bool, StoreError> {
    let known = database.rewritten()?;
    let Some(applied) = database.applied()? else { return Ok(known.is_empty()) };
    for (new, last_number) in layout.rewritten().filter(|rewritten| !known.contains(rewritten)) {
        if applied.segment.number <= last_number {
            return Ok(false);
        }
        let Some(old) = originals(disk, layout, new, last_number)? else { return Ok(false) };
        database.swap(disk, &Swap { new, last_number, old })?;
    }
    let known = database.rewritten()?;
    Ok(known.iter().all(|rewritten| layout.rewritten().any(|there| there == *rewritten)))
}

/// Returns the segments from which one was rewritten, if all of them are left.
fn originals(
    disk: &dyn SegmentStore,
    layout: &Layout,
    new: SegmentId,
    last_number: u32,
) -> Result<Option<Vec<SegmentId>>, StoreError> {
    let mut found = Vec::new();
    let mut number = new.number;
    while number <= last_number {
        let newest = layout.leftovers.iter().filter(|id| id.number == number && **id != new).max();
        let Some(&id) = newest else { return Ok(None) };
        number = OpenedSegment::open(disk, id)?.last_number().saturating_add(1);
        found.push(id);
    }
    Ok(Some(found))
}

/// Applies the records that the index lacks; returns where the journal ends and how many there were.
fn replay(
    disk: &dyn SegmentStore,
    layout: &Layout,
    database: &mut Database,
) -> Result<Option<(Recovered, u64)>, StoreError> {
    let from = database.applied()?;
    let mut batch: Vec<Written> = Vec::new();
    let (mut nodes, mut records) = (0, 0);
    let recovered = recover(disk, layout, from, &mut |record, position| {
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
    let Some(recovered) = recovered else { return Ok(None) };
    database.apply(&batch)?;
    Ok(Some((recovered, records)))
}
