//! What one step between two states did to one path. Looking at the path costs its depth; only where it came to be or went
//! away are the states compared as a whole, to see whether it was renamed.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::diff::walk::compare;
use crate::diff::{Change, ChangeKind, diff_with, side};
use crate::error::StoreError;
use crate::id::{Inode, StateId};
use crate::node::NodeSource;
use crate::revert::used::names_in_table;
use crate::state::State;
use crate::tree::{Content, Directory, DirectoryCache, Nodes, Record};

/// What a step did to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What happened: the change's `path` is where it is afterwards, or where it was if it is gone.
    pub change: Change,
    /// Where it was before the step; none if it was nowhere.
    pub before: Option<Vec<u8>>,
}

/// Returns what the step from `before` (none for a sandbox's first) to `after` did to a path: nothing, if it was left alone.
/// A directory is touched when anything below it is.
///
/// # Errors
/// A state is not in the source, or is damaged.
pub fn touched(
    source: &dyn NodeSource,
    before: Option<StateId>,
    after: StateId,
    path: &[&[u8]],
) -> Result<Option<Touch>, StoreError> {
    touched_with(source, Nodes::cache(), before, after, path)
}

/// As [`touched`], with the directory cache of a store.
pub(crate) fn touched_with(
    source: &dyn NodeSource,
    cache: Arc<DirectoryCache>,
    before: Option<StateId>,
    after: StateId,
    path: &[&[u8]],
) -> Result<Option<Touch>, StoreError> {
    if before == Some(after) {
        return Ok(None);
    }
    let nodes = Nodes::borrowed(source, Arc::clone(&cache));
    let old = before.map(|state| Tree::load(&nodes, state)).transpose()?;
    let new = Tree::load(&nodes, after)?;
    let found = match &old {
        Some(old) => old.find(path, &nodes)?,
        None => None,
    };
    let whole = joined(path);
    let touch = |path, kind, before: Option<&Record>, after: Option<&Record>, from| {
        let change = Change { path, kind, before: before.map(side), after: after.map(side) };
        Ok(Some(Touch { change, before: from }))
    };
    match (found, new.find(path, &nodes)?, before) {
        (None, Some(here), None) => touch(whole, ChangeKind::Added, None, Some(&here), None),
        (None, Some(here), Some(before)) => {
            let changes = diff_with(source, cache, before, after, usize::MAX)?.changes;
            let from = moved(&changes, &whole, |change, from| (&change.path, from));
            let Some(from) = from else { return touch(whole, ChangeKind::Added, None, Some(&here), None) };
            let there = match &old {
                Some(old) => old.find(&split(&from), &nodes)?,
                None => None,
            };
            if there.is_none() {
                return touch(whole, ChangeKind::Added, None, Some(&here), None);
            }
            let kind = ChangeKind::Renamed { from: from.clone() };
            touch(whole, kind, there.as_ref(), Some(&here), Some(from))
        }
        (Some(there), None, Some(before)) => {
            let changes = diff_with(source, cache, before, after, usize::MAX)?.changes;
            let to = moved(&changes, &whole, |change, from| (from, &change.path));
            let here = match &to {
                Some(to) => new.find(&split(to), &nodes)?,
                None => None,
            };
            let (Some(to), Some(here)) = (to, here) else {
                return touch(whole.clone(), ChangeKind::Removed, Some(&there), None, Some(whole));
            };
            let kind = ChangeKind::Renamed { from: whole.clone() };
            touch(to, kind, Some(&there), Some(&here), Some(whole))
        }
        (None, None, _) | (Some(_), None, None) => Ok(None),
        (Some(there), Some(here), _) => {
            let is_same = (there.kind(), &there.content) == (here.kind(), &here.content) && there.size == here.size;
            let kind = if !is_same {
                ChangeKind::Modified
            } else if (there.mode, there.modified) != (here.mode, here.modified) {
                ChangeKind::Attributes
            } else if let (Content::Directory(root), Some(old)) = (&here.content, &old)
                && new.shares_changed_file(old, *root, &nodes)?
            {
                ChangeKind::Modified
            } else {
                return Ok(None);
            };
            touch(whole.clone(), kind, Some(&there), Some(&here), Some(whole))
        }
    }
}

/// Finds where a path was, or went, by its own rename or that of the nearest directory above it.
fn moved<'a>(
    changes: &'a [Change],
    path: &[u8],
    sides: impl Fn(&'a Change, &'a Vec<u8>) -> (&'a Vec<u8>, &'a Vec<u8>),
) -> Option<Vec<u8>> {
    let renames = changes.iter().filter_map(|change| match &change.kind {
        ChangeKind::Renamed { from } => Some(sides(change, from)),
        _ => None,
    });
    let above = renames.filter(|(here, _)| {
        path.strip_prefix(&here[..]).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
    });
    let (here, there) = above.max_by_key(|(here, _)| here.len())?;
    Some([&there[..], &path[here.len()..]].concat())
}

fn joined(path: &[&[u8]]) -> Vec<u8> {
    path.iter().fold(Vec::new(), |path, name| crate::diff::walk::joined(&path, name))
}

fn split(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/').skip(1).collect()
}

/// The tree of one state.
struct Tree {
    root: Record,
    links: Directory,
}

impl Tree {
    fn load(nodes: &Nodes<'_>, id: StateId) -> Result<Self, StoreError> {
        let state = State::load(nodes.source(), id)?;
        let root = Record {
            inode: Inode::ROOT,
            mode: state.root_mode,
            modified: crate::id::Timestamp(state.root_modified),
            size: 0,
            links: 1,
            content: Content::Directory(state.root),
        };
        Ok(Self { root, links: Directory::stored(state.links, nodes)? })
    }

    fn find(&self, path: &[&[u8]], nodes: &Nodes<'_>) -> Result<Option<Record>, StoreError> {
        let mut record = self.root.clone();
        for name in path {
            let Content::Directory(root) = record.content else { return Ok(None) };
            let Some(next) = Directory::stored(root, nodes)?.get(name, nodes)? else { return Ok(None) };
            record = next;
        }
        if record.is_linked() {
            return self.links.get(&record.inode.0.to_be_bytes(), nodes);
        }
        Ok(Some(record))
    }

    /// Says whether a directory that is the same node in both trees has a name of a file that only the link table knows to
    /// have changed. Only then is it walked.
    fn shares_changed_file(
        &self,
        old: &Self,
        root: Option<crate::id::NodeId>,
        nodes: &Nodes<'_>,
    ) -> Result<bool, StoreError> {
        let mut different = BTreeMap::new();
        compare(old.links.root(), self.links.root(), nodes, &mut different)?;
        let changed: HashSet<Inode> = different
            .into_values()
            .filter_map(|(before, after)| Some((before?, after?)))
            .filter(|(before, after)| {
                (&before.content, before.mode, before.modified) != (&after.content, after.mode, after.modified)
            })
            .map(|(_, after)| after.inode)
            .collect();
        let mut is_touched = false;
        if !changed.is_empty() {
            names_in_table(nodes, Directory::stored(root, nodes)?, |inode, _| is_touched |= changed.contains(&inode))?;
        }
        Ok(is_touched)
    }
}

#[cfg(test)]
mod tests;
