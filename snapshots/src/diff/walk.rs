//! The walk of a diff: two trees side by side, down where their nodes differ.

use std::collections::{BTreeMap, HashMap};

use super::{Change, ChangeKind, side};
use crate::error::StoreError;
use crate::id::{Inode, StateId};
use crate::state::State;
use crate::transaction::Kind;
use crate::tree::directory::{Decoded, Node};
use crate::tree::{Content, Directory, Entry, Nodes, Record};

/// A path with what is there.
struct Found {
    path: Vec<u8>,
    record: Record,
}

/// One directory before and after.
struct Pair {
    path_before: Vec<u8>,
    path_after: Vec<u8>,
    before: Directory,
    after: Directory,
}

struct Walk<'a> {
    nodes: Nodes<'a>,
    links_before: Directory,
    links_after: Directory,
    changes: Vec<Change>,
    added: Vec<Found>,
    removed: Vec<Found>,
    /// Directories on both sides whose entries differ, with their paths before and after.
    pairs: Vec<Pair>,
}

/// Returns all changes between two states, in no order.
pub(super) fn changes(nodes: Nodes<'_>, from: StateId, to: StateId) -> Result<Vec<Change>, StoreError> {
    let (before, after) = (State::load(nodes.source(), from)?, State::load(nodes.source(), to)?);
    let mut walk = Walk {
        links_before: Directory::stored(before.links, &nodes)?,
        links_after: Directory::stored(after.links, &nodes)?,
        changes: Vec::new(),
        added: Vec::new(),
        removed: Vec::new(),
        pairs: vec![Pair {
            path_before: Vec::new(),
            path_after: Vec::new(),
            before: Directory::stored(before.root, &nodes)?,
            after: Directory::stored(after.root, &nodes)?,
        }],
        nodes,
    };
    walk.pairs_to_the_end()?;
    walk.renames()?;
    walk.changed_links(&after)?;
    Ok(walk.changes)
}

impl Walk<'_> {
    fn pairs_to_the_end(&mut self) -> Result<(), StoreError> {
        while let Some(pair) = self.pairs.pop() {
            let mut different = BTreeMap::new();
            compare(pair.before.root(), pair.after.root(), &self.nodes, &mut different)?;
            for (name, (before, after)) in different {
                let old = before.map(|record| Found { path: joined(&pair.path_before, &name), record });
                let new = after.map(|record| Found { path: joined(&pair.path_after, &name), record });
                match (old, new) {
                    (Some(old), Some(new)) => self.both(old, new)?,
                    (old, new) => {
                        self.removed.extend(old);
                        self.added.extend(new);
                    }
                }
            }
        }
        Ok(())
    }

    /// One name that is on both sides, with records that differ.
    fn both(&mut self, old: Found, new: Found) -> Result<(), StoreError> {
        let both_are_directories = old.record.kind() == Kind::Directory && new.record.kind() == Kind::Directory;
        if both_are_directories {
            if old.record.mode != new.record.mode {
                self.push(new.path.clone(), ChangeKind::Attributes, Some(&old.record), Some(&new.record));
            }
            return self.pair(old, new);
        }
        if old.record.kind() == Kind::Directory || new.record.kind() == Kind::Directory {
            self.removed.push(old);
            self.added.push(new);
            return Ok(());
        }
        let (before, after) = (self.resolved(&old.record, true)?, self.resolved(&new.record, false)?);
        let kind = if before.content != after.content || before.kind() != after.kind() {
            ChangeKind::Modified
        } else if (before.mode, before.modified) != (after.mode, after.modified) {
            ChangeKind::Attributes
        } else {
            // The same file under the same name, with one name more or less elsewhere.
            return Ok(());
        };
        self.push(new.path, kind, Some(&before), Some(&after));
        Ok(())
    }

    /// Remembers two directories to be compared, if their entries differ.
    fn pair(&mut self, old: Found, new: Found) -> Result<(), StoreError> {
        if let (Content::Directory(before), Content::Directory(after)) = (&old.record.content, &new.record.content)
            && before != after
        {
            let (before, after) = (Directory::stored(*before, &self.nodes)?, Directory::stored(*after, &self.nodes)?);
            self.pairs.push(Pair { path_before: old.path, path_after: new.path, before, after });
        }
        Ok(())
    }

    /// Pairs what is gone with what is new by inode number, then tells of the rest, directories with all they hold.
    fn renames(&mut self) -> Result<(), StoreError> {
        self.match_by_inode()?;
        self.pairs_to_the_end()?;
        let (added, removed) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
        self.added = self.expanded(added)?;
        self.removed = self.expanded(removed)?;
        self.match_by_inode()?;
        self.pairs_to_the_end()?;
        for found in std::mem::take(&mut self.added) {
            let record = self.resolved(&found.record, false)?;
            self.push(found.path, ChangeKind::Added, None, Some(&record));
        }
        for found in std::mem::take(&mut self.removed) {
            let record = self.resolved(&found.record, true)?;
            self.push(found.path, ChangeKind::Removed, Some(&record), None);
        }
        Ok(())
    }

    fn match_by_inode(&mut self) -> Result<(), StoreError> {
        let mut removed: HashMap<Inode, Found> = HashMap::new();
        let mut rest = Vec::new();
        for found in std::mem::take(&mut self.removed) {
            if let Some(other) = removed.insert(found.record.inode, found) {
                rest.push(other);
            }
        }
        for found in std::mem::take(&mut self.added) {
            let Some(old) = removed.remove(&found.record.inode).filter(|old| old.record.kind() == found.record.kind())
            else {
                self.added.push(found);
                continue;
            };
            let (before, after) = (self.resolved(&old.record, true)?, self.resolved(&found.record, false)?);
            let kind = ChangeKind::Renamed { from: old.path.clone() };
            self.push(found.path.clone(), kind, Some(&before), Some(&after));
            self.pair(old, found)?;
        }
        rest.extend(removed.into_values());
        self.removed.extend(rest);
        Ok(())
    }

    /// Adds what directories hold, without recursion.
    fn expanded(&self, found: Vec<Found>) -> Result<Vec<Found>, StoreError> {
        let mut all = Vec::with_capacity(found.len());
        let mut waiting = found;
        while let Some(one) = waiting.pop() {
            if let Content::Directory(root) = &one.record.content {
                let entries = Directory::stored(*root, &self.nodes)?;
                every_entry(&entries, &self.nodes, |entry| {
                    waiting.push(Found { path: joined(&one.path, &entry.name), record: entry.record.clone() });
                })?;
            }
            all.push(one);
        }
        Ok(all)
    }

    /// Finds the names of files in the link table whose content changed: the directories that hold them did not.
    fn changed_links(&mut self, after: &State) -> Result<(), StoreError> {
        let mut different = BTreeMap::new();
        compare(self.links_before.root(), self.links_after.root(), &self.nodes, &mut different)?;
        let mut changed: HashMap<Inode, (Record, Record)> = HashMap::new();
        for (before, after) in different.into_values() {
            if let (Some(before), Some(after)) = (before, after)
                && (&before.content, before.mode, before.modified) != (&after.content, after.mode, after.modified)
            {
                changed.insert(after.inode, (before, after));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        let mut waiting = vec![(Vec::new(), Directory::stored(after.root, &self.nodes)?)];
        let mut named = Vec::new();
        while let Some((path, directory)) = waiting.pop() {
            let mut below = Vec::new();
            every_entry(&directory, &self.nodes, |entry| match &entry.record.content {
                Content::Directory(root) => below.push((entry.name.clone(), *root)),
                Content::Linked { .. } if changed.contains_key(&entry.record.inode) => {
                    named.push((joined(&path, &entry.name), entry.record.inode));
                }
                _ => {}
            })?;
            for (name, root) in below {
                waiting.push((joined(&path, &name), Directory::stored(root, &self.nodes)?));
            }
        }
        let known: std::collections::HashSet<Vec<u8>> = self.changes.iter().map(|change| change.path.clone()).collect();
        for (path, inode) in named {
            if known.contains(&path) {
                continue;
            }
            let Some((before, after)) = changed.get(&inode) else { continue };
            let kind = if before.content == after.content { ChangeKind::Attributes } else { ChangeKind::Modified };
            let (before, after) = (before.clone(), after.clone());
            self.push(path, kind, Some(&before), Some(&after));
        }
        Ok(())
    }

    /// Returns the record itself, or the one in the link table that it stands for.
    fn resolved(&self, record: &Record, before: bool) -> Result<Record, StoreError> {
        if !record.is_linked() {
            return Ok(record.clone());
        }
        let links = if before { &self.links_before } else { &self.links_after };
        Ok(links.get(&record.inode.0.to_be_bytes(), &self.nodes)?.unwrap_or_else(|| record.clone()))
    }

    fn push(&mut self, path: Vec<u8>, kind: ChangeKind, before: Option<&Record>, after: Option<&Record>) {
        self.changes.push(Change { path, kind, before: before.map(side), after: after.map(side) });
    }
}

pub(crate) fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    [directory, b"/", name].concat()
}

pub(crate) type Different = BTreeMap<bytes::Bytes, (Option<Record>, Option<Record>)>;

/// Collects the entries that differ between two nodes at the same place of two directories. The depth is that of a hash.
pub(crate) fn compare(
    before: Option<&Node>,
    after: Option<&Node>,
    nodes: &Nodes<'_>,
    different: &mut Different,
) -> Result<(), StoreError> {
    if let (Some(Node::Stored(left, _)), Some(Node::Stored(right, _))) = (before, after)
        && left == right
    {
        return Ok(());
    }
    let left = before.map(|node| node.decoded(nodes)).transpose()?;
    let right = after.map(|node| node.decoded(nodes)).transpose()?;
    if let (Some(Decoded::Branch(left)), Some(Decoded::Branch(right))) = (&left, &right) {
        for (left, right) in left.children().iter().zip(right.children()) {
            compare(left.as_ref(), right.as_ref(), nodes, different)?;
        }
        return Ok(());
    }
    let mut entries: Different = BTreeMap::new();
    if let Some(node) = before {
        every_entry_below(node, nodes, &mut |entry| {
            drop(entries.insert(entry.name.clone(), (Some(entry.record.clone()), None)));
        })?;
    }
    if let Some(node) = after {
        every_entry_below(node, nodes, &mut |entry| {
            entries.entry(entry.name.clone()).or_default().1 = Some(entry.record.clone());
        })?;
    }
    different.extend(entries.into_iter().filter(|(_, (left, right))| left != right));
    Ok(())
}

pub(crate) fn every_entry(
    directory: &Directory,
    nodes: &Nodes<'_>,
    mut visit: impl FnMut(&Entry),
) -> Result<(), StoreError> {
    directory.root().map_or(Ok(()), |root| every_entry_below(root, nodes, &mut visit))
}

fn every_entry_below(node: &Node, nodes: &Nodes<'_>, visit: &mut dyn FnMut(&Entry)) -> Result<(), StoreError> {
    match node.decoded(nodes)? {
        Decoded::Leaf(entries) => entries.iter().for_each(visit),
        Decoded::Branch(branch) => {
            for child in branch.children().iter().flatten() {
                every_entry_below(child, nodes, visit)?;
            }
        }
    }
    Ok(())
}
