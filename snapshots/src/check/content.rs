//! Checking the contents of files: chunks are where and as large as the file's size says.

use super::{CheckMemo, kind_of};
use crate::error::StoreError;
use crate::id::NodeId;
use crate::node::{NodeKind, NodeSource};
use crate::tree::record::CHUNK_BYTES;
use crate::tree::{Content, Record, children_of, level_for, level_of, span};

/// What is known of a file's node or a blob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// How far it is above the chunks; 0 for a blob.
    level: u8,
    /// Bytes up to the end of its last chunk.
    end: u64,
    /// Whether it could be a chunk: chunks don't end with a zero.
    is_trimmed: bool,
}

impl Extent {
    /// Reads it off a blob's node.
    pub(super) fn of_blob(bytes: &[u8]) -> Self {
        let content = bytes.get(1..).unwrap_or_default();
        Self { level: 0, end: content.len() as u64, is_trimmed: content.last().is_some_and(|last| *last != 0) }
    }
}

/// Returns what is wrong with a record's content.
pub(super) fn check_content(
    source: &dyn NodeSource,
    memo: &mut CheckMemo,
    record: &Record,
) -> Result<Option<String>, StoreError> {
    let size = record.size;
    let checked = match &record.content {
        Content::Blob(id) => extent(source, memo, *id, 0, false)
            .map(|found| (found.end != size).then(|| format!("it has {} bytes, and its entry says {size}", found.end))),
        Content::Chunks(Some(root)) => extent(source, memo, *root, level_for(size), false).map(|found| {
            (found.end > size).then(|| format!("it has bytes up to {}, and its entry says {size}", found.end))
        }),
        Content::Chunks(None)
        | Content::Inline(_)
        | Content::Directory(_)
        | Content::Symlink(_)
        | Content::Linked { .. } => Ok(None),
    };
    match checked {
        Ok(wrong) => Ok(wrong),
        Err(Wrong::Told) => Ok(None),
        Err(Wrong::Reason(reason)) => Ok(Some(reason)),
        Err(Wrong::Store(error)) => {
            let mut told = None;
            super::tell(error, |reason| told = Some(reason))?;
            Ok(told)
        }
    }
}

enum Wrong {
    /// It was told before.
    Told,
    Reason(String),
    Store(StoreError),
}

/// Returns the extent of a node that should have this level. The depth is that of the level.
fn extent(
    source: &dyn NodeSource,
    memo: &mut CheckMemo,
    id: NodeId,
    level: u8,
    is_trusted: bool,
) -> Result<Extent, Wrong> {
    let known = memo.contents.get(&id).copied();
    let found = match known {
        Some(None) => return Err(Wrong::Told),
        Some(Some(found)) => found,
        None => {
            let found = read(source, memo, id, level, is_trusted);
            // A node of another level than its place asks for may be right elsewhere.
            if !matches!(found, Err(Wrong::Reason(_))) {
                memo.contents.insert(id, found.as_ref().ok().copied());
            }
            found?
        }
    };
    if found.level == level {
        return Ok(found);
    }
    Err(Wrong::Reason(format!("node {id} is {} levels above the chunks instead of {level}", found.level)))
}

fn read(
    source: &dyn NodeSource,
    memo: &mut CheckMemo,
    id: NodeId,
    level: u8,
    is_trusted: bool,
) -> Result<Extent, Wrong> {
    let bytes = source.node(&id).map_err(Wrong::Store)?;
    let wrong = |what: &str| Wrong::Reason(format!("node {id} {what}"));
    if level == 0 {
        return match kind_of(&bytes) {
            Some(NodeKind::Blob) => Ok(Extent::of_blob(&bytes)),
            _ => Err(wrong("should be a blob")),
        };
    }
    if kind_of(&bytes) != Some(NodeKind::File) || level_of(&bytes, &id).map_err(Wrong::Store)? != level {
        return Err(wrong("should be a branch of a file's chunks, of the level of its place"));
    }
    let children = children_of(&bytes, &id).map_err(Wrong::Store)?;
    let is_trusted = is_trusted || memo.trusted.contains(&id);
    let last = children.iter().rposition(Option::is_some).ok_or_else(|| wrong("is a branch without children"))?;
    let below = span(level - 1).saturating_mul(CHUNK_BYTES as u64);
    let mut end = 0;
    for (index, child) in children.iter().enumerate() {
        let Some(child) = child else { continue };
        // Of what is known to be good, only its end is asked for.
        if is_trusted && index != last {
            continue;
        }
        let found = extent(source, memo, *child, level - 1, is_trusted)?;
        if found.level == 0 && (!found.is_trimmed || found.end > CHUNK_BYTES as u64) {
            return Err(wrong("has a chunk that is too large or ends with a zero"));
        }
        end = (index as u64).saturating_mul(below).saturating_add(found.end);
    }
    Ok(Extent { level, end, is_trimmed: true })
}
