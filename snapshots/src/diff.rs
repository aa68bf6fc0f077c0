//! What differs between two states: equal nodes are never looked into, so the cost is that of the changes.
//!
//! Renames are found by inode number. A file with several names lies in the link table; when its content changed, its names
//! are searched for in the newer tree, which is the one case that costs more than the changes.

pub(crate) mod walk;

use crate::error::StoreError;
use crate::id::{StateId, Timestamp};
use crate::node::NodeSource;
use crate::transaction::Kind;
use crate::tree::{Content, DirectoryCache, Nodes, Record};
use std::sync::Arc;

/// How a path differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content or its kind is another.
    Modified,
    /// It was at another path before; its content may differ too.
    Renamed {
        /// The path before.
        from: Vec<u8>,
    },
    /// Only its mode or its time is another.
    Attributes,
}

/// A path as it is in one of the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Size in bytes, of a file.
    pub size: u64,
    /// When its content last changed.
    pub modified: Timestamp,
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path, in bytes; of a renamed one, the path after.
    pub path: Vec<u8>,
    /// How it differs.
    pub kind: ChangeKind,
    /// As it was.
    pub before: Option<Side>,
    /// As it is.
    pub after: Option<Side>,
}

/// How much differs. Directories whose only change is their time are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffSummary {
    /// Paths that are new.
    pub added: u64,
    /// Paths that are gone.
    pub removed: u64,
    /// Paths whose content is another.
    pub modified: u64,
    /// Paths that were elsewhere.
    pub renamed: u64,
    /// Paths whose mode or time alone is another.
    pub attributes: u64,
    /// Sizes of the new and modified files after.
    pub bytes_added: u64,
    /// Sizes of the removed and modified files before.
    pub bytes_removed: u64,
}

/// What differs between two states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// How much, of everything.
    pub summary: DiffSummary,
    /// The first changes by path.
    pub changes: Vec<Change>,
    /// Whether there are more.
    pub truncated: bool,
}

/// Returns what differs between two states, with at most `limit` changes listed.
///
/// # Errors
/// A state is not in the source, or is damaged.
pub fn diff(source: &dyn NodeSource, from: StateId, to: StateId, limit: usize) -> Result<Diff, StoreError> {
    diff_with(source, Nodes::cache(), from, to, limit)
}

/// As [`diff`], with the directory cache of a store.
pub(crate) fn diff_with(
    source: &dyn NodeSource,
    cache: Arc<DirectoryCache>,
    from: StateId,
    to: StateId,
    limit: usize,
) -> Result<Diff, StoreError> {
    if from == to {
        return Ok(Diff::default());
    }
    let mut changes = walk::changes(Nodes::borrowed(source, cache), from, to)?;
    let mut summary = DiffSummary::default();
    for change in &changes {
        count(&mut summary, change);
    }
    let truncated = changes.len() > limit;
    if limit > 0 {
        changes.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    }
    changes.truncate(limit);
    Ok(Diff { summary, changes, truncated })
}

fn count(summary: &mut DiffSummary, change: &Change) {
    let before = change.before.map_or(0, |side| side.size);
    let after = change.after.map_or(0, |side| side.size);
    match change.kind {
        ChangeKind::Added => summary.added += 1,
        ChangeKind::Removed => summary.removed += 1,
        ChangeKind::Modified => summary.modified += 1,
        ChangeKind::Renamed { .. } => summary.renamed += 1,
        ChangeKind::Attributes => summary.attributes += 1,
    }
    if !matches!(change.kind, ChangeKind::Renamed { .. } | ChangeKind::Attributes) {
        summary.bytes_added += after;
        summary.bytes_removed += before;
    }
}

pub(crate) fn side(record: &Record) -> Side {
    let size = match &record.content {
        Content::Symlink(target) => target.len() as u64,
        _ => record.size,
    };
    Side { kind: record.kind(), mode: record.mode, size, modified: record.modified }
}
