//! Which inode numbers the head uses that an older state does not use at the same place.

use std::collections::{BTreeMap, HashSet};

use crate::diff::walk::{compare, every_entry, joined};
use crate::error::StoreError;
use crate::id::Inode;
use crate::tree::{Content, Directory, Nodes};

/// Numbers in use, as far as they were looked for.
#[derive(Debug)]
pub(crate) enum Used {
    /// These and no others are in use anywhere but where the older state has them, too.
    Only(HashSet<Inode>),
    /// There is too much to look at: any may be in use.
    Any,
}

/// What a comparison of two trees found.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) used: Used,
    /// Whether the trees hold the same, times and modes of directories aside.
    pub(crate) is_same: bool,
}

impl Used {
    /// Compares two trees and collects the numbers of what is new in the newer, but for what is at one of `paths`. Looks at
    /// no more than about `most` entries.
    pub(crate) fn between(
        nodes: &Nodes<'_>,
        older: Directory,
        newer: Directory,
        paths: &HashSet<Vec<u8>>,
        most: usize,
    ) -> Result<Compared, StoreError> {
        let mut used = HashSet::new();
        let mut is_same = true;
        let mut waiting = vec![(Vec::new(), older, newer)];
        let mut seen = 0usize;
        while let Some((path, older, newer)) = waiting.pop() {
            let mut different = BTreeMap::new();
            compare(older.root(), newer.root(), nodes, &mut different)?;
            seen = seen.saturating_add(different.len());
            if seen > most {
                return Ok(Compared { used: Self::Any, is_same: false });
            }
            for (name, (old, new)) in different {
                let path = joined(&path, &name);
                if paths.contains(&path) {
                    continue;
                }
                let Some(new) = new else {
                    is_same = false;
                    continue;
                };
                // A directory that the older state has at the same path it has nowhere else; files may have other names.
                let is_directory = matches!(new.content, Content::Directory(_));
                if !is_directory || old.as_ref().is_none_or(|old| old.inode != new.inode) {
                    used.insert(new.inode);
                }
                let Content::Directory(root) = new.content else {
                    is_same = false;
                    continue;
                };
                let older = match old.map(|old| old.content) {
                    Some(Content::Directory(root)) => Directory::stored(root, nodes)?,
                    _ => {
                        is_same = false;
                        Directory::default()
                    }
                };
                waiting.push((path, older, Directory::stored(root, nodes)?));
            }
        }
        Ok(Compared { used: Self::Only(used), is_same })
    }

    pub(crate) fn none() -> Self {
        Self::Only(HashSet::new())
    }

    pub(crate) fn contains(&self, inode: Inode) -> bool {
        match self {
            Self::Only(used) => used.contains(&inode),
            Self::Any => true,
        }
    }

    /// Says whether a number below `next` may be in use.
    pub(crate) fn any_below(&self, next: u64) -> bool {
        match self {
            Self::Only(used) => used.iter().any(|inode| inode.0 < next),
            Self::Any => true,
        }
    }

    /// Says that a number is in use, too.
    pub(crate) fn and(&mut self, inode: Inode) {
        if let Self::Only(used) = self {
            used.insert(inode);
        }
    }
}

/// Visits every name of a file in the link table. This reads the whole tree: only a conflict is worth it.
pub(crate) fn names_in_table(
    nodes: &Nodes<'_>,
    root: Directory,
    mut visit: impl FnMut(Inode, Vec<u8>),
) -> Result<(), StoreError> {
    let mut waiting = vec![(Vec::new(), root)];
    while let Some((path, directory)) = waiting.pop() {
        let mut below = Vec::new();
        every_entry(&directory, nodes, |entry| match &entry.record.content {
            Content::Directory(root) => below.push((joined(&path, &entry.name), *root)),
            Content::Linked { .. } => visit(entry.record.inode, joined(&path, &entry.name)),
            _ => {}
        })?;
        for (path, root) in below {
            waiting.push((path, Directory::stored(root, nodes)?));
        }
    }
    Ok(())
}
